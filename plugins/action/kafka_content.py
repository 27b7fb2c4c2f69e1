# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make topics and users of Kafka; what a host refuses has a code here, as any refusal."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the module."""
        super().run(tmp, task_vars)
        result: dict[str, Any] = self._execute_module(
            module_name="rackspread.ha.kafka_content", module_args=self._task.args, task_vars=task_vars
        )
        if refused := result.get("refused"):
            raise AnsibleActionFail(str(Refusal("RS-085", refused["sentence"], hint=refused["hint"])))
        return result
