# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import pki, secrets
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill import drilling
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.aims import RACKS, Aim, Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.drilling import Drill
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.page import render
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.probes import Access, Probe, files_of, probes_of
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.result import Result, problem, table
from ansible_collections.rackspread.ha.plugins.plugin_utils.live_site import LiveSite
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

LEAD = 6.0
"""Seconds from the order until the fault begins on all hosts at one moment: the order must have reached them all."""

APART = 1.0
"""Seconds by which the probe host's clock may differ from the controller's, before the marks are called uncertain."""

LAB = Path(__file__).resolve().parents[2] / "lab/lab"
"""In the repository; a collection that was installed has none."""

ARGUMENTS = {
    "operation": {"type": "str", "choices": ["plan", "run"], "required": True},
    "services": {"type": "list", "elements": "str", "required": True},
    "targets": {"type": "list", "elements": "str", "required": True},
    "faults": {"type": "list", "elements": "str", "required": True},
    "group": {"type": "str"},
    "seconds": {"type": "float", "default": 60},
    "patience": {"type": "float", "default": 300},
    "settle": {"type": "float", "default": 40},
    "settings": {"type": "dict", "default": {}},
    "allowed": {"type": "bool", "default": False},
    "confirmed": {"type": "bool", "default": False},
    "probe_host": {"type": "str", "default": ""},
    "login": {"type": "dict", "default": {}},
    "password": {"type": "str", "no_log": True},
    "lab": {"type": "str", "default": ""},
}


class ActionModule(ActionBase):
    """Says what drills would do and asks, or does them, one after another."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan or run."""
        super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(ARGUMENTS)[1])
        try:
            world = _Hosts(self, given, task_vars or {})
            drills = list(_drills(given, world.site))
            if given["operation"] == "plan":
                return self._plan(world, drills, given)
            if self._task.check_mode:
                return {"changed": False, "msg": "Nothing is broken in check mode."}
            with alone(world.live.inventory / ".rackspread", self._display.display):
                return self._run(world, drills, given)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal

    def _plan(self, world: _Hosts, drills: Sequence[Drill], given: Mapping[str, Any]) -> dict[str, Any]:
        """Refuse what can't be, say what will be done, and ask."""
        if not given["allowed"]:
            raise Refusal("RS-100", f"The site {world.live.topology['site']['name']} is not marked for drills.")
        probes = {probe.service: probe for drill in drills for probe in world.probes(drill.service)}
        world.find_probe_host()
        standing = drilling.look(world)
        drills = drilling.distinct(world.site, drills, standing)
        lines = drilling.plan(world, world.site, drills, standing)
        if len(drills) > 1:
            lines.append(
                f"{len(drills)} drills, one after another, each when all is whole and {given['settle']:g} s later;"
                " who leads is asked anew before each."
            )
        if given["confirmed"] or self._task.check_mode:
            self._display.display("\n".join(["", *lines, ""]))
        else:
            ask(self._display, lines, "RS-105")
        return {
            "changed": False,
            "plan": lines,
            "packages": sorted({package for probe in probes.values() for package in probe.packages}),
            "certificates": [
                {**each, "name": given["probe_host"]} for probe in probes.values() for each in probe.certificates
            ],
        }

    def _run(self, world: _Hosts, drills: Sequence[Drill], given: Mapping[str, Any]) -> dict[str, Any]:
        """Do the drills, and go no further after one that could not be done, lost something or left the site broken."""
        results: list[Result] = []
        folders: list[Path] = []
        wrong: Refusal | None = None
        try:
            for drill in drilling.distinct(world.site, drills, drilling.look(world)):
                if results:
                    world.say(f"  next in {given['settle']:g} s")
                    world.pause(given["settle"])
                results.append(drilling.run(world, world.site, drill))
                folders.append(_keep(world.live.inventory / ".rackspread/drills", results[-1]))
                world.say(f"  {folders[-1]}/index.html")
                if wrong := problem(results[-1], str(folders[-1])):
                    break
        except Refusal as refusal:
            wrong = refusal
        if results:
            self._display.display(f"\n{table(results)}")
        return {
            "changed": bool(results),
            "failed": wrong is not None,
            "msg": str(wrong or f"{len(results)} drills, nothing lost"),
            "folders": list(map(str, folders)),
            "table": table(results),
            "results": [
                {key: value for key, value in each.to_dict().items() if key not in ("rows", "lost", "duplicated")}
                for each in results
            ],
        }


