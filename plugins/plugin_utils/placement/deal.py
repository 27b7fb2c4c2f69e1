# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is with whom: members and leaders of hosts, given as numbers, are dealt into groups.

Theorem. Let x members and l ≤ x leaders of hosts be given, Σ x = n·k, Σ l = n, x ≤ n. Then there are n groups of k
distinct hosts with these numbers, one leader in each, such that each domain (rack, row, room) with y members has ⌊y/n⌋
or ⌈y/n⌉ in every group. Proof: 1/n of everything is a fractional group. The sets whose sums are to be whole are those
of two trees, {the leaders, the others} and {host ⊂ rack ⊂ …}; the incidence matrix of two laminar families is totally
unimodular, so between floors and ceilings there is a whole group too. Take it away, and the rest is the same with n-1.

Construction, one group after another, with m groups still to be made. Each node keeps ρ of its members beyond those
that it has in every group, ρ ≤ m. Take any leader that is left. From the root down, each node that has s members of the
group gives each child what it has in every group, and one more to some of them: to the leader's way where it needs it,
and then to the children with the largest ρ of those that can bear it, which are those with more than l leaders: l < ρ
(l ≤ ρ where the leader is within). So a child with ρ = m, which must have one more, always gets it.

There are always enough children that can: the others have ρ ≤ l in sum at most the leaders that are left, m less those
on the leader's way, and ρ sums to a multiple of m that leaves room for all but one, who is the leader's own. (The cases
are spelled out in docs/placement.md.) Which of the able children is taken is free beyond that, so among the first few
with equal ρ goes the one that shared the fewest groups with those who are in this one: a heuristic by which the loss of
a host or a rack loads many others a little. `bounds.most_shared` says how far it is from a bound.

Time O(k² · d · log h) a group.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Sequence

from .tree import Tree

LOOKED_AT = 8
"""How many children with equal ρ are compared."""


