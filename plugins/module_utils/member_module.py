# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a service's two modules of its Driver: `<service>_member` looks and acts, `<service>_info` only looks.

An acting call holds the member's lock on the host, looks again whether what it is asked for still fits, acts, and
answers the new observation. So two runs at once, or a run that goes by an old look, do no harm.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from . import host, record
from .driver import EMPTY, HALF_FORMED, LEFTOVERS, Driver
from .instance import PASSWORD_PHASE, Instance

OPERATIONS = (
    "look", "form", "join", "start", "activate", "revert", "admit", "expel", "step_down", "share", "settle",
    "remember", "ask", "retire", "forget",
)


class Member:
    """A member on this host, and what may be done to it.

    Args:
        driver: the service's own.
        site_id: of the site that the run is for.
        generation: of the lock that the run goes by.
    """

    def __init__(self, driver: Driver, site_id: str = "", generation: int = 0) -> None:
        self.driver = driver
        self.instance = driver.instance
        self.group = driver.group
        self.site_id = site_id
        self.generation = generation

    # Looking

    def observe(self) -> dict[str, Any]:
        """The observation of docs/architecture.md, but for `state`, which the controller makes of it."""
        instance = self.instance
        unit = host.unit(instance.unit)
        known = record.read(instance.root)
        part = self._part(known)
        found = self.find()
        live = self.driver.ask() if unit.running else None
        staged = instance.manifest(instance.staged)
        return {
            "member": instance.member,
            "host": self.driver.member["host"],
            "running": unit.running,
            "found": dataclasses.asdict(found),
            "live": dataclasses.asdict(live) if live else None,
            "record": part,
            "site_id": known["site_id"] if known else None,
            "machine_id": host.machine_id(instance.root),
            "volume": self._volume(part),
            "need": self.driver.need(unit.running, live),
            "staged": staged["version"] if staged else None,
            "asked": unit.running and instance.asked_for(),
            "retired": self._key in (known or {}).get("retired", {}),
            "bearing": self._bearing(known),
            "passwords": ((unit.running and instance.taken(PASSWORD_PHASE)) or "").strip(),
            "detail": self._detail(unit, found.detail, live.detail if live else ""),
        }

    def _bearing(self, known: dict[str, Any] | None) -> bool:
        """Whether the program that stands on this one is still there."""
        return f"{self.group['name']}_{self.driver.bears}" in self._programs(known)

    def _programs(self, known: dict[str, Any] | None) -> list[str]:
        """The programs of this member that the host has, as its record names them."""
        return [
            name
            for name, part in (known or {"groups": {}})["groups"].items()
            if part["member"] == self.instance.member and name.startswith(f"{self.group['name']}_")
        ]

    def find(self) -> Any:
        """What lies on the disk, with its marker."""
        found = self.driver.find()
        found.marker = self.instance.marker()
        return found

    def _volume(self, part: dict[str, Any] | None) -> dict[str, Any] | None:
        recorded = part.get("volume") if part else None
        there = self.instance.volume()
        if recorded:
            return {**recorded, "mounted": there == recorded}
        return {**there, "mounted": True} if there else None

    def _detail(self, unit: host.Unit, *sentences: str) -> str:
        said = [sentence for sentence in sentences if sentence]
        if unit.broken:
            said.append(f"{unit.name}.service failed: {self.driver.last_words()}")
        return "; ".join(said)

    # Acting. Each raises Failed where what was seen no longer fits.

    def form(self, intent: dict[str, Any]) -> None:
        """The group's first bootstrap, on this member."""
        part = record.part(record.read(self.instance.root), self.instance.group) or {}
        if part.get("formed"):
            raise host.Failed(f"{self._name} belongs to a group that was formed before: it is never formed anew")
        if part.get("intent") and part["intent"] != intent:
            raise host.Failed(f"{self._name} is half formed under another intent: {part['intent']}")
        found = self.find()
        resumed = bool(part.get("intent")) and found.state not in (EMPTY, LEFTOVERS)
        if found.state != EMPTY and not resumed:
            raise host.Failed(f"{self._name} has data ({found.state}) in {self.instance.data}: it is not formed over")
        self._claim(intent)
        self.driver.form(intent)

    def join(self, peer: dict[str, Any]) -> None:
        """Start this blank member into the formed group."""
        found = self.find()
        if found.state not in (EMPTY, HALF_FORMED):
            raise host.Failed(
                f"{self._name} has data ({found.state}) in {self.instance.data}: only a blank member joins",
            )
        self._claim(self.group.get("intent"))
        self.driver.join(peer)

    def start(self) -> None:
        """Start this stopped member."""
        if not host.unit(self.instance.unit).running:
            self._remember_group({})
            self.driver.resume()

    def activate(self) -> None:
        """Take the staged version."""
        self._remember_group({})
        self.driver.activate()

    def remember(self) -> None:
        """Write down that this member was seen joined: from now on its group is formed, whatever else is lost."""
        live = self.driver.ask()
        if live.cluster_id is None or self.instance.member not in live.members:
            raise host.Failed(f"{self._name} is not joined: {live.detail or 'its cluster does not count it'}")
        self._remember_group({"formed": live.cluster_id})
        host.remove(self.instance.first_start)

    def retire(self) -> dict[str, Any]:
        """Stop this member for good. Its data stays, aside, and the record tells where.

        Answers `{remaining}`: other programs of the same member that this host still has.
        """
        own = self.driver.member
        if not own.get("leaving") and own not in self.group.get("gone", ()):
            raise host.Failed(f"{self._name} neither leaves nor is lost by the lock: it is not stopped for good")
        if host.unit(self.instance.unit).load == "loaded" and self._is_own_unit():
            self.driver.leave()
        data = self.driver.put_aside()
        with record.update(self.instance.root) as known:
            record.belong(known, self.site_id, own["host"], own["rack"], self.generation, self.instance.root)
            part = known["groups"].get(self.instance.group) or {}
            if part.get("member") == self.instance.member:
                del known["groups"][self.instance.group]
            known.setdefault("retired", {}).setdefault(
                self._key,
                {"index": self.group["index"], "formed": part.get("formed"), "data": data, "at": int(time.time())},
            )
            return {"data": data, "remaining": self._programs(known)}

    def _is_own_unit(self) -> bool:
        """Whether the unit of this group here is this member's, and not that of its successor on the same host."""
        part = record.part(record.read(self.instance.root), self.instance.group)
        return part is None or part["member"] == self.instance.member

    def _part(self, known: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the record says of this member; of one that was here before it says nothing of this."""
        part = record.part(known, self.instance.group)
        return part if part and part["member"] == self.instance.member else None

    @property
    def _key(self) -> str:
        """How the record names a member that was retired."""
        return f"{self.instance.group}/{self.instance.member}"

    def forget(self) -> None:
        """Take this member out of what the host is managed by, and leave all that is there as it is.

        What the host knew of it is kept aside, so that the start guard goes on guarding it.
        """
        own = self.driver.member
        with record.update(self.instance.root) as known:
            record.belong(known, self.site_id, own["host"], own["rack"], self.generation, self.instance.root)
            part = known["groups"].pop(self.instance.group, None)
            if part is not None:
                known.setdefault("forgotten", {})[self.instance.group] = part

    def _claim(self, intent: dict[str, Any] | None) -> None:
        """Record, marker, current version and unit: all that the start guard asks for, before a first start."""
        if host.unit(self.instance.unit).running:
            if self.driver.ask().unfinished:
                return  # the run that claimed it was cut short
            raise host.Failed(f"{self._name} runs already")
        if self.instance.manifest(self.instance.staged) is None:
            raise host.Failed(f"{self._name} has nothing staged")
        self._remember_group({"intent": intent, "volume": self.instance.volume()})
        self.instance.claim(self.site_id, (intent or {}).get("formation_id"))
        self.driver.enable(self.instance.switch(running=False))

    def _remember_group(self, facts: dict[str, Any]) -> None:
        """Bring this group's part of the record up to what the run says of it. `formed` is a latch, never unset."""
        own = self.driver.member
        with record.update(self.instance.root) as known:
            record.belong(known, self.site_id, own["host"], own["rack"], self.generation, self.instance.root)
            before = known["groups"].get(self.instance.group, {})
            known["groups"][self.instance.group] = {
                "index": self.group["index"],
                "next_id": self.group.get("next_id"),
                "members": self.group["members"],
                "member": self.instance.member,
                "intent": before.get("intent"),
                "volume": before.get("volume"),
                **facts,
                "formed": before.get("formed") or facts.get("formed"),
            }

    @property
    def _name(self) -> str:
        return f"member {self.instance.member} of {self.group['name']}"


def _place(group: dict[str, Any], member: int) -> dict[str, Any]:
    """The M of a member of the group, or of one that is lost."""
    for each in (*group["members"], *group.get("gone", ())):
        if each["id"] == member:
            found: dict[str, Any] = each
            return found
    raise host.Failed(f"{group['name']} has no member {member}")


def member_of(driver_class: type[Driver], parameters: dict[str, Any], asked: dict[str, Any]) -> Member:
    """The member that a call speaks of.

    `parameters` are the module's (settings, secrets, site_id, generation), `asked` is `{group, member, unit, data,
    program}`. Raises Failed where the group has no such member.
    """
    group = asked["group"]
    own = _place(group, asked["member"])
    name = f"{group['name']}_{asked['program']}" if asked.get("program") else group["name"]
    instance = Instance(name, asked["member"], asked["unit"], asked["data"])
    driver = driver_class.of(instance, group, own, parameters["settings"], parameters["secrets"])
    return Member(driver, parameters.get("site_id") or "", parameters.get("generation") or 0)


def run(driver_class: type[Driver]) -> None:
    """The module `<service>_member`."""
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": list(OPERATIONS), "default": "look"},
            "group": {"type": "dict", "required": True},
            "member": {"type": "int", "required": True},
            "unit": {"type": "str", "required": True},
            "data": {"type": "path"},
            "program": {"type": "str"},
            "site_id": {"type": "str"},
            "generation": {"type": "int", "default": 0},
            "intent": {"type": "dict"},
            "peer": {"type": "dict", "default": {}},
            "target": {"type": "int"},
            "emptied": {"type": "list", "elements": "str", "default": []},
            "settings": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        required_if=[
            *[("operation", operation, ["site_id"]) for operation in OPERATIONS if operation != "look"],
            ("operation", "form", ["intent"]),
            ("operation", "admit", ["target"]),
            ("operation", "expel", ["target"]),
        ],
        supports_check_mode=True,
    )
    operation = module.params["operation"]
    try:
        member = member_of(driver_class, module.params, module.params)
        if operation == "look":
            module.exit_json(changed=False, observation=member.observe())
        if module.check_mode:
            module.exit_json(changed=True, observation=member.observe(), answer={})
        with host.flock(member.instance.lock):
            answer = _act(member, operation, module.params)
            module.exit_json(changed=True, observation=member.observe(), answer=answer or {})
    except (host.Failed, ValueError, OSError) as error:
        module.fail_json(msg=str(error))