class _Hosts:
    """The World of a real drill."""

    def __init__(self, action: ActionModule, given: Mapping[str, Any], variables: Mapping[str, Any]) -> None:
        self._action = action
        self._given = given
        self._variables = variables
        self._remote = Remote(action, variables)
        self.live = LiveSite(current.site(), self._remote)
        self.site = Site(self.live.topology, self.live.asked)
        self._running: list[Probe] = []
        self._standing: Standing | None = None

    # What is looked at

    def stand(self) -> Standing:
        """Look at the whole site."""
        self._standing = self.live.stand()
        return self._standing

    def obstacles(self, drill: Drill, aim: Aim) -> list[str]:
        """Ask the hosts, or see whether there is a lab that can do it."""
        if drill.fault.made_by == "lab":
            return [] if self._given["lab"] and LAB.exists() else ["this site is in no lab (`rackspread_lab`)"]
        calls = self._calls(drill, aim, "check")
        return [
            f"{call.host}: {answer.message}"
            for call, answer in zip(calls, self._remote.run(calls), strict=True)
            if answer.failed or answer.unreachable
        ]

    def find_probe_host(self) -> None:
        """Refuse (RS-104) a probe host that is not there, does not answer, or stands in the racks itself."""
        host = self._given["probe_host"]
        if not host:
            raise Refusal("RS-104", "No probe host is named.")
        if host in self.live.topology["hosts"]:
            raise Refusal("RS-104", f"{host} stands in a rack of the site, and may be hit itself.")
        (answer,) = self._remote.run([Call(host, "ansible.builtin.ping", {}, 30)])
        if answer.failed or answer.unreachable:
            raise Refusal("RS-104", f"{host} does not answer: {answer.message}")

    # The probes

    def probes(self, service: str) -> list[Probe]:
        """The clients that count in a drill of a service."""
        access = Access(self._login, self._authority, self._secret, self._slots())
        return probes_of(service, self.live.topology, access)

    def _slots(self) -> dict[str, list[str]]:
        """By shard of Redis the slots that its master had at the last look."""
        seen = self._standing.seen if self._standing else {}
        return {
            group: own.tells("slots")
            for (service, group), those in seen.items()
            for own in those
            if service == "redis" and own.leads and own.tells("slots")
        }

    def _login(self) -> Mapping[str, str]:
        return {**self._given["login"], "password": self._given["password"] or self._secret("postgres", "admin")}

    def _secret(self, service: str, name: str) -> str:
        own = self._action._templar.template(self._variables.get(secrets.GIVEN) or {})
        return secrets.find(self.live.inventory, service, name, own)

    def _authority(self, service: str) -> str:
        found = pki.load(self.live.inventory, service)
        if found is None:
            path = pki.folder_for(self.live.inventory, service)
            raise Refusal("RS-104", f"The CA of {service}, by which the probe knows the site, is not in {path}.")
        return found.trusted

    def start_probes(self, drill: Drill, seconds: float) -> None:
        """Put the programs in place and start them."""
        self._running = self.probes(drill.service)
        described = {probe.service: {"settings": probe.settings, "files": files_of(probe)} for probe in self._running}
        hidden = {probe.service: probe.secrets for probe in self._running if probe.secrets}
        self._probe("start", probes=described, secrets=hidden, seconds=seconds)

    def steady(self) -> dict[str, float]:
        """By target and operation for how long clients have been served."""
        asked = time.time()
        said = self._probe("state")
        if not asked - APART < said["wall"] < time.time() + APART:
            self.say(f"  the clock of {self._given['probe_host']} differs from this one: marks are uncertain")
        return {
            f"{op} of {target}": seconds or 0.0
            for probe in self._running
            for target, ops in (said["answers"][probe.service]["steady"] or {probe.service: {"start": None}}).items()
            for op, seconds in ops.items()
        }

    def verdict(self) -> dict[str, Any]:
        """End the clients and have them read back."""
        answers: dict[str, Any] = self._probe("verify", seconds_to_wait=300)["answers"]
        return answers

    def drop_probes(self) -> None:
        """Leave nothing of the clients."""
        if self._running:
            self._probe("drop")
            self._running = []

    def _probe(self, operation: str, seconds_to_wait: float = 90, **arguments: Any) -> Mapping[str, Any]:
        known = {"probes": {probe.service: {} for probe in self._running}, "operation": operation}
        call = Call(self._given["probe_host"], "rackspread.ha.drill_probe", {**known, **arguments}, seconds_to_wait)
        (answer,) = self._remote.run([call])
        if answer.failed or answer.unreachable:
            raise Refusal("RS-104", f"{self._given['probe_host']}: {answer.message}")
        return answer.result

    # The fault

    def begin(self, drill: Drill, aim: Aim, seconds: float) -> float:
        """Make the fault everywhere at one moment."""
        if drill.fault.made_by == "lab":
            return self._in_lab("cut" if drill.fault.name == "uplink" else "power-off", aim, "--for", f"{seconds:.0f}")
        calls = self._calls(drill, aim, "begin", seconds=seconds, at=time.time() + LEAD)
        answers = self._remote.run(calls)
        wrong = [
            f"{call.host}: {answer.message}"
            for call, answer in zip(calls, answers, strict=True)
            if answer.failed or (answer.unreachable and drill.fault.name != "reboot")
        ]
        if wrong:
            raise Refusal("RS-103", f"{drill.fault.name} was not made: {'; '.join(wrong)}")
        return min((answer.result["begins"] for answer in answers if answer.result), default=time.time())

    def end(self, drill: Drill, aim: Aim) -> None:
        """End the fault; a host that does not answer ends it by itself."""
        if drill.fault.made_by == "lab":
            self._in_lab("heal" if drill.fault.name == "uplink" else "power-on", aim)
        elif drill.fault.lasts:
            calls = self._calls(drill, aim, "end")
            for call, answer in zip(calls, self._remote.run(calls), strict=True):
                if answer.failed or answer.unreachable:
                    self.say(f"  {call.host}: the fault ends by itself, since it was not ended: {answer.message}")

    def _calls(self, drill: Drill, aim: Aim, operation: str, **arguments: Any) -> list[Call]:
        """One call a host that is hit."""
        hosts = aim.hosts if drill.fault.hits == "hosts" else tuple(aim.units)
        calls = []
        for host in hosts:
            units = aim.units.get(host, ()) if drill.fault.hits == "units" else ()
            asked = {
                "operation": operation,
                "fault": drill.fault.name,
                "units": [unit.name for unit in units],
                "data": [unit.data or "" for unit in units],
                "settings": self._given["settings"],
            }
            calls.append(Call(host, "rackspread.ha.drill_fault", {**asked, **arguments}, 120))
        return calls

    def _in_lab(self, verb: str, aim: Aim, *options: str) -> float:
        """Have the lab do it; when it began to."""
        self._remote.stay()
        began = time.time()
        command = [str(LAB), "--lab", self._given["lab"], verb, aim.place, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Refusal("RS-103", f"{' '.join(command[-4:])}: {done.stderr.strip() or done.stdout.strip()}")
        return began

    # The clock and the screen

    def wall(self) -> float:
        """The wall clock."""
        return time.time()

    def pause(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def say(self, line: str) -> None:
        """Print a line of its own."""
        self._action._display.display(line)


def _drills(given: Mapping[str, Any], site: Site) -> list[Drill]:
    """Every combination that was asked for, service by service."""
    targets = [each for word in given["targets"] for each in (site.racks if word == RACKS else [word])]
    drills = []
    for service, name, target in product(given["services"], given["faults"], targets):
        fault = drilling.fault_named(name)
        group = site.led(service, given["group"])
        drills.append(Drill(service, group, target, fault, given["seconds"], given["patience"]))
    return drills


def _keep(folder: Path, result: Result) -> Path:
    """Write a result down; where it lies."""
    word = result.target.replace("/", "-")
    stamp = result.began[:19].replace(":", "")
    own = folder / f"{stamp}-{result.service}-{word}-{result.fault}"
    own.mkdir(parents=True, exist_ok=True)
    (own / "result.json").write_text(json.dumps(result.to_dict(), indent=1) + "\n", encoding="utf-8")
    (own / "index.html").write_text(render(result), encoding="utf-8")
    return own
