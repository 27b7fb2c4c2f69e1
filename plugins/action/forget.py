# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.module_utils.services import programs_of
from ansible_collections.rackspread.ha.plugins.plugin_utils import forgetting
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.live_site import LiveSite
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone

ARGUMENTS = {
    "names": {"type": "list", "elements": "str", "default": []},
    "adopt": {"type": "list", "elements": "str", "default": []},
    "confirmed": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Says what is forgotten and what that means, asks, and has hosts and lock forget it."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan, ask, and forget."""
        super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(ARGUMENTS)[1])
        check = bool(self._task.check_mode)
        try:
            if given["adopt"]:
                raise Refusal("RS-129", f"{', '.join(given['adopt'])} can't be adopted.")
            remote = Remote(self, task_vars or {})
            live = LiveSite(current.site(), remote)
            with nullcontext() if check else alone(live.inventory / ".rackspread", self._display.display):
                return self._forget(live, remote, given, check)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal

    def _forget(self, live: LiveSite, remote: Remote, given: Mapping[str, Any], check: bool) -> dict[str, Any]:
        path = locks.path_for(live.inventory)
        lock = locks.read(path)
        if not given["names"]:
            raise Refusal("RS-127", "Nothing is named that is to be forgotten.", known=", ".join(lock.groups))
        those = forgetting.leaving(given["names"], lock)
        hosts = sorted({member.host for each in those for member in each.members})
        forgetting.require_answers(self._silent(remote, hosts))
        standing = live.stand()
        forgetting.check(those, lock, standing)
        lines = forgetting.describe(those)
        if check or given["confirmed"]:
            self._display.display("\n".join(["", *lines, ""]))
        else:
            ask(self._display, lines)
        answer = {"changed": True, "plan": lines}
        if check:
            return answer
        for each in those:
            for row in programs_of(live.topology["groups"][each.group]):
                for member in each.members:
                    if helper := forgetting.helper(each, standing):  # a voter that is gone must not count as one
                        failed = live.act(row.name, each.group, helper, "expel", {"target": member.id})
                        if failed:
                            raise Refusal("RS-128", f"{each.group} does not let go: {failed}", hosts=member.host)
                    self._display.display(f"{each.group}: {member.host} forgets member {member.id}")
                    if failed := live.act(row.name, each.group, member.id, "forget", {}):
                        raise Refusal("RS-128", f"{member.host} did not forget: {failed}", hosts=member.host)
        locks.write(path, forgetting.without(lock, those))
        return answer

    @staticmethod
    def _silent(remote: Remote, hosts: list[str]) -> list[str]:
        """Those of the hosts that do not answer."""
        calls = [Call(host, "ansible.builtin.ping", {}, 30) for host in hosts]
        answers = zip(calls, remote.run(calls), strict=True)
        return [call.host for call, answer in answers if answer.failed or answer.unreachable]
