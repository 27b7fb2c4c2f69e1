# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill can be aimed at, and what that is on this site right now: hosts, and the units of members on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils.services import programs_of
from ansible_collections.rackspread.ha.plugins.plugin_utils.looking import Asked
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

LEADER_WORDS = {
    "leader": "the leader of {group} ({member})",
    "host": "{host}, where {group} is led",
    "rack": "{rack}, where {group} is led",
}
"""The targets that are found by who leads, and what they are called."""

RACKS = "racks"
"""Each rack of the site, one after another."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A service of systemd, without `.service`, and the data folder of its member."""

    name: str
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Aim:
    """What is hit.

    Args:
        word: the target as it was asked for.
        label: what that is now, for people.
        hosts: all of them.
        units: by host those of the members that are hit.
        rack: where a whole rack is hit, its name.
    """

    word: str
    label: str
    hosts: tuple[str, ...]
    units: Mapping[str, Sequence[Unit]] = field(default_factory=dict)
    rack: str | None = None

    @property
    def place(self) -> str:
        """The rack, or the one host."""
        return self.rack or self.hosts[0]


class Site:
    """Where everything of a site is.

    Args:
        topology: docs/placement.md.
        asked: the services with their groups, as they are looked at.
    """

    def __init__(self, topology: Mapping[str, Any], asked: Sequence[Asked]) -> None:
        self.topology = topology
        self.racks: Mapping[str, Sequence[str]] = topology["racks"]
        self.groups: Mapping[str, Mapping[str, Any]] = topology["groups"]
        self._units: dict[str, dict[tuple[str, int], list[Unit]]] = defaultdict(lambda: defaultdict(list))
        for each in asked:
            for group in each.groups:
                for member in group["members"]:
                    instance = each.instance(group, member)
                    place = group["name"], member["id"]
                    self._units[member["host"]][place].append(Unit(instance.unit, instance.data))

    def led(self, service: str, group: str | None) -> str:
        """The group whose leader is meant: the one named, or the first that has one. Raises Refusal RS-101."""
        known = [key for key, each in self.groups.items() if each["service"] == service]
        known.sort(key=lambda key: all(row.gate == "copies" for row in programs_of(self.groups[key])))  # led in parts
        if not known:
            services = ", ".join(dict.fromkeys(each["service"] for each in self.groups.values()))
            raise Refusal("RS-101", f"This site has no {service}.", hint=f"It has: {services}.")
        if group and group not in known:
            raise Refusal("RS-101", f"{service} has no group {group!r}.", hint=f"It has: {', '.join(known)}.")
        return group or known[0]

    def aim(self, word: str, group: str, standing: Standing) -> Aim:
        """What a target is now.

        Args:
            word: `leader`, `host` or `rack` (where the group is led), `vip`, `<group>/<member id>`, or the name of a
                host or a rack.
            group: whose leader is meant.
            standing: the site as it was just seen.

        Raises Refusal RS-101 for one that is not known, RS-102 where nobody leads.
        """
        if word == "vip":
            group = next((key for key, each in self.groups.items() if each["service"] == "edge"), "")
            if not group:
                raise Refusal("RS-101", "This site has no balancers.", hint=self._hint())
            return self._of_leader("leader", word, group, standing)
        if word in LEADER_WORDS:
            return self._of_leader(word, word, group, standing)
        if word in self.racks:
            return self._rack(word, word, word)
        if word in self._units:
            return self._host(word, word, word)
        key, _slash, number = word.partition("/")
        for member in self.groups.get(key, {"members": []})["members"]:
            if str(member["id"]) == number:
                return self._member(word, f"member {number} of {key} on {member['host']}", key, member)
        raise Refusal("RS-101", f"There is no target {word!r} here.", hint=self._hint())

    def _of_leader(self, kind: str, word: str, group: str, standing: Standing) -> Aim:
        leader = standing.leader(group)
        if leader is None:
            raise Refusal("RS-102", f"Nobody leads {group}.")
        label = LEADER_WORDS[kind].format(group=group, member=leader, host=leader.host, rack=leader.rack)
        if kind == "host":
            return self._host(leader.host, word, label)
        if kind == "rack":
            return self._rack(leader.rack, word, label)
        member = next(each for each in self.groups[group]["members"] if each["id"] == leader.member)
        return self._member(word, label, group, member)

    def _member(self, word: str, label: str, group: str, member: Mapping[str, Any]) -> Aim:
        host = member["host"]
        return Aim(word, label, (host,), {host: self._units[host][group, member["id"]]})

    def _host(self, host: str, word: str, label: str) -> Aim:
        return Aim(word, label, (host,), {host: self._all(host)})

    def _rack(self, rack: str, word: str, label: str) -> Aim:
        hosts = tuple(self.racks[rack])
        return Aim(word, label, hosts, {host: self._all(host) for host in hosts if self._all(host)}, rack)

    def _all(self, host: str) -> list[Unit]:
        return [unit for units in self._units.get(host, {}).values() for unit in units]

    def _hint(self) -> str:
        return (
            f"Targets are: {', '.join([*LEADER_WORDS, 'vip', RACKS])}, <group>/<member id>, a rack"
            f" ({', '.join(self.racks)}) or a host."
        )
