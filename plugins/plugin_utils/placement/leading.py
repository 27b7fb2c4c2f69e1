# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who leads groups whose members are given: as even over racks, then over hosts, as these members allow.

Each group sends one unit to one of its members; racks and hosts pay the squares of what they get. That is a flow of
convex cost (Harvey et al. 2006 call it an optimal semi-matching where only hosts pay), so it is least where its
residual graph has no negative cycle. Time: a few looks at n · k arcs for each leader that the first guess has wrong.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from .cycles import Arc, negative_cycles
from .quotas import Ground, leader_weights, spread

Change = tuple[int, int]
"""A member that leads in the place of another, as leaves."""


def assign(
    ground: Ground, groups: Sequence[Collection[int]], leading: Sequence[int | None], enough: list[int] | None = None
) -> list[int]:
    """A leader for each group.

    Args:
        ground: with the leaders of other groups.
        groups: the leaves of each group's members.
        leading: who leads now, which is kept where that is as good.
        enough: what `quotas.spread` can't be below, if that is known.

    Returns a leaf for each group.
    """
    flow = _Flow(ground, groups, leading)
    flow.sweep()
    while spread(ground, flow.own) != enough and (changes := negative_cycles(ground.tree.size, flow.arcs)):
        for new, old in changes:
            flow.change(new, old)
    return flow.leading


class _Flow:
    """Vertices are the nodes of the tree; an arc from one host to another stands for groups that the one could lead and
    the other does.
    """

    def __init__(self, ground: Ground, groups: Sequence[Collection[int]], leading: Sequence[int | None]) -> None:
        tree = ground.tree
        self.tree, self.groups = tree, groups
        self.weight = leader_weights(tree, sum(ground.leaders) + len(groups))
        self.all = tree.totals(ground.leaders)
        self.own = [0] * tree.size
        self.leading: list[int] = []
        self.could: dict[int, Counter[int]] = defaultdict(Counter)  # host -> who leads groups that it could lead
        self.led: dict[int, set[int]] = defaultdict(set)  # host -> the groups that it leads
        for number, (hosts, present) in enumerate(zip(groups, leading, strict=True)):
            leader = min(hosts, key=self._rank) if present is None else present
            self.leading.append(leader)
            self._lead(number, leader, 1)

    def _rank(self, host: int) -> tuple[int, int, int]:
        return self.all[self.tree.parent[host]], self.all[host], host

    def _lead(self, number: int, leader: int, by: int) -> None:
        for node in self.tree.path(leader):
            self.all[node] += by
            self.own[node] += by
        (self.led[leader].add if by > 0 else self.led[leader].discard)(number)
        for host in self.groups[number]:
            if host != leader:
                self.could[host][leader] += by

    def sweep(self) -> None:
        """Let single members lead in the place of others as long as that is better: most of the way, and cheap."""
        weight, level, better = self.weight, self.tree.level, True
        while better:
            better = False
            for number, hosts in enumerate(self.groups):
                leader = self.leading[number]
                away = self.tree.path(leader)
                for host in hosts:
                    to = self.tree.path(host)
                    gain = sum(weight[level[node]] * (2 * self.all[node] - 1) for node in away if node not in to)
                    loss = sum(weight[level[node]] * (2 * self.all[node] + 1) for node in to if node not in away)
                    if loss < gain:
                        self._lead(number, leader, -1)
                        self._lead(number, host, 1)
                        self.leading[number] = host
                        better = True
                        break

    def arcs(self, vertex: int) -> Iterator[Arc[Change]]:
        """The arcs with residual capacity that leave a node."""
        tree = self.tree
        for child in tree.children[vertex]:
            yield child, (2 * self.all[child] + 1) * self.weight[tree.level[child]], None
        if vertex < tree.leaves:
            for leader, groups in self.could[vertex].items():
                if groups:
                    yield leader, 0, (vertex, leader)
        if vertex != tree.root and self.own[vertex]:
            yield tree.parent[vertex], (1 - 2 * self.all[vertex]) * self.weight[tree.level[vertex]], None

    def change(self, new: int, old: int) -> None:
        """Let `new` lead one of the groups that `old` leads and both are in."""
        number = min(group for group in self.led[old] if new in self.groups[group])
        self._lead(number, old, -1)
        self._lead(number, new, 1)
        self.leading[number] = new
