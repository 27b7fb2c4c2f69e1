# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

ARGUMENTS = {
    "lines": {"type": "list", "elements": "str", "required": True},
    "confirmed": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Shows what will be done, and goes on only after a yes."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show, and ask; where nothing is to be done, neither."""
        super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(ARGUMENTS)[1])
        try:
            if given["lines"] and (self._task.check_mode or given["confirmed"]):
                self._display.display("\n".join(["", *given["lines"], ""]))
            elif given["lines"]:
                ask(self._display, given["lines"])
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        return {"changed": False}
