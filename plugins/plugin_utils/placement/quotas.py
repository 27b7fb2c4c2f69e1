# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many members and how many leaders each host gets: the numbers first, who is with whom later (`deal`).

n new groups of k members fit exactly where Σ x = n·k over the hosts, x ≤ n on a host and y ≤ n·t in a rack that may
hold t of a group: dealt in turn to the n groups, a host's x ≤ n members fall on distinct groups, and a rack's y members
fall on each group ⌊y/n⌋ or ⌈y/n⌉ times. So hosts and racks (and what holds racks) have limits of a tree, for which
`greedy` is exact. What is least, part after part:

1. crowding: the most of a group in one domain is t* = min { t : Σ over domains of min(usable hosts, t) ≥ k },
   outermost domains first; where capacities forbid t*, as few groups as possible go beyond, as little as possible;
2. Σ load²/capacity over the hosts, then the greatest load/capacity, then the same sum over racks and what holds them;
3. leaders: Σ leaders² over racks, then over hosts: floor or ceiling of the share of each wherever members allow it.

That any leaders l ≤ x can be had with these x is the theorem of `deal`. Of several x that are equally good by 1 and 2
the one that lets leaders be best is found by `ties`, so 1 to 3 hold together and not only one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from .greedy import Cost, Key, hand_out
from .tree import Tree


@dataclass(frozen=True)
class Ground:
    """What one component finds on the hosts of a site, by leaf of the tree.

    Attributes:
        tree: all hosts.
        weight: what a member costs.
        load: what each host carries already.
        capacity: what loads are compared with; of an unbounded host that of the largest bounded one.
        room: how many members each host can take; 0 where it may take none.
        leaders: how many leaders of the component each host has already.
        rack_limit: the most of a group in one rack.
        rack_first: whether racks come before the domains that hold them in 1.
    """

    tree: Tree
    weight: int
    load: Sequence[int]
    capacity: Sequence[int]
    room: Sequence[int]
    leaders: Sequence[int]
    rack_limit: int
    rack_first: bool = False

    @cached_property
    def usable(self) -> list[int]:
        """How many hosts with room stand in each rack; 0 for every other node."""
        usable = [0] * self.tree.size
        for leaf, room in enumerate(self.room):
            usable[self.tree.parent[leaf]] += room > 0
        return usable

    @cached_property
    def loads(self) -> list[int]:
        """The load of every node, that of hosts with room alone."""
        return self.tree.totals([load if room else 0 for load, room in zip(self.load, self.room, strict=True)])

    @cached_property
    def capacities(self) -> list[int]:
        """The capacity of every node, that of hosts with room alone."""
        return self.tree.totals([size if room else 0 for size, room in zip(self.capacity, self.room, strict=True)])

    def widest(self, kept: Collection[int] = ()) -> list[int]:
        """The most of a group that each level of domains could ever be allowed, by level."""
        most = len(kept) + sum(self.usable)
        return [1, min(self.rack_limit, most), *([most] * self.tree.depth)]


def least_crowded(ground: Ground, lacking: int, kept: Collection[int] = ()) -> list[int] | None:
    """t* of each level of domains, by level (index 0, the hosts, is 1): the most of a group in one of them.

    Args:
        ground: with the hosts that have room.
        lacking: how many members the group is to get.
        kept: the leaves of those that it has.

    None where no t up to the racks' limit is enough. Time O(domains · t*).
    """
    tree = ground.tree
    free, held = list(ground.usable), [0] * tree.size
    for leaf in kept:
        free[tree.parent[leaf]] -= ground.room[leaf] > 0
        for node in tree.path(leaf):
            held[node] += 1
    most = ground.widest(kept)

    def holds() -> int:
        sums = list(free)
        for node in range(tree.leaves, tree.root):
            sums[tree.parent[node]] += max(0, min(sums[node], most[tree.level[node]] - held[node]))
        return sums[tree.root]

    if holds() < lacking:
        return None
    outward = range(1, tree.depth + 1)
    for level in outward if ground.rack_first else reversed(outward):
        wide = most[level]
        least = max([1, *(held[node] for node in tree.inner if tree.level[node] == level)]) if kept else 1
        for most[level] in range(min(least, wide), wide + 1):
            if holds() >= lacking:
                break
    return most