class Deal:
    """Groups of hosts, dealt one by one.

    Args:
        tree: the hosts in their domains.
        members, leaders: of every node, as `greedy.hand_out` returns them; no leaders where groups have none.
        groups: n. The members of the root are n · k.
        racks: those that take turns to lead.
    """

    def __init__(
        self, tree: Tree, members: Sequence[int], leaders: Sequence[int], groups: int, racks: Sequence[int]
    ) -> None:
        self.tree, self.left = tree, groups
        self.leaders = list(leaders)
        self.always, self.rest = [], []
        for count in members:
            self.always.append(count // groups)
            self.rest.append(count % groups)
        self.steady = [[child for child in of if self.always[child]] for of in tree.children]
        self.floor = [sum(self.always[child] for child in of) for of in self.steady]
        self.heaps = [[(-self.rest[child], child) for child in of if self.rest[child]] for of in tree.children]
        for heap in self.heaps:
            heapq.heapify(heap)
        self.shared: list[Counter[int]] = [Counter() for _node in range(tree.size)]
        self.turns = _Turns(tree, self.leaders, racks) if leaders[tree.root] else None

    def group(self, turn: int) -> tuple[list[int], int | None]:
        """The hosts of one more group, in the order of the tree, and its leader.

        Args:
            turn: the place among the racks, counted round, of the one that shall lead; if it has no leader left, the
                next one that has.
        """
        leader = self.turns.next(turn) if self.turns else None
        way = [] if leader is None else [*self.tree.path(leader), self.tree.root]
        must, forced = self._way(way)
        hosts: list[int] = []
        self.within: list[set[int]] = [set() for _level in range(self.tree.depth + 2)]
        for node in way[:-1]:
            self.within[self.tree.level[node]].add(node)
        within = dict(zip(way[1:], way, strict=False))
        nodes = [(self.tree.root, self.always[self.tree.root])]
        while nodes:
            node, seats = nodes.pop()
            if node < self.tree.leaves:
                hosts.append(node)
                continue
            more = self._more(node, seats - self.floor[node], within.get(node), must.get(node, []), forced)
            self.within[self.tree.level[node] - 1].update(self.steady[node], more)
            nodes += [(child, self.always[child]) for child in self.steady[node] if child not in more]
            nodes += [(child, self.always[child] + 1) for child in more]
        for node in way:
            self.leaders[node] -= 1
        self.left -= 1
        for level in self.within:
            for node in level:
                self.shared[node].update(level)
        return sorted(hosts), leader

    def _way(self, way: Sequence[int]) -> tuple[dict[int, list[int]], set[int]]:
        """For the nodes from the leader up: their children that must have one more, and which of them must so too."""
        must: dict[int, list[int]] = {}
        forced: set[int] = set()
        below = None
        for node in way:
            needed = 1  # the leader itself
            if below is not None:
                must[node] = self._full(node)
                needed = self.floor[node] + len(must[node]) + (below in forced and below not in must[node])
            if needed > self.always[node]:
                forced.add(node)
            below = node
        return must, forced

    def _full(self, node: int) -> list[int]:
        """The children of a node that must have one more in every group to come; taken from its heap."""
        heap, full = self.heaps[node], []
        while heap and -heap[0][0] >= self.left:
            rest, child = heapq.heappop(heap)
            if -rest == self.rest[child]:
                full.append(child)
        return full

    def _more(self, node: int, count: int, within: int | None, must: list[int], forced: set[int]) -> list[int]:
        """Which children of a node have one more than in every group: `count` of them."""
        heap, rest, chosen = self.heaps[node], self.rest, list(must)
        aside: list[int] = []
        level = frozenset(self.within[self.tree.level[node] - 1])
        if within in forced and within not in must:
            chosen.append(within)
        while len(chosen) < count:
            entry = heapq.heappop(heap)
            child = entry[1]
            if -entry[0] != rest[child] or child in chosen:
                continue  # an entry from before the child was taken without one
            if self.leaders[child] >= rest[child] + (child == within):
                aside.append(child)
                continue
            alike = self._alike(heap, -entry[0], within, chosen)
            best = min((child, *alike), key=lambda other: self._met(other, level)) if alike else child
            chosen.append(best)
            for other in (child, *alike):
                if other != best:
                    heapq.heappush(heap, (-rest[other], other))
        for child in chosen:
            rest[child] -= 1
        for child in (*chosen, *aside):
            if rest[child]:
                heapq.heappush(heap, (-rest[child], child))
        return chosen

    def _met(self, node: int, others: Collection[int]) -> int:
        """How many groups a node has shared with others, in sum."""
        shared = self.shared[node]
        return sum(map(shared.__getitem__, shared.keys() & others))

    def _alike(self, heap: list[tuple[int, int]], rest: int, within: int | None, chosen: Collection[int]) -> list[int]:
        """Take more children with the same rest from a heap, a few; not where all of them must have one more."""
        found: list[int] = []
        while rest < self.left and len(found) < LOOKED_AT - 1 and heap and -heap[0][0] == rest:
            child = heapq.heappop(heap)[1]
            if self.rest[child] == rest and child not in chosen and child != within and self.leaders[child] < rest:
                found.append(child)
            elif self.rest[child] == rest and child not in chosen:
                heapq.heappush(heap, (-rest, child))
                break
        return found


class _Turns:
    """Whose turn it is to lead: racks in rotation, in each the host that has the most leaders left."""

    def __init__(self, tree: Tree, leaders: Sequence[int], racks: Sequence[int]) -> None:
        self.racks, self.leaders = racks, leaders
        self.following = [(at + 1) % len(racks) for at in range(len(racks))]
        self.heaps = {rack: [(-leaders[host], host) for host in tree.children[rack] if leaders[host]] for rack in racks}
        for heap in self.heaps.values():
            heapq.heapify(heap)

    def next(self, turn: int) -> int:
        """The host that leads next."""
        at, passed = turn % len(self.racks), []
        while not self.leaders[self.racks[at]]:
            passed.append(at)
            at = self.following[at]
        for earlier in passed:
            self.following[earlier] = at
        heap = self.heaps[self.racks[at]]
        left, host = heap[0]
        if left < -1:
            heapq.heapreplace(heap, (left + 1, host))
        else:
            heapq.heappop(heap)
        return host
