# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from shutil import get_terminal_size
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.report import Login, render

ARGUMENTS = {
    "user": {"type": "str", "required": True},
    "database": {"type": "str", "required": True},
    "statistics_user": {"type": "str", "default": "admin"},
}


class ActionModule(ActionBase):
    """Prints the report itself, since a callback would print it as one quoted string."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show the site of this run."""
        super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(ARGUMENTS)
        try:
            topology = current.site().topology
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        login = Login(given["user"], given["database"], given["statistics_user"])
        self._display.display("\n" + render(topology, login, get_terminal_size((100, 24)).columns) + "\n")
        return {"changed": False}
