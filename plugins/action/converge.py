# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils import state
from ansible_collections.rackspread.ha.plugins.plugin_utils.converging import (
    Convergence,
    Deed,
    Group,
    Outcome,
    Report,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Answer, Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone
from ansible_collections.rackspread.ha.plugins.plugin_utils.services import SERVICES

LOOK_SECONDS = 60

ARGUMENTS = {
    "service": {"type": "str", "required": True, "choices": list(SERVICES)},
    "groups": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "index": {"type": "int", "required": True},
            "members": {"type": "list", "elements": "dict", "required": True},
        },
    },
    "program": {"type": "str"},
    "data_root": {"type": "str"},
    "settings": {"type": "dict", "default": {}},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    @classmethod
    def finalize_task_arg(cls, name: str, value: Any, templar: Any, context: Any) -> Any:
        """Leave the data root as it is written: each member's host has its own variables."""
        return value if name == "data_root" else super().finalize_task_arg(name, value, templar, context)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Bring the groups to what was staged."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _validation, given = self.validate_argument_spec(ARGUMENTS)
        groups = [Group(each["name"], each["index"], tuple(each["members"])) for each in plain(given["groups"])]
        check = bool(self._task.check_mode)
        try:
            path = locks.path_for(state.inventory_of(variables))
            with nullcontext() if check else alone(path.parent, self._display.display):
                world = _Hosts(self, variables, given, path)
                convergence = Convergence(SERVICES[given["service"]], groups, locks.read(path), world, check)
                return _result(convergence.run())
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal


class _Hosts:
    """The World of a real run: hosts over their connections, the lock's file, and the operator's screen."""

    def __init__(
        self, action: ActionModule, variables: Mapping[str, Any], given: Mapping[str, Any], path: Path
    ) -> None:
        self._action = action
        self._given = given
        self._path = path
        self._remote = Remote(action, variables)
        self._groups = {each["name"]: each for each in given["groups"]}
        self._lock = locks.read(path)
        self._parent = os.getppid()

    def look(self, groups: Sequence[Group]) -> dict[str, list[Observation]]:
        """One call a host, whatever the number of its members."""
        by_host: dict[str, list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
        for group in groups:
            for member in group.members:
                by_host[member["host"]].append((group.name, member))
        calls = [
            self._call(
                host, "info", {"instances": [self._instance(name, member) for name, member in members]}, LOOK_SECONDS
            )
            for host, members in by_host.items()
        ]
        seen: dict[tuple[str, int], Observation] = {}
        for (_host, members), answer in zip(by_host.items(), self._run(calls), strict=True):
            for name, member in members:
                seen[name, member["id"]] = self._observation(name, member, answer)
        return {group.name: [seen[group.name, member["id"]] for member in group.members] for group in groups}

    def act(self, deeds: Sequence[Deed], lock: Lock) -> list[Outcome]:
        """All at once, each on its member's host."""
        calls = []
        for deed in deeds:
            member = next(each for each in self._groups[deed.group]["members"] if each["id"] == deed.member)
            arguments = {
                **self._instance(deed.group, member, lock),
                **deed.arguments,
                "operation": deed.operation,
                "site_id": lock.site_id,
                "generation": lock.generation,
            }
            calls.append(self._call(member["host"], "member", arguments, deed.seconds))
        return [
            Outcome(
                ok=not (answer.failed or answer.unreachable),
                message=answer.message,
                answer=answer.result.get("answer") or {},
                unreachable=answer.unreachable,
            )
            for answer in self._run(calls)
        ]

    def save(self, lock: Lock) -> Lock:
        """Replace the lock's file."""
        self._stay()
        self._lock = locks.write(self._path, lock)
        return self._lock

    def absent_hosts(self) -> list[str]:
        """Ask every host of the site, those of other services too."""
        hosts = {member["host"] for group in self._groups.values() for member in group["members"]}
        with suppress(Refusal):  # groups given by hand, without a spec: they are all that is known
            hosts |= set(current.site().hosts)
        calls = [Call(host, "ansible.builtin.ping", {}, LOOK_SECONDS) for host in sorted(hosts)]
        return [call.host for call, answer in zip(calls, self._run(calls), strict=True) if answer.unreachable]

    def say(self, line: str) -> None:
        """Print a line of its own; what a task returns comes only at its end."""
        self._action._display.display(line)

    def now(self) -> float:
        """Seconds that no change of the clock touches."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def _run(self, calls: Sequence[Call]) -> list[Answer]:
        self._stay()
        return self._remote.run(calls)

    def _stay(self) -> None:
        """End here where ansible-playbook was killed: its worker would go on without anybody who sees or stops it."""
        if os.getppid() != self._parent:
            raise AnsibleActionFail("The run was ended; nothing more is done.")

    def _call(self, host: str, kind: str, arguments: Mapping[str, Any], seconds: float) -> Call:
        module = f"rackspread.ha.{self._given['service']}_{kind}"
        common = {"settings": self._given["settings"], "secrets": self._given["secrets"]}
        return Call(host, module, {**arguments, **common}, seconds)

    def _instance(self, name: str, member: Mapping[str, Any], lock: Lock | None = None) -> dict[str, Any]:
        """How the modules on the hosts are told of a member."""
        program = self._given["program"]
        root = self._given["data_root"]
        root = self._remote.template(member["host"], root) if root is not None else None
        instance = Instance.of(name, member["id"], root, program)
        locked = (lock or self._lock).groups.get(name)
        group = {
            **self._groups[name],
            "intent": locked and locked.intent,
            "formed": locked and locked.formed,
            "next_id": locked.next_id if locked else max(each["id"] for each in self._groups[name]["members"]) + 1,
        }
        return {
            "group": group,
            "member": member["id"],
            "unit": instance.unit,
            "data": instance.data,
            "program": program,
        }

    def _observation(self, name: str, member: Mapping[str, Any], answer: Answer) -> Observation:
        instance = f"{name}_{self._given['program']}" if self._given["program"] else name
        seen = answer.result.get("members", {}).get(instance)
        if answer.unreachable or answer.failed or seen is None:
            return Observation.unreachable(
                member, answer.message or "the look had no answer", failed=not answer.unreachable
            )
        return Observation.from_answer(member, seen)


def _result(report: Report) -> dict[str, Any]:
    """The task's result; with refusals it is a failure."""
    result: dict[str, Any] = {
        "changed": bool(report.steps),
        "steps": report.steps,
        "unconverged": report.unconverged,
        "groups": {
            name: [
                {
                    "member": seen.member,
                    "host": seen.host,
                    "state": seen.state.value,
                    "role": seen.tells("role", "none"),
                }
                for seen in observations
            ]
            for name, observations in report.observations.items()
        },
    }
    if report.refusals:
        sentences = [str(refusal) for refusal in report.refusals]
        result |= {"failed": True, "refusals": sentences, "msg": " ".join(sentences + report.unconverged)}
    elif report.unconverged:
        result["msg"] = " ".join(report.unconverged)
    return result