def load_cost(ground: Ground, groups: int, most: Sequence[int], fullest: float | None = None) -> Cost:
    """What one more member of new groups costs: (crowding of each level, of the host, evenness of each level).

    The host's parts are (2·load + weight)/capacity, the increment of Σ load²/capacity without a constant factor, and
    the load/capacity that it comes to. They are quotients of whole numbers, correctly rounded: equal ones stay equal,
    and others differ by more than rounding as long as two capacities multiply to less than 2⁵² (64 TiB in MiB each).

    Args:
        ground: the hosts.
        groups: how many groups there are.
        most: t* of each level.
        fullest: the load/capacity that no host may go beyond; where it is known, evenness comes before load/capacity.
    """
    tree, weight, load, capacity = ground.tree, ground.weight, ground.load, ground.capacity
    limit = [min(room, groups) for room in ground.room]
    level, loads, capacities = tree.level, ground.loads, ground.capacities
    rack_limit = groups * ground.rack_limit

    def leaf(host: int, count: int) -> Key | None:
        if count >= limit[host]:
            return None
        before = load[host] + weight * count
        size = capacity[host] or 1
        fullness = (before + weight) / size
        if fullest is None:
            return (), (2 * before + weight) / size, fullness, ()
        return ((), (2 * before + weight) / size, 0, ()) if fullness <= fullest else None

    def inner(node: int, count: int, below: Key) -> Key | None:
        crowded, host, fullness, even = below
        own = level[node]
        if own == 1 and count >= rack_limit:
            return None
        crowd = max(most[own], count // groups + 1)
        here = (2 * (loads[node] + weight * count) + weight) / (capacities[node] or 1)
        return (*crowded, crowd) if ground.rack_first else (crowd, *crowded), host, fullness, (here, *even)

    return Cost(leaf, inner)


def members(
    ground: Ground, groups: int, size: int, prefer: Callable[[int, int], int] | None = None
) -> tuple[list[int], Cost]:
    """How many members of new groups each node gets; fewer than groups · size at the root where there is no more room.

    Args:
        ground: the hosts, of which a group by itself finds enough.
        groups: how many groups.
        size: how many members each has.
        prefer: as in `greedy.hand_out`.

    Returns with them the cost by which they are best: crowding, Σ load²/capacity, the greatest load/capacity, evenness.
    """
    most = least_crowded(ground, size) or ground.widest()
    cost = load_cost(ground, groups, most)
    count = hand_out(ground.tree, groups * size, cost, prefer)
    able = [leaf for leaf, room in enumerate(ground.room) if room]
    if len({ground.capacity[leaf] for leaf in able}) <= 1:
        return count, cost  # of equal hosts those that tell in the sum have equal loads, too
    # The greatest load/capacity is no sum, but its minimum is that of the least of all vectors, and is then a limit.
    fullest = max((ground.load[leaf] + ground.weight * count[leaf]) / (ground.capacity[leaf] or 1) for leaf in able)
    cost = load_cost(ground, groups, most, fullest)
    return hand_out(ground.tree, groups * size, cost, prefer), cost


def leader_cost(ground: Ground, most: Sequence[int]) -> Cost:
    """What one more leader costs: (leaders of the rack, of the host, of what holds the rack from inside to outside).

    Args:
        ground: with the leaders that are there already.
        most: how many more each node can take.
    """
    leading, level = ground.tree.totals(ground.leaders), ground.tree.level

    def leaf(host: int, count: int) -> Key | None:
        return (leading[host] + count,) if count < most[host] else None

    def inner(node: int, count: int, below: Key) -> Key | None:
        if count >= most[node]:
            return None
        here = leading[node] + count
        return (here, *below) if level[node] == 1 else (*below, here)

    return Cost(leaf, inner)


def spread(ground: Ground, leaders: Sequence[int]) -> list[int]:
    """The sums of squares of leaders that are to be least: racks, hosts, then what holds racks, inmost first."""
    tree = ground.tree
    before = tree.totals(ground.leaders)
    sums = [0] * (tree.depth + 2)
    for node in range(tree.root):
        sums[tree.level[node]] += (before[node] + leaders[node]) ** 2
    return [sums[1], sums[0], *sums[2:]]


def leader_weights(tree: Tree, leaders: int) -> list[int]:
    """The parts of `leader_cost` as one number: what the sum of squares of each level is to be multiplied with.

    A level's weight is more than all steps of a path over lighter levels come to, with so many leaders.
    """
    scale = 16 * (leaders + 1) * tree.size
    order = [1, 0, *range(2, tree.depth + 2)]  # racks weigh most, then hosts, then what holds racks
    return [scale ** (tree.depth + 1 - order[level]) for level in range(tree.depth + 2)]


def in_turn(tree: Tree, racks: Sequence[int]) -> Callable[[int, int], int]:
    """Which of equal hosts leads: racks in order, and in the n-th of them its n-th host first.

    So the first leaders stand in the row in which the hosts of the racks are dealt to groups.
    """
    place = {rack: place for place, rack in enumerate(racks)}

    def prefer(host: int, _count: int) -> int:
        rack = tree.parent[host]
        return place[rack] * len(racks) + (host - tree.children[rack][0] - place[rack]) % len(racks)

    return prefer