def _act(member: Member, operation: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    driver = member.driver
    target = None
    if parameters["target"] is not None:
        target = _place(driver.group, parameters["target"])
    acts: dict[str, Callable[[], Any]] = {
        "form": lambda: member.form(parameters["intent"]),
        "join": lambda: member.join(parameters["peer"]),
        "start": member.start,
        "activate": member.activate,
        "revert": driver.revert,
        "admit": lambda: driver.admit(target or {}),
        "expel": lambda: driver.expel(target or {}),
        "step_down": lambda: driver.step_down(target),
        "share": lambda: driver.share(parameters["emptied"]),
        "settle": driver.settle,
        "remember": member.remember,
        "ask": member.instance.ask,
        "retire": member.retire,
        "forget": member.forget,
    }
    answer: dict[str, Any] | None = acts[operation]()
    return answer


def run_info(driver_class: type[Driver]) -> None:
    """The module `<service>_info`: the members named, or all of the service that this host's record knows."""
    module = AnsibleModule(
        argument_spec={
            "instances": {"type": "list", "elements": "dict"},
            "settings": {"type": "dict", "default": {}},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    try:
        asked = module.params["instances"]
        if asked is None:
            asked = recorded(driver_class.service)
        members = [member_of(driver_class, module.params, each) for each in asked]
        module.exit_json(changed=False, members={each.instance.group: each.observe() for each in members})
    except (host.Failed, ValueError, OSError) as error:
        module.fail_json(msg=str(error))


def recorded(service: str, root: str = "/") -> list[dict[str, Any]]:
    """What `instances` of the info module would be for every member of a service that this host's record knows."""
    result = []
    for name, part in sorted(((record.read(root) or {}).get("groups") or {}).items()):
        instance = Instance.of(name, part["member"], root=root)
        manifest = instance.manifest(instance.current) if instance.service == service else None
        if manifest and os.path.exists(instance.path(f"etc/systemd/system/{manifest['unit']}.service")):
            result.append({
                "group": {**part, "name": name}, "member": part["member"],
                "unit": manifest["unit"], "data": manifest["data"],
            })
    return result
