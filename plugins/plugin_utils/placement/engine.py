# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: `place` says where every member goes.

For one group: the least t with which the racks are enough, then hosts one by one, each from a rack that has the fewest
of the group, the cheapest host first. Groups are taken one after another, components heaviest first. Over several
groups this is a greedy and no optimum; that t is the least holds for each group by itself, given the room left.
Callers know `place` and nothing behind it.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..lock import Lock
from ..refusals import Refusal
from .hosts import natural
from .model import Demand, Group, Host, Member, Placement

Cost = Callable[[int, int, int], float]


def place(demands: Sequence[Demand], hosts: Iterable[Host], lock: Lock) -> Placement:
    """Place every group that is demanded.

    Members of a group are on distinct hosts, the most of them in one rack is the least possible, capacities are kept,
    and what the lock names stays where it is. The answer does not depend on the order of the input.

    Raises Refusal: RS-011 too few hosts, RS-012 a rack's loss would stop a group, RS-013 too little memory, RS-016 no
    port left, RS-017 the leaders' majority in one rack, RS-018 fewer than the lock has, RS-019 and RS-020 a host of the
    lock that left or changed.
    """
    by_name = {host.name: host for host in sorted(hosts, key=lambda host: (natural(host.rack), natural(host.name)))}
    demands = sorted(demands, key=lambda demand: (-demand.weight, demand.component))
    kept = _kept(demands, by_name, lock)
    load: Counter[str] = Counter()
    for demand in demands:
        for group in kept[demand.component]:
            load.update({member.host: demand.weight for member in group.members})
    for host in by_name.values():
        if host.capacity is not None and load[host.name] > host.capacity:
            raise Refusal(
                "RS-013", f"The members on {host.name} need {load[host.name]} MiB, and it has {host.capacity}."
            )
    groups: dict[str, Group] = {}
    next_index = dict(lock.components)
    for demand in demands:
        placed, load = _place(demand, by_name, kept[demand.component], next_index.get(demand.component, 1), load)
        groups.update((group.key, group) for group in placed)
        next_index[demand.component] = max(next_index.get(demand.component, 1), placed[-1].index + 1)
    return Placement(groups, next_index)


def _kept(demands: Iterable[Demand], hosts: Mapping[str, Host], lock: Lock) -> dict[str, list[Group]]:
    """The groups of the lock by component, by index, with their members' racks and addresses as they are today."""
    asked = {demand.component: demand for demand in demands}
    kept: dict[str, list[Group]] = defaultdict(list)
    for key, locked in sorted(lock.groups.items(), key=lambda item: item[1].index):
        component = key.removesuffix(str(locked.index))
        demand = asked.get(component)
        if demand is None:
            raise Refusal("RS-018", f"The spec asks for no {component}, and there is {key}.", key=key, live="the spec")
        if len(locked.members) > demand.members:
            raise Refusal(
                "RS-018",
                f"The spec asks for {demand.members} members, and {key} has {len(locked.members)}.",
                key=demand.members_key,
                live=len(locked.members),
            )
        ports = _ports(demand, locked.index)
        members = []
        for member in locked.members:
            host = hosts.get(member.host)
            if host is None:
                raise Refusal("RS-019", f"{key} has a member on {member.host}, which is in no rack.", host=member.host)
            for what, was, now in (("address", member.address, host.address), ("rack", member.rack, host.rack)):
                if was not in (None, now) and (locked.formed or locked.intent):
                    raise Refusal(
                        "RS-020",
                        f"{key} was formed with {what} {was} of {host.name}, and the inventory says {now}.",
                        what=f"the {what} of {host.name}",
                        was=was,
                    )
            # Ports that the lock has stay as they are: another release's table must not move what runs.
            own = {**ports, **member.ports} if ports else {}
            members.append(Member(member.id, host.name, host.rack, member.leader, host.address, own))
        kept[component].append(Group(key, component, locked.index, tuple(members), locked.next_id))
    for component, groups in kept.items():
        demand = asked[component]
        if len(groups) > demand.groups:
            raise Refusal(
                "RS-018",
                f"The spec asks for {demand.groups} groups {component}, and there are {len(groups)}.",
                key=demand.groups_key,
                live=len(groups),
            )
    return kept


