# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exact search of the engine: units are given out one by one, each to the host where it costs least.

Let a cost be a sum, over hosts and domains, of convex functions of the units that each holds. Hosts and domains form a
tree, so this is a laminar convex function, and on the vectors that a polymatroid allows (limits on hosts and domains;
or what flows to the hosts in a network) greedy increments reach its minimum for every number of units: with the cost on
hosts alone Federgruen and Groenevelt 1986, with domains and limits of a tree Murota 2003, §6.3 and §10.1 (a laminar
convex function is M♮-convex, and of such a one the minima of successive sizes nest).
A lexicographic cost is no other: weigh its parts by falling powers of a large number.

Of equal units the one that `prefer` likes better is taken, then the first host. Time O(u · d · log h) for u units on h
hosts under d levels of domains, and O(h) to begin.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

from .tree import Tree

Key = tuple[Any, ...]
"""What one more unit costs, part by part: increments of convex functions, so it never falls as units are added."""


class Cost(NamedTuple):
    """The increments of a laminar convex function.

    Attributes:
        leaf: (host, its units) -> the key of one more, None where there is no room.
        inner: (domain, its units, key of the cheapest host in it) -> that key with the domain's own part, or None.
    """

    leaf: Callable[[int, int], Key | None]
    inner: Callable[[int, int, Key], Key | None]


def hand_out(
    tree: Tree,
    units: int,
    cost: Cost,
    prefer: Callable[[int, int], int] | None = None,
    accept: Callable[[int], bool] | None = None,
) -> list[int]:
    """Give out units at the least cost.

    Args:
        tree: the hosts in their domains.
        units: how many to give out.
        cost: what is to be least.
        prefer: (host, its units) -> a number; of units that cost the same the lower goes first.
        accept: asked before a host gets a unit. Where it says no, the host gets no more: right for the independence
            test of a polymatroid, where what can't be added now never can be.

    Returns the units of every node; fewer than asked for at the root where there is no more room.
    """
    count = [0] * tree.size
    heaps: list[list[tuple[Key, int, int]]] = [[] for _node in range(tree.size)]
    refused: set[int] = set()
    leaves, root, parent = tree.leaves, tree.root, tree.parent

    def entry(node: int) -> tuple[Key, int, int] | None:
        if node < leaves:
            key = None if node in refused else cost.leaf(node, count[node])
            return key and (key, prefer(node, count[node]) if prefer else 0, node)
        if not heaps[node]:
            return None
        below, liked, _child = heaps[node][0]
        key = cost.inner(node, count[node], below)
        return key and (key, liked, node)

    for node in tree.inner:
        heaps[node] = [found for child in tree.children[node] if (found := entry(child))]
        heapq.heapify(heaps[node])
    while count[root] < units and heaps[root]:
        node = heaps[root][0][-1]
        while node >= leaves:
            node = heaps[node][0][-1]
        given = accept is None or accept(node)
        if not given:
            refused.add(node)
        while True:  # the node is on top of its parent's heap, since it was found there
            count[node] += given
            if node == root:
                break
            heap = heaps[parent[node]]
            if found := entry(node):
                heapq.heapreplace(heap, found)
            else:
                heapq.heappop(heap)
            node = parent[node]
    return count
