# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leaders that are best over all placements whose load is best.

The load leaves ties: which of two equal hosts gets the odd member is no matter to it, but only a host with a member can
lead. Members and leaders together are a flow: n leaders go from a source over the racks to hosts, n·(k-1) other members
straight to hosts, and from there all go over racks to a sink. Leaders cost on the first way, load on the last. The load
is least already, so of the last way only arcs with no reduced cost are open: a member may go from one host to another
where the key of the last one that it held equals the key of the next one there. Such a flow is of least cost exactly
where its residual graph has no negative cycle (Klein 1967), so cycles are cancelled until there is none.

One look is O(nodes · arcs), in practice a few passes over arcs, of which there are some ten a host. It is seldom had:
where the leaders are as good as if every open arc were taken already, they are best, and that is seen in O(n log h).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .cycles import Arc, negative_cycles
from .greedy import Cost, Key, hand_out
from .quotas import Ground, leader_cost, leader_weights, spread
from .tree import Tree


class Open(NamedTuple):
    """The ways by which a member can go from host to host at no cost, by node of the tree.

    `inward` and `outward`: the nodes that one more member may come from above into, or leave towards above, as the best
    of their domain; `turns` the domains in which one that leaves a child may go into another.
    """

    inward: list[bool]
    outward: list[bool]
    turns: list[bool]


def open_ways(tree: Tree, cost: Cost, count: Sequence[int]) -> Open:
    """What is open when `count` (members of every node) is of least cost."""
    gain: list[Key | None] = [None] * tree.size
    loss: list[Key | None] = [None] * tree.size
    found = Open([False] * tree.size, [False] * tree.size, [False] * tree.size)
    for host in range(tree.leaves):
        gain[host] = cost.leaf(host, count[host])
        loss[host] = cost.leaf(host, count[host] - 1) if count[host] else None
    for node in tree.inner:
        gains = [key for child in tree.children[node] if (key := gain[child]) is not None]
        losses = [key for child in tree.children[node] if (key := loss[child]) is not None]
        least, most = min(gains, default=None), max(losses, default=None)
        found.turns[node] = least is not None and least == most
        for child in tree.children[node]:
            found.inward[child] = gain[child] is not None and gain[child] == least
            found.outward[child] = loss[child] is not None and loss[child] == most
        if node != tree.root:
            gain[node] = least and cost.inner(node, count[node], least)
            loss[node] = most and cost.inner(node, count[node] - 1, most)
    return found


def lead(
    ground: Ground,
    cost: Cost,
    count: list[int],
    groups: int,
    prefer: Callable[[int, int], int] | None = None,
    keep: Callable[[int, int], int] | None = None,
) -> tuple[list[int], list[int]]:
    """The best leaders of new groups over all members of least cost.

    Args:
        ground: with the leaders that are there already.
        cost: of members.
        count: members of every node, of least cost.
        groups: how many leaders there are to be.
        prefer: of leaders, as in `greedy.hand_out`.
        keep: of members.

    Returns members and leaders of every node.
    """
    tree = ground.tree
    leaders = hand_out(tree, groups, leader_cost(ground, count), prefer)
    wider = _wider(tree, count, open_ways(tree, cost, count))
    relaxed = hand_out(tree, groups, leader_cost(ground, wider), keep)
    best = spread(ground, relaxed)
    if spread(ground, leaders) == best:
        return count, leaders

    # Ties go to hosts that should lead: nearly all that there is to be gained, and cheap.
    def tied(host: int, held: int) -> int:
        return 2 * (held >= relaxed[host]) + (keep(host, held) if keep else 0)

    count = hand_out(tree, count[tree.root], cost, tied)
    leaders = hand_out(tree, groups, leader_cost(ground, count), prefer)
    while spread(ground, leaders) != best:
        residual = _Residual(ground, count, leaders, open_ways(tree, cost, count))
        changes = negative_cycles(residual.size, residual.arcs)
        if not changes:
            break
        for node, members, led in changes:
            count[node] += members
            leaders[node] += led
    return count, leaders


def _wider(tree: Tree, count: Sequence[int], ways: Open) -> list[int]:
    """The members of every node with one more where that is open, as if all such could be had at once."""
    wider, free = list(count), [False] * tree.size
    for node in reversed(range(tree.root)):
        above = tree.parent[node]
        free[node] = ways.inward[node] and (ways.turns[above] or free[above])
        wider[node] += free[node]
    return wider


Change = tuple[int, int, int]
"""At a node of the tree, by so many members, by so many leaders."""


class _Residual:
    """The residual graph of members and leaders. Vertices by node v of the tree: `lead` v for leaders on their way to
    it, `v` for a host itself, `into` v and `out of` v for members on their way over it; and one for the other members.
    """

    def __init__(self, ground: Ground, count: Sequence[int], leaders: Sequence[int], ways: Open) -> None:
        self.tree, self.count, self.leaders, self.ways = ground.tree, count, leaders, ways
        self.before = ground.tree.totals(ground.leaders)
        self.weight = leader_weights(ground.tree, sum(ground.leaders) + leaders[ground.tree.root])
        self.size = 3 * self.tree.size + 1

    def arcs(self, vertex: int) -> Iterator[Arc[Change]]:
        """The arcs with residual capacity that leave a vertex."""
        tree, size = self.tree, self.tree.size
        kind, node = divmod(vertex, size)
        lead, into, out, others = 0, size, 2 * size, 3 * size
        if kind == 3:
            yield from ((into + host, 0, None) for host in range(tree.leaves))
            return
        if kind == 0:
            for child in tree.children[node]:
                step = (2 * (self.before[child] + self.leaders[child]) + 1) * self.weight[tree.level[child]]
                yield (into if child < tree.leaves else lead) + child, step, (child, 0, 1)
            if node != tree.root:
                yield from self._unlead(node)
        elif kind == 1:
            yield from self._into(node)
        else:
            for child in tree.children[node]:
                if self.ways.outward[child]:
                    yield (into if child < tree.leaves else out) + child, 0, (child, -1, 0)
        if kind == 1 and node < tree.leaves and self.count[node] > self.leaders[node]:
            yield others, 0, None

    def _unlead(self, node: int) -> Iterator[Arc[Change]]:
        """A leader goes back from a node to what holds it."""
        if self.leaders[node]:
            step = (1 - 2 * (self.before[node] + self.leaders[node])) * self.weight[self.tree.level[node]]
            yield self.tree.parent[node], step, (node, 0, -1)

    def _into(self, node: int) -> Iterator[Arc[Change]]:
        """A member comes into a node: over a domain it turns, or goes further in from what holds the node."""
        tree, size = self.tree, self.tree.size
        if node < tree.leaves:
            yield from self._unlead(node)
        elif self.ways.turns[node]:
            yield 2 * size + node, 0, None
        if node != tree.root and self.ways.inward[node]:
            yield size + tree.parent[node], 0, (node, 1, 0)
