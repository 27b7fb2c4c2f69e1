# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import draining, moving, patching, secrets
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.draining import Handover
from ansible_collections.rackspread.ha.plugins.plugin_utils.live_site import LiveSite
from ansible_collections.rackspread.ha.plugins.plugin_utils.patch_round import Round
from ansible_collections.rackspread.ha.plugins.plugin_utils.patching import System, Turn
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

ARGUMENTS = {
    "reboot": {"type": "str", "choices": ["always", "needed", "never"], "default": "needed"},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "confirmed": {"type": "bool", "default": False},
    "maintenance": {"type": "str", "default": ""},
    "patience": {"type": "float", "default": 300},
    "boot_seconds": {"type": "float", "default": 900},
    "rest_user": {"type": "str", "default": "rackspread"},
}

SYSTEM = "rackspread.ha.os_updates"
SECONDS = {"look": 300, "upgrade": 3600, "reboot": 60}
"""How long the host's part of each operation may take."""

POLL_SECONDS = 60
"""How long a host may take to answer while its reboot is waited for."""


class ActionModule(ActionBase):
    """Says what is due on the hosts, asks, and does it to one host after another."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan, ask, and take the turns."""
        super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(ARGUMENTS)[1])
        check = bool(self._task.check_mode)
        try:
            world = _Hosts(self, given, task_vars or {})
            with nullcontext() if check else alone(world.live.inventory / ".rackspread", self._display.display):
                return self._patch(world, given, check)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal

    def _patch(self, world: _Hosts, given: Mapping[str, Any], check: bool) -> dict[str, Any]:
        policy = given["reboot"]
        round_ = Round(world.live.inventory / ".rackspread/patch.json")
        turns = _plan(world, given, round_, check)
        lines = patching.describe(turns, len(world.boots), policy, world.away)
        if policy == "always" and round_.since:
            lines.append(f"This goes on with the round that began at {round_.since}: who rebooted since is done.")
        answer: dict[str, Any] = {"changed": bool(turns), "plan": lines, "done": []}
        if turns and not (check or given["confirmed"]):
            ask(self._display, lines)
        else:
            self._display.display("\n".join(["", *lines, ""]))
        if check:
            return answer
        if turns and policy == "always":
            round_.begin(world.boots)
        answer["done"] = patching.run(world, turns, policy, given["patience"], given["boot_seconds"])
        if policy == "always":  # also where a run that was killed had done all of it, and could not say so
            round_.end([*world.boots, *world.away], world.site_hosts)
        return answer


def _plan(world: _Hosts, given: Mapping[str, Any], round_: Round, check: bool) -> list[Turn]:
    """What is due. Raises Refusal where nothing may be done, or a host does not say what is due there."""
    if given["maintenance"]:
        raise Refusal("RS-120", f"The site is in maintenance: {given['maintenance']}")
    moving.check_ended(world.lock)
    standing = world.stand()
    if held := draining.paused(standing):
        raise Refusal("RS-121", f"Patroni of {', '.join(held)} is paused", groups=", ".join(held))
    # The run that was killed in a round may have left a host that is on its way back.
    patience = given["boot_seconds"] if round_.since and not check else 0
    systems = world.systems([host for hosts in world.racks.values() for host in hosts], not check, patience)
    begun = round_.boots if given["reboot"] == "always" else {}
    return patching.plan(world.racks, systems, given["reboot"], standing, begun)


class _Hosts:
    """The World of a real round."""

    def __init__(self, action: ActionModule, given: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self._action = action
        self._remote = Remote(action, variables)
        site = current.site()
        access: dict[str, dict[str, Any]] = {}
        if "postgres" in site.topology["settings"]:
            own = action._templar.template(variables.get(secrets.GIVEN) or {})
            rest = secrets.find(Path(site.state).parent, "postgres", "rest", own)
            known = {"rest": rest, "other_rest": secrets.beside(Path(site.state).parent, "postgres", own).get("rest")}
            access["postgres"] = {"settings": {"rest_user": given["rest_user"]}, "secrets": known}
        self.live = LiveSite(site, self._remote, access)
        self.lock = site.lock
        self.site_hosts = list(site.hosts)
        wanted = set(given["hosts"])
        if unknown := sorted(wanted - site.hosts.keys() - site.topology["racks"].keys()):
            raise Refusal("RS-114", f"{', '.join(unknown)} is no host and no rack of this site.", key="patch_hosts")
        self.racks = {
            rack: [host for host in hosts if not wanted or host in wanted or rack in wanted]
            for rack, hosts in self.live.topology["racks"].items()
        }
        self.boots: dict[str, str] = {}
        self.away: list[str] = []

    def stand(self) -> Standing:
        """Look at the whole site."""
        return self.live.stand()

    def hand_over(self, handover: Handover) -> str:
        """By the member's own driver."""
        target = {} if handover.target is None else {"target": handover.target}
        return self.live.act(handover.service, handover.group, handover.member, "step_down", target)

    def systems(self, hosts: Iterable[str], refresh: bool, patience: float) -> dict[str, System]:
        """Of all hosts at once. Raises Refusal RS-124 for one that can't tell, or does not answer for so long."""
        found: dict[str, System] = {}
        missing, told = list(hosts), ""
        deadline = self.now() + patience
        while True:
            answers = self._remote.run([Call(host, SYSTEM, {"refresh": refresh}, SECONDS["look"]) for host in missing])
            asked = dict(zip(missing, answers, strict=True))
            self.away += [host for host in missing if asked[host].unreachable and host in self.lock.given_up]
            silent = {
                host: answer
                for host, answer in asked.items()
                if (answer.failed or answer.unreachable) and host not in self.away
            }
            found |= {host: _system(asked[host].result) for host in asked.keys() - silent.keys() - set(self.away)}
            if not silent:
                self.boots = {host: system.boot for host, system in found.items()}
                return found
            if self.now() > deadline or any(answer.failed for answer in silent.values()):
                said = "; ".join(f"{host}: {answer.message}" for host, answer in silent.items())
                raise Refusal("RS-124", f"What is due can't be told: {said}", host=", ".join(silent))
            missing = list(silent)
            if told != (told := ", ".join(missing)):
                self.say(f"Waiting for {told} to answer.")
            self.pause(draining.PAUSE)

    def system(self, host: str) -> System | None:
        """Of one host, if it answers."""
        (answer,) = self._remote.run([Call(host, SYSTEM, {}, POLL_SECONDS)])
        return None if answer.failed or answer.unreachable else _system(answer.result)

    def upgrade(self, host: str) -> str:
        """Take the updates."""
        return self._do(host, "upgrade")

    def reboot(self, host: str) -> str:
        """Have the host reboot a moment later."""
        return self._do(host, "reboot")

    def _do(self, host: str, operation: str) -> str:
        (answer,) = self._remote.run([Call(host, SYSTEM, {"operation": operation}, SECONDS[operation])])
        return answer.message or "it failed without a word" if answer.failed or answer.unreachable else ""

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self._action._display.display(line)

    def now(self) -> float:
        """Seconds that no change of the clock touches."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def _system(result: Mapping[str, Any]) -> System:
    return System(tuple(result["updates"]), tuple(result["reasons"]), result["boot"])
