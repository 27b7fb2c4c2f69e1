# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: `place` says where every member goes. Its callers know that and nothing behind it.

Components are taken heaviest first, each given the earlier ones. Of one component

- the numbers of members and leaders a host are found by `quotas`, with `greedy` and `ties`, and dealt into new groups
  by `deal`;
- groups that the lock has and that lack members are completed beside them by `fill`, and led by `leading`;
- where moves are asked for, `rebalance` brings what is there to the numbers of `quotas`.

What is best, by which argument and in what time, stands at the head of each of these files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ..lock import Lock
from ..refusals import Refusal
from .deal import Deal
from .fill import Batch, complete
from .greedy import hand_out
from .kept import kept_groups
from .leading import assign
from .model import Demand, Group, Host, Member, Placement
from .quotas import Ground, in_turn, leader_cost, least_crowded, members
from .rebalance import rebalance
from .shortage import check_leaders, shortage
from .ties import lead
from .tree import Tree


def place(
    demands: Sequence[Demand], hosts: Iterable[Host], lock: Lock, *, lost: Collection[str] = (), moves: int | None = 0
) -> Placement:
    """Place every group that is demanded.

    Members of a group are on distinct hosts, the most of them in one rack is the least possible, capacities are kept,
    and loads and leaders are as even as that allows. What the lock names stays where it is, unless moves are asked for.
    The answer does not depend on the order of the input.

    Args:
        demands: a component each.
        hosts: all hosts that stand in racks.
        lock: what is there.
        lost: hosts that are given up; their members are placed anew, under new ids.
        moves: how many members may move to other hosts so that load and leaders get better; None for all that it takes.

    Raises Refusal: RS-011 too few hosts, RS-012 a rack's loss would stop a group, RS-013 too little memory, RS-016 no
    port left, RS-017 the leaders' majority in one rack, RS-018 fewer than the lock has, RS-019 and RS-020 a host of the
    lock that left or changed.
    """
    tree, gone = Tree(hosts), set(lost)
    demands = sorted(demands, key=lambda demand: (-demand.weight, demand.component))
    if gone:
        demands = [replace(of, hosts=tuple(name for name in of.hosts if name not in gone)) for of in demands]
    kept = kept_groups(demands, {host.name: host for host in tree.hosts}, lock, gone)
    next_index = dict(lock.components)
    if moves is None:
        return _move(tree, demands, kept, next_index, None)
    placement = _place(tree, demands, kept, next_index)
    if not moves:
        return placement
    present: dict[str, list[Group]] = defaultdict(list)
    for group in placement.groups.values():
        present[group.component].append(group)
    return _move(tree, demands, present, dict(placement.next_index), moves)


def _place(
    tree: Tree, demands: Sequence[Demand], kept: Mapping[str, Sequence[Group]], next_index: dict[str, int]
) -> Placement:
    """Place what is not there beside what is."""
    load = [0] * tree.leaves
    for demand in demands:
        add_load(load, tree, demand, kept.get(demand.component, ()))
    for host, used in zip(tree.hosts, load, strict=True):
        if host.capacity is not None and used > host.capacity:
            raise Refusal("RS-013", f"The members on {host.name} need {used} MiB, and it has {host.capacity}.")
    groups: dict[str, Group] = {}
    for demand in demands:
        there = kept.get(demand.component, ())
        first = next_index.get(demand.component, 1)
        placed = _Component(demand, tree, ground_of(demand, tree, load, there), there, first).groups()
        add_load(load, tree, demand, placed)
        add_load(load, tree, demand, there, -1)
        groups.update((group.key, group) for group in placed)
        next_index[demand.component] = max([first, *(group.index + 1 for group in placed)])
    return Placement(groups, next_index)


