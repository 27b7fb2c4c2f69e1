# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils import moving, state
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.converging import (
    Convergence,
    Deed,
    Group,
    Outcome,
    Report,
    Wish,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.looking import LOOK_SECONDS, Asked, look
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone

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
    "restart": {"type": "bool"},
    "home": {"type": "bool"},
    "ask": {"type": "bool"},
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
                wish = self._wish(given, variables)
                lock = locks.read(path)
                if self._wished("roll", variables):
                    moving.check_ended(lock)
                convergence = Convergence(SERVICES[given["service"]], groups, lock, world, check, wish)
                return _result(convergence.run())
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal

    def _wish(self, given: Mapping[str, Any], variables: Mapping[str, Any]) -> Wish:
        """What is asked for beside what is staged: by the task, or by variables of the run, which no role hands on."""

        def wished(name: str) -> bool:
            return bool(given[name]) if given[name] is not None else self._wished(name, variables)

        return Wish(wished("restart"), wished("home"), wished("ask"))

    def _wished(self, name: str, variables: Mapping[str, Any]) -> bool:
        """What a variable of the run asks for."""
        return boolean(self._templar.template(variables.get(f"rackspread_{name}")) or False)


class _Hosts:
    """The World of a real run: hosts over their connections, the lock's file, and the operator's screen."""

    def __init__(
        self, action: ActionModule, variables: Mapping[str, Any], given: Mapping[str, Any], path: Path
    ) -> None:
        self._action = action
        self._path = path
        self._remote = Remote(action, variables)
        self._groups = {each["name"]: each for each in given["groups"]}
        self._lock = locks.read(path)
        root = given["data_root"]
        self._asked = Asked(
            given["service"],
            given["groups"],
            lambda host: self._remote.template(host, root) if root is not None else None,
            given["program"],
            given["settings"],
            given["secrets"],
        )

    def look(self, groups: Sequence[Group]) -> dict[str, list[Observation]]:
        """One call a host, whatever the number of its members."""
        now = {each.name: {"name": each.name, "index": each.index, "members": list(each.members)} for each in groups}
        # Deeds go by the same: a member that has left is no part of what the others are told of their group.
        known = {each["name"]: each for each in self._asked.groups} | now
        self._asked = replace(self._asked, groups=list(known.values()))
        asked = replace(self._asked, groups=list(now.values()))
        return {name: seen for (_service, name), seen in look(self._remote.run, [asked], self._lock).items()}

    def act(self, deeds: Sequence[Deed], lock: Lock) -> list[Outcome]:
        """All at once, each on its member's host."""
        calls = [
            self._asked.act(deed.group, deed.member, deed.operation, lock, deed.arguments, deed.seconds)
            for deed in deeds
        ]
        return [
            Outcome(
                ok=not (answer.failed or answer.unreachable),
                message=answer.message,
                answer=answer.result.get("answer") or {},
                unreachable=answer.unreachable,
            )
            for answer in self._remote.run(calls)
        ]

    def save(self, lock: Lock) -> Lock:
        """Replace the lock's file."""
        self._remote.stay()
        self._lock = locks.write(self._path, lock)
        return self._lock

    def absent_hosts(self) -> list[str]:
        """Ask every host of the site, those of other services too."""
        hosts = {member["host"] for group in self._groups.values() for member in group["members"]}
        with suppress(Refusal):  # groups given by hand, without a spec: they are all that is known
            hosts |= set(current.site().hosts) - set(self._lock.given_up)
        calls = [Call(host, "ansible.builtin.ping", {}, LOOK_SECONDS) for host in sorted(hosts)]
        return [call.host for call, answer in zip(calls, self._remote.run(calls), strict=True) if answer.unreachable]

    def say(self, line: str) -> None:
        """Print a line of its own; what a task returns comes only at its end."""
        self._action._display.display(line)

    def ask(self, lines: Sequence[str]) -> None:
        """Show what will be done, and wait for a yes."""
        ask(self._action._display, lines)

    def now(self) -> float:
        """Seconds that no change of the clock touches."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


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
