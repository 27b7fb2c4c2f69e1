# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failure domains as a tree of integers: hosts are its leaves, racks hold hosts, and more domains may hold racks.

Everything that the engine counts, it counts on the nodes of this tree: members, leaders, load. Sets that either nest or
are disjoint are called laminar; that the domains are so is what makes exact answers quick (see `greedy`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from .hosts import natural
from .model import Host


class Tree:
    """The hosts of a site in their racks, all in natural order.

    Nodes are numbers: 0 … leaves - 1 are hosts, then racks, then what holds racks, and the root is the last.

    Attributes:
        hosts: the leaves.
        index: name of a host -> its leaf.
        leaves: how many hosts.
        size: how many nodes.
        parent: of each node; the root is its own.
        children: of each node, in order; of a leaf none.
        name: of each node.
        level: of each node: 0 a host, 1 a rack, 2 and on what holds racks. The root's is one more than `depth`.
        depth: how many levels of domains there are between hosts and root.
        racks: the nodes of level 1, in order.
        inner: every node but leaves, each after its children.
    """

    def __init__(self, hosts: Iterable[Host]) -> None:
        hosts = list(hosts)
        key = {name: natural(name) for host in hosts for name in (host.name, *host.path)}
        hosts.sort(key=lambda host: ([key[name] for name in host.path], key[host.name]))
        self.hosts: Sequence[Host] = hosts
        self.index = {host.name: leaf for leaf, host in enumerate(hosts)}
        self.leaves = len(hosts)
        self.depth = max((len(host.path) for host in hosts), default=1)
        self.name = [host.name for host in hosts]
        self.level = [0] * self.leaves
        self.parent = [0] * self.leaves
        self.children: list[list[int]] = [[] for _host in hosts]
        paths = [host.path for host in hosts]
        below = range(self.leaves)
        for level in range(1, self.depth + 1):
            below, paths = self._gather(level, below, paths)
        self.root = self._add("", self.depth + 1)
        self._hang(below, self.root)
        self.parent[self.root] = self.root
        self.size = self.root + 1
        self.inner = range(self.leaves, self.size)
        self.racks = [node for node in self.inner if self.level[node] == 1]

    def _gather(
        self, level: int, below: Sequence[int], paths: Sequence[tuple[str, ...]]
    ) -> tuple[range, list[tuple[str, ...]]]:
        """Add the nodes of a level over those of the level below, whose paths from outside to inside are given."""
        members: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for node, path in zip(below, paths, strict=True):
            members[path].append(node)
        first = len(self.parent)
        for path, nodes in members.items():
            self._hang(nodes, self._add(path[-1], level))
        return range(first, len(self.parent)), [path[:-1] for path in members]

    def _add(self, name: str, level: int) -> int:
        self.name.append(name)
        self.level.append(level)
        self.parent.append(0)
        self.children.append([])
        return len(self.parent) - 1

    def _hang(self, nodes: Iterable[int], parent: int) -> None:
        for node in nodes:
            self.parent[node] = parent
            self.children[parent].append(node)

    def path(self, node: int) -> list[int]:
        """A node and all that hold it, from inside to outside, without the root."""
        found = []
        while node != self.root:
            found.append(node)
            node = self.parent[node]
        return found

    def totals(self, leaves: Sequence[int]) -> list[int]:
        """Sums over each node of a number that each leaf has."""
        sums = [*leaves, *([0] * (self.size - self.leaves))]
        for node in range(self.root):
            sums[self.parent[node]] += sums[node]
        return sums