def _move(
    tree: Tree,
    demands: Sequence[Demand],
    present: Mapping[str, Sequence[Group]],
    next_index: dict[str, int],
    limit: int | None,
) -> Placement:
    """Move what is there until it is as if all were placed anew, or as near to that as a limit on moves allows.

    With a limit, a component's room on a host is what the present members of later ones leave, since those might stay.
    """
    load, later = [0] * tree.leaves, [0] * tree.leaves
    for demand in demands if limit is not None else ():
        add_load(later, tree, demand, present.get(demand.component, ()))
    groups: dict[str, Group] = {}
    told: dict[str, tuple[int, int]] = {}
    for demand in demands:
        there = present.get(demand.component, ())
        if limit is not None:
            add_load(later, tree, demand, there, -1)
        first = next_index.get(demand.component, 1)
        component = _Component(demand, tree, ground_of(demand, tree, load, (), later), there, first)
        moved, moves, bound = component.moved(limit)
        if limit is not None:
            limit -= moves
        if moves or bound:
            told[demand.component] = moves, bound
        add_load(load, tree, demand, moved)
        groups.update((group.key, group) for group in moved)
        next_index[demand.component] = max([first, *(group.index + 1 for group in moved)])
    return Placement(groups, next_index, told)


def add_load(load: list[int], tree: Tree, demand: Demand, groups: Iterable[Group], times: int = 1) -> None:
    """Add to the load of hosts what the members of groups cost, so many times."""
    for group in groups:
        for member in group.members:
            load[tree.index[member.host]] += times * demand.weight


class _Component:
    """One component on the hosts as it finds them; `first` is the index of its first new group."""

    def __init__(self, demand: Demand, tree: Tree, ground: Ground, kept: Sequence[Group], first: int) -> None:
        self.demand, self.tree, self.ground, self.kept = demand, tree, ground, kept
        self.new = range(first, first + demand.groups - len(kept))
        self.racks = [rack for rack in tree.racks if self.ground.usable[rack]]

    def groups(self) -> list[Group]:
        """All groups of the component, those of the lock first."""
        lacking = [group for group in self.kept if len(group.members) < self.demand.members]
        batches = [Batch(1, self.demand.members - len(group.members), self._leaves(group)) for group in lacking]
        if self.new:
            batches.append(Batch(len(self.new), self.demand.members))
        members, leaders = self._numbers(batches, [*(group.key for group in lacking), *map(self._key, self.new)])
        joined = {
            group.key: self._joined(group, sorted(+batch.given)) for group, batch in zip(lacking, batches, strict=False)
        }
        found = [joined.get(group.key, group) for group in self.kept]
        if self.new:
            deal = Deal(self.tree, members, leaders, len(self.new), self.racks)
            for index in self.new:
                empty = Group(self._key(index), self.demand.component, index, (), 1)
                found.append(self._joined(empty, *deal.group(index - 1)))
        if self.demand.leads and any(not _leader(group) for group in found):
            found = self._led(found)
        self._check(found)
        return found

    def moved(self, limit: int | None) -> tuple[list[Group], int, int]:
        """All groups after moves, with how many members moved and the fewest that could do."""
        groups = [*self.kept, *(Group(self._key(index), self.demand.component, index, (), 1) for index in self.new)]
        before = [self._leaves(group) for group in groups]
        leading = [self._head(group) for group in groups]
        after = rebalance(self.ground, before, leading, self.demand.members, self.demand.leads, limit)
        if after is None:
            batch = Batch(len(groups), self.demand.members)
            raise shortage(self.ground, self.demand, [group.key for group in groups], [batch])
        found = []
        for group, old, new, leader in zip(groups, before, after.groups, after.leaders, strict=True):
            staying = tuple(member for member in group.members if self.tree.index[member.host] in new)
            whole = self._joined(replace(group, members=staying), sorted(new - old))
            found.append(self._led_by(whole, leader))
        self._check(found)
        return found, after.moves, after.bound

    def _check(self, groups: Iterable[Group]) -> None:
        leading = Counter(member.rack for group in groups for member in group.members if member.leader)
        check_leaders(self.demand, [self.tree.name[rack] for rack in self.racks], leading)

    def _numbers(self, batches: Sequence[Batch], keys: Sequence[str]) -> tuple[list[int], list[int]]:
        """Give the groups of the lock what they lack; how many members and leaders of new groups each node gets."""
        ground, tree, new = self.ground, self.tree, len(self.new)
        none = [0] * tree.size
        for key, batch in zip(keys, batches, strict=False):
            if least_crowded(ground, batch.lacking, batch.kept) is None:
                raise shortage(ground, self.demand, [key], [batch])
        only_new = bool(new) and len(batches) == 1
        if only_new:
            placed, cost = members(ground, new, self.demand.members)
        else:
            placed = complete(ground, batches) if batches else none
        if placed[tree.root] < sum(batch.groups * batch.lacking for batch in batches):
            raise shortage(ground, self.demand, keys, batches)
        if not new:
            return none, none
        prefer = in_turn(tree, self.racks)
        if only_new and self.demand.leads:
            return lead(ground, cost, placed, new, prefer)
        if not only_new:
            placed = tree.totals([batches[-1].given[leaf] for leaf in range(tree.leaves)])
        return placed, hand_out(tree, new, leader_cost(ground, placed), prefer) if self.demand.leads else none

    def _led(self, groups: Sequence[Group]) -> list[Group]:
        """Groups of the lock that have no leader get one, together with the new ones."""
        first = self.new.start
        free = [group for group in groups if group.index >= first or not _leader(group)]
        hosts = [[self.tree.index[member.host] for member in group.members] for group in free]
        leaders = assign(self.ground, hosts, [self._head(group) for group in free])
        led = {group.key: self._led_by(group, leader) for group, leader in zip(free, leaders, strict=True)}
        return [led.get(group.key, group) for group in groups]

    def _led_by(self, group: Group, leader: int | None) -> Group:
        if leader is None or leader == self._head(group):
            return group
        name = self.tree.name[leader]
        return replace(group, members=tuple(replace(m, leader=m.host == name) for m in group.members))

    def _joined(self, group: Group, leaves: Sequence[int], leader: int | None = None) -> Group:
        """A group with more members."""
        ports = self.demand.ports_of(group.index)
        members = list(group.members)
        for id, leaf in enumerate(leaves, group.next_id):
            host = self.tree.hosts[leaf]
            members.append(Member(id, host.name, host.rack, leaf == leader, host.address, ports))
        return replace(group, members=tuple(members), next_id=group.next_id + len(leaves))

    def _head(self, group: Group) -> int | None:
        leader = _leader(group)
        return None if leader is None else self.tree.index[leader.host]

    def _leaves(self, group: Group) -> frozenset[int]:
        return frozenset(self.tree.index[member.host] for member in group.members)

    def _key(self, index: int) -> str:
        return f"{self.demand.component}{index}"


