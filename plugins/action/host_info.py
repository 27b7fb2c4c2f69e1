# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a host, and compare its clock with the controller's by the way."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils.look import with_offset


class ActionModule(ActionBase):
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call the module, and turn the two times it read into bounds of the clock's offset."""
        super().run(tmp, task_vars)
        asked = time.time()
        result: dict[str, Any] = self._execute_module(
            module_name="rackspread.ha.host_info", module_args=self._task.args, task_vars=task_vars
        )
        answered = time.time()
        if "info" in result:
            result["info"] = with_offset(result["info"], asked, answered)
        return result