def _place(
    demand: Demand, hosts: Mapping[str, Host], kept: list[Group], first: int, load: Counter[str]
) -> tuple[list[Group], Counter[str]]:
    """All groups of one component, in the order of their indices, and the load with them."""
    indices = range(first, first + demand.groups - len(kept))
    lacking = [(group.key, group.members) for group in kept] + [(f"{demand.component}{index}", ()) for index in indices]
    try:
        pool = _Pool(demand, hosts, load, _even)
        drawn = [pool.draw(key, members) for key, members in lacking]
    except Refusal as refusal:
        if refusal.code != "RS-013":
            raise
        # Even loads ran out of room: to take the roomiest hosts first leaves the most room for the groups to come.
        pool = _Pool(demand, hosts, load, _roomiest)
        drawn = [pool.draw(key, members) for key, members in lacking]
    leaders = _Leaders(demand, pool.racks, kept)
    placed = []
    for group, names in zip(kept, drawn, strict=False):
        members = (*group.members, *_members(demand, group.index, hosts, names, group.next_id))
        next_id = group.next_id + len(names)
        placed.append(Group(group.key, group.component, group.index, leaders.lead(group.index, members), next_id))
    for index, names in zip(indices, drawn[len(kept) :], strict=True):
        members = leaders.lead(index, _members(demand, index, hosts, names, 1))
        placed.append(Group(f"{demand.component}{index}", demand.component, index, members, len(names) + 1))
    leaders.check()
    return placed, pool.load


def _members(
    demand: Demand, index: int, hosts: Mapping[str, Host], names: Iterable[str], first: int
) -> tuple[Member, ...]:
    ports = _ports(demand, index)
    chosen = [hosts[name] for name in names]
    return tuple(Member(id, host.name, host.rack, False, host.address, ports) for id, host in enumerate(chosen, first))


def _ports(demand: Demand, index: int) -> dict[str, int]:
    for name, (_base, block) in demand.ports.items():
        if index > block:
            raise Refusal("RS-016", f"{demand.component}{index} has no port `{name}`: the block has {block}.")
    return {name: base + index - 1 for name, (base, _block) in demand.ports.items()}


def _even(load: int, weight: int, capacity: int) -> float:
    """By how much one more member raises the sum of load²/capacity."""
    return (2 * load + weight) * weight / capacity


def _roomiest(load: int, weight: int, capacity: int) -> float:
    return load - capacity


class _Pool:
    """The hosts of one demand: a heap a rack, the cheapest host on top. A host without room is in none."""

    def __init__(self, demand: Demand, hosts: Mapping[str, Host], load: Counter[str], cost: Cost) -> None:
        self.demand, self.hosts, self.load, self.cost = demand, hosts, load.copy(), cost
        usable = set(demand.hosts)
        self.order = {name: place for place, name in enumerate(hosts) if name in usable}
        self.size = Counter(hosts[name].rack for name in self.order)
        self.racks = list(self.size)
        self.rack_load: Counter[str] = Counter()
        # An unbounded host counts as the largest bounded one, so that their loads can be compared.
        self.unbounded = max((host.capacity or 1 for host in hosts.values()), default=1)
        self.heaps: dict[str, list[tuple[float, int, str]]] = {rack: [] for rack in self.racks}
        for name in self.order:
            self.rack_load[hosts[name].rack] += load[name]
            self._offer(name)

    def draw(self, key: str, kept: Sequence[Member]) -> list[str]:
        """Choose the hosts that a group lacks beside those it has, and return them in the order of racks and hosts."""
        inside = Counter(member.rack for member in kept)
        own = {member.host for member in kept}
        for rack in inside:
            self.heaps[rack] = [entry for entry in self.heaps.get(rack, ()) if entry[-1] not in own]
            heapq.heapify(self.heaps[rack])
        need = self.demand.members - len(kept)
        most = self._fewest_per_rack(key, inside, own, need)
        heads = [self._rank(rack, inside) for rack, heap in self.heaps.items() if heap and inside[rack] < most]
        heapq.heapify(heads)
        chosen: list[str] = []
        while len(chosen) < need:
            rack = heapq.heappop(heads)[-1]
            chosen.append(heapq.heappop(self.heaps[rack])[-1])
            inside[rack] += 1
            if self.heaps[rack] and inside[rack] < most:
                heapq.heappush(heads, self._rank(rack, inside))
        for name in chosen:
            self.load[name] += self.demand.weight
            self.rack_load[self.hosts[name].rack] += self.demand.weight
        for name in (*chosen, *(name for name in own if name in self.order)):
            self._offer(name)
        return sorted(chosen, key=self.order.__getitem__)

    def _offer(self, name: str) -> None:
        host, load, weight = self.hosts[name], self.load[name], self.demand.weight
        if host.capacity is None or load + weight <= host.capacity:
            cost = self.cost(load, weight, self.unbounded if host.capacity is None else host.capacity)
            heapq.heappush(self.heaps[host.rack], (cost, self.order[name], name))

    def _rank(self, rack: str, inside: Counter[str]) -> tuple[int, float, float, int, str]:
        """Where a rack stands in the queue for the next member: few of the group, a cheap host, little load a host."""
        cost, order, _name = self.heaps[rack][0]
        return inside[rack], cost, self.rack_load[rack] / self.size[rack], order, rack

    def _fewest_per_rack(self, key: str, inside: Counter[str], own: set[str], need: int) -> int:
        """The least t for which t a rack are enough, or the refusal that says what is missing and where."""
        limit = self.demand.rack_limit
        room = {rack: len(heap) for rack, heap in self.heaps.items() if heap}
        most = max([1, *inside.values()])
        while most <= limit:
            if _supply(room, inside, most) >= need:
                return most
            most += 1
        raise self._shortage(key, inside, own, need, room)

    def _shortage(self, key: str, inside: Counter[str], own: set[str], need: int, room: dict[str, int]) -> Refusal:
        demand = self.demand
        limit = demand.rack_limit
        there = Counter(self.hosts[name].rack for name in self.order if name not in own)
        asks = f"{key} needs {demand.members} hosts, at most {limit} in one rack so that it outlives the loss of a rack"
        if _supply(there, inside, limit) >= need:
            full = [rack for rack in self.racks if room.get(rack, 0) < there[rack]]
            told = []
            for rack in full:
                host = min((h for h in map(self.hosts.get, self.order) if h and h.rack == rack), key=self._lacks)
                told.append(f"{rack} lacks {self._lacks(host)} MiB even on {host.name}")
            return Refusal("RS-013", f"{asks}, and {demand.weight} MiB on each: {', '.join(told)}.")
        short = need - _supply(there, inside, limit)
        racks = ", ".join(f"{rack} has {there[rack] + inside[rack]}" for rack in self.racks) or "no rack has any"
        said = f"{asks}: {racks}, which is {short} short."
        if sum(there.values()) < need:
            return Refusal("RS-011", said, short=_hosts(short))
        small = [rack for rack in self.racks if there[rack] + inside[rack] < limit]
        where = f"in {' or '.join(small)}, or in another rack" if small else "in another rack"
        return Refusal("RS-012", said, smallest=f"Add {_hosts(short)} {where}; a small machine is enough for a voter.")

    def _lacks(self, host: Host) -> int:
        """The memory that one more member lacks on a host, MiB."""
        return 0 if host.capacity is None else max(0, self.load[host.name] + self.demand.weight - host.capacity)