def _leader(group: Group) -> Member | None:
    return next((member for member in group.members if member.leader), None)


def ground_of(
    demand: Demand, tree: Tree, load: Sequence[int], kept: Iterable[Group], later: Sequence[int] | None = None
) -> Ground:
    """The hosts as a component finds them.

    Args:
        demand: what is asked of it.
        tree: the hosts.
        load: what they carry.
        kept: groups of the component that are there.
        later: what they carry of components that come later, and only takes room.
    """
    # An unbounded host counts as the largest bounded one, so that their loads can be compared.
    unbounded = max((host.capacity or 1 for host in tree.hosts), default=1)
    usable = set(demand.hosts)
    room, leaders = [0] * tree.leaves, [0] * tree.leaves
    for leaf, host in enumerate(tree.hosts):
        if host.name in usable:
            room[leaf] = demand.groups
            if host.capacity is not None:
                free = host.capacity - load[leaf] - (later[leaf] if later else 0)
                room[leaf] = max(0, min(demand.groups, free // demand.weight))
    for group in kept:
        if leader := _leader(group):
            leaders[tree.index[leader.host]] += 1
    capacity = [unbounded if host.capacity is None else host.capacity for host in tree.hosts]
    return Ground(tree, demand.weight, tuple(load), capacity, room, leaders, demand.rack_limit, demand.rack_first)
