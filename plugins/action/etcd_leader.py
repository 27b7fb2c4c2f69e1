# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock, state
from ansible_collections.rackspread.ha.plugins.plugin_utils.leaders import Move, better
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote

ARGUMENTS = {
    "voters": {"type": "dict", "required": True},
    "shards": {"type": "list", "elements": "dict", "required": True},
    "namespace": {"type": "str", "required": True},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Move etcd's leader where that is better; an etcd that is not whole is left alone."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, given = self.validate_argument_spec(ARGUMENTS)
        given = plain(given)
        members = given["voters"]["members"]
        absent = [each["host"] for each in members if each["host"] not in variables["ansible_play_hosts"]]
        if absent:
            return {"changed": False, "msg": f"etcd's leader stays: {', '.join(absent)} takes no part in this run"}
        remote = Remote(self, variables)
        question = {"group": given["voters"], "namespace": given["namespace"]}
        (answer,) = remote.run([Call(members[0]["host"], "rackspread.ha.leaders_info", question)])
        if answer.failed or answer.unreachable:
            return {"changed": False, "msg": f"etcd's leader stays: {answer.message}"}
        move = better(
            members,
            {int(member): said for member, said in answer.result["voters"].items()},
            racks_led(given["shards"], answer.result["leaders"]),
        )
        if move is None:
            return {"changed": False, "msg": "etcd's leader stays"}
        if not self._task.check_mode:
            self._move(remote, given["voters"], move, variables)
        return {"changed": True, "msg": move.reason}

    def _move(self, remote: Remote, voters: Mapping[str, Any], move: Move, variables: Mapping[str, Any]) -> None:
        try:
            known = lock.read(lock.path_for(state.inventory_of(variables)))
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        instance = Instance.of(voters["name"], move.leader)
        arguments = {
            "operation": "step_down",
            "group": voters,
            "member": move.leader,
            "unit": instance.unit,
            "target": move.target,
            "site_id": known.site_id,
            "generation": known.generation,
        }
        host = next(each["host"] for each in voters["members"] if each["id"] == move.leader)
        (answer,) = remote.run([Call(host, "rackspread.ha.etcd_member", arguments)])
        if answer.failed or answer.unreachable:
            raise AnsibleActionFail(f"etcd's leader was not moved: {answer.message}")


def racks_led(shards: list[Mapping[str, Any]], leaders: Mapping[str, str]) -> list[str]:
    """The rack of each shard's leader, by the host that Patroni names."""
    return [
        member["rack"]
        for shard in shards
        for member in shard["members"]
        if member["host"] == leaders.get(shard["name"])
    ]
