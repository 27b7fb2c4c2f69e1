"""What a placement is worth, in exact numbers, computed from the placement alone and from none of the engine's code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Host, Member, Placement

Score = tuple[tuple[int, ...], Fraction, Fraction, Fraction, int, int]
"""Crowding (how many members stand beyond t* in a rack, the highest step first), Σ load²/capacity, the greatest
load/capacity, the same sum over racks, Σ leaders² over racks, over hosts: less is better, the first part first."""


@dataclass(frozen=True)
class Case:
    """One component on one site.

    Attributes:
        before: the load of each host from elsewhere.
        locked: groups that are there: the names of hosts, the leader first (None: it has none).
    """

    hosts: tuple[Host, ...]
    demand: Demand
    before: dict[str, int] = field(default_factory=dict)
    locked: tuple[tuple[str | None, tuple[str, ...]], ...] = ()

    @property
    def usable(self) -> list[Host]:
        return [host for host in self.hosts if host.name in self.demand.hosts]

    @property
    def unbounded(self) -> int:
        return max(host.capacity or 1 for host in self.hosts)

    def demands(self) -> list[Demand]:
        """The component, and others of one member each that are there already: what loads the hosts."""
        names = tuple(host.name for host in self.hosts)
        loads = [Demand(f"load_{h}", 1, 1, names, weight=w, rack_limit=1) for h, w in sorted(self.before.items())]
        return [*loads, self.demand]

    def lock(self) -> Lock:
        rack = {host.name: host.rack for host in self.hosts}
        groups = {}
        for host in self.before:
            groups[f"load_{host}1"] = LockedGroup(1, 2, (Member(1, host, rack[host]),))
        for index, (leader, names) in enumerate(self.locked, 1):
            members = tuple(Member(id, name, rack[name], name == leader) for id, name in enumerate(names, 1))
            groups[f"{self.demand.component}{index}"] = LockedGroup(index, len(names) + 1, members)
        return Lock(components={self.demand.component: len(self.locked) + 1}, groups=groups)

    def least_crowded(self) -> int:
        """t* of a new group, by the formula. A host without room for one more is of no use."""
        room = Counter(host.rack for host in self.usable if self.room(host))
        wanted = self.demand.members
        return next((t for t in range(1, wanted + 1) if sum(min(size, t) for size in room.values()) >= wanted), wanted)

    def load(self, host: Host) -> int:
        """What a host carries before new groups come."""
        return self.before.get(host.name, 0) + self.demand.weight * sum(host.name in names for _, names in self.locked)

    def room(self, host: Host) -> int:
        """How many more members a host can take."""
        free = None if host.capacity is None else (host.capacity - self.load(host)) // self.demand.weight
        return self.demand.groups if free is None else min(self.demand.groups, free)


def score(case: Case, placement: Placement) -> Score:
    """The worth of a placement of a case whose locked groups are whole."""
    groups = [group for group in placement.groups.values() if group.component == case.demand.component]
    new = [group for group in groups if group.index > len(case.locked)]
    least = case.least_crowded()
    steps = Counter[int]()
    for group in new:
        for count in Counter(member.rack for member in group.members).values():
            steps.update(range(least + 1, count + 1))
    carried = Counter(member.host for group in groups for member in group.members)
    leading = [member for group in groups for member in group.members if member.leader]
    loads = {h.name: case.before.get(h.name, 0) + case.demand.weight * carried[h.name] for h in case.hosts}
    size = {host.name: host.capacity or case.unbounded for host in case.hosts}
    able = [host for host in case.usable if case.room(host)]
    racks: dict[str, list[str]] = defaultdict(list)
    for host in able:
        racks[host.rack].append(host.name)

    def full(names: Iterable[str]) -> tuple[int, int]:
        names = list(names)
        return sum(loads[name] for name in names), sum(size[name] for name in names)

    alone, in_racks = [full([host.name]) for host in able], [full(names) for names in racks.values()]
    return (
        tuple(steps[step] for step in range(case.demand.members, least, -1)),
        sum((Fraction(load**2, room) for load, room in alone), Fraction(0)),
        max(Fraction(load, room) for load, room in alone),
        sum((Fraction(load**2, room) for load, room in in_racks), Fraction(0)),
        squares(member.rack for member in leading),
        squares(member.host for member in leading),
    )


def squares(names: Iterable[str]) -> int:
    """The sum of squares of how often each name comes."""
    return sum(count * count for count in Counter(names).values())
