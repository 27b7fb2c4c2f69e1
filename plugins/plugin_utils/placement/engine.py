# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: `place` says where every member goes. Its callers know that and nothing behind it.

Components are taken heaviest first, each given the earlier ones. Of one component

- the numbers of members and leaders a host are found by `quotas`, with `greedy` and `ties`, and dealt into new groups
  by `deal`;
- groups that the lock has and that lack members are completed beside them by `fill`, and led by `leading`.

What is best, by which argument and in what time, stands at the head of each of these files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
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
from .shortage import check_leaders, shortage
from .ties import lead
from .tree import Tree


def place(demands: Sequence[Demand], hosts: Iterable[Host], lock: Lock) -> Placement:
    """Place every group that is demanded.

    Members of a group are on distinct hosts, the most of them in one rack is the least possible, capacities are kept,
    loads and leaders are as even as that allows, and what the lock names stays where it is. The answer does not depend
    on the order of the input.

    Raises Refusal: RS-011 too few hosts, RS-012 a rack's loss would stop a group, RS-013 too little memory, RS-016 no
    port left, RS-017 the leaders' majority in one rack, RS-018 fewer than the lock has, RS-019 and RS-020 a host of the
    lock that left or changed.
    """
    tree = Tree(hosts)
    demands = sorted(demands, key=lambda demand: (-demand.weight, demand.component))
    kept = kept_groups(demands, {host.name: host for host in tree.hosts}, lock)
    load = [0] * tree.leaves
    for demand in demands:
        for group in kept[demand.component]:
            for member in group.members:
                load[tree.index[member.host]] += demand.weight
    for host, used in zip(tree.hosts, load, strict=True):
        if host.capacity is not None and used > host.capacity:
            raise Refusal("RS-013", f"The members on {host.name} need {used} MiB, and it has {host.capacity}.")
    groups: dict[str, Group] = {}
    next_index = dict(lock.components)
    for demand in demands:
        first = next_index.get(demand.component, 1)
        for group in _Component(demand, tree, load, kept[demand.component], first).groups():
            groups[group.key] = group
            first = max(first, group.index + 1)
        next_index[demand.component] = first
    return Placement(groups, next_index)


class _Component:
    """One component on the hosts as the earlier ones left them; its members are added to `load`, a number a leaf."""

    def __init__(self, demand: Demand, tree: Tree, load: list[int], kept: Sequence[Group], first: int) -> None:
        self.demand, self.tree, self.load, self.kept = demand, tree, load, kept
        self.new = range(first, first + demand.groups - len(kept))
        self.ground = _ground(demand, tree, load, kept)
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
        leading = Counter(member.rack for group in found for member in group.members if member.leader)
        check_leaders(self.demand, [self.tree.name[rack] for rack in self.racks], leading)
        return found

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
        present = [self.tree.index[leader.host] if (leader := _leader(group)) else None for group in free]
        leaders = dict(zip((group.key for group in free), assign(self.ground, hosts, present), strict=True))
        return [
            replace(group, members=tuple(self._marked(group.members, leaders[group.key])))
            if group.key in leaders
            else group
            for group in groups
        ]

    def _marked(self, members: Iterable[Member], leader: int) -> Iterator[Member]:
        for member in members:
            yield replace(member, leader=member.host == self.tree.name[leader])

    def _joined(self, group: Group, leaves: Sequence[int], leader: int | None = None) -> Group:
        """A group with more members."""
        ports = self.demand.ports_of(group.index)
        members = list(group.members)
        for id, leaf in enumerate(leaves, group.next_id):
            host = self.tree.hosts[leaf]
            members.append(Member(id, host.name, host.rack, leaf == leader, host.address, ports))
            self.load[leaf] += self.demand.weight
        return replace(group, members=tuple(members), next_id=group.next_id + len(leaves))

    def _leaves(self, group: Group) -> frozenset[int]:
        return frozenset(self.tree.index[member.host] for member in group.members)

    def _key(self, index: int) -> str:
        return f"{self.demand.component}{index}"


def _leader(group: Group) -> Member | None:
    return next((member for member in group.members if member.leader), None)


def _ground(demand: Demand, tree: Tree, load: Sequence[int], kept: Iterable[Group]) -> Ground:
    """The hosts as a component finds them."""
    # An unbounded host counts as the largest bounded one, so that their loads can be compared.
    unbounded = max((host.capacity or 1 for host in tree.hosts), default=1)
    usable = set(demand.hosts)
    room, leaders = [0] * tree.leaves, [0] * tree.leaves
    for leaf, host in enumerate(tree.hosts):
        if host.name in usable:
            free = None if host.capacity is None else host.capacity - load[leaf]
            room[leaf] = demand.groups if free is None else min(demand.groups, free // demand.weight)
    for group in kept:
        if leader := _leader(group):
            leaders[tree.index[leader.host]] += 1
    capacity = [unbounded if host.capacity is None else host.capacity for host in tree.hosts]
    return Ground(tree, demand.weight, tuple(load), capacity, room, leaders, demand.rack_limit)
