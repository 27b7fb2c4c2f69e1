# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the managed ports of a host to those who need them, and keep that only if the host can still be reached."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import firewall
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

ARGUMENTS = {
    "groups": {"type": "dict", "required": True},
    "clients": {"type": "dict", "default": {}},
    "vrrp": {"type": "bool", "default": False},
    "probation": {"type": "int", "default": 45},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Load the table of this host on probation, and confirm it over a new connection."""
        super().run(tmp, task_vars)
        _spec, arguments = self.validate_argument_spec(ARGUMENTS)
        groups, host = arguments["groups"], (task_vars or {})["inventory_hostname"]
        try:
            ports = firewall.openings(groups, host, arguments["clients"])
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        peers = firewall.vrrp_peers(groups, host) if arguments["vrrp"] else ()
        table = {"ruleset": firewall.ruleset(ports, peers), "probation": arguments["probation"]}
        loaded = self._call(table, task_vars)
        if not loaded.get("pending"):
            return loaded
        with self._new_connection():
            kept = self._call({**table, "operation": "confirm"}, task_vars)
        return {**loaded, **kept, "diff": loaded["diff"]}

    @contextlib.contextmanager
    def _new_connection(self) -> Iterator[None]:
        """Keep to connections of their own for a while: one that is there already would live on under any table."""
        if self._connection.transport != "ssh":
            self._connection.reset()
            yield
            return
        # Not reset(): it does not know of masters that the user's own ssh configuration keeps.
        before = self._connection.get_option("ssh_extra_args")
        self._connection.set_option("ssh_extra_args", f"{before or ''} -o ControlMaster=no -o ControlPath=none")
        try:
            yield
        finally:
            self._connection.set_option("ssh_extra_args", before)

    def _call(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="rackspread.ha.firewall_table", module_args=arguments, task_vars=task_vars
        )
        result.pop("invocation", None)  # the whole ruleset, which the diff shows better
        return result