def _supply(room: Mapping[str, int], inside: Counter[str], most: int) -> int:
    """How many more members fit when no rack has more than `most`."""
    return sum(max(0, min(free, most - inside[rack])) for rack, free in room.items())


def _hosts(count: int) -> str:
    return "1 host" if count == 1 else f"{count} hosts"


class _Leaders:
    """Preferred leaders: the rack with the fewest, then the host, then in rotation, group 1 in rack 1."""

    def __init__(self, demand: Demand, racks: Sequence[str], kept: Iterable[Group]) -> None:
        self.demand = demand
        self.place = {rack: place for place, rack in enumerate(racks)}
        leading = [member for group in kept for member in group.members if member.leader]
        self.by_rack = Counter(member.rack for member in leading)
        self.by_host = Counter(member.host for member in leading)

    def lead(self, index: int, members: tuple[Member, ...]) -> tuple[Member, ...]:
        """The members of a group with a leader among them, where the component has leaders; the present one stays."""
        if not self.demand.leads or any(member.leader for member in members):
            return members

        def rank(member: Member) -> tuple[int, int, int, int]:
            turns = (self.place.get(member.rack, 0) - (index - 1)) % (len(self.place) or 1)
            return self.by_rack[member.rack], self.by_host[member.host], turns, member.id

        leader = min(members, key=rank)
        self.by_rack[leader.rack] += 1
        self.by_host[leader.host] += 1
        return tuple(replace(member, leader=member is leader) for member in members)

    def check(self) -> None:
        """Refuse (RS-017) where the leaders elect, and without those of one rack the rest are no majority."""
        masters = self.demand.groups
        if not self.demand.leaders_vote or not self.by_rack:
            return
        rack, most = max(self.by_rack.items(), key=lambda item: (item[1], -self.place.get(item[0], 0)))
        if most > (masters - 1) // 2:
            racks = len(self.place)
            near = sorted({max(3, masters - 1), max(3, masters + 1)})
            fitting = [n for n in near if -(-n // racks) <= (n - 1) // 2]
            way = "Add a rack: on so few no number of masters bears the loss of one."
            if fitting:
                way = f"Ask for {' or '.join(map(str, fitting))} masters, or add a rack."
            raise Refusal(
                "RS-017",
                f"{masters} masters of {self.demand.component} on {racks} racks put {most} into {rack},"
                f" and its loss would leave {masters - most} of {masters}, which is no majority.",
                way=way,
            )
