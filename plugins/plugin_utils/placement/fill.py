# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups that have members already and lack some, each with its own hosts and racks in the way, beside new ones.

What flows from groups through racks to hosts makes a polymatroid on the hosts (Federgruen and Groenevelt 1986), so
`greedy` is exact for Σ load²/capacity and the greatest load/capacity, with one question for each unit: can this host
get one more, if units given out before may go to other groups? An augmenting path answers it. A host that was asked in
vain never can, nor can any that the search came by, so all vain searches together look at everything once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .greedy import hand_out
from .quotas import Ground, least_crowded, load_cost


@dataclass
class Batch:
    """Groups that are alike: `groups` of them lack `lacking` members each.

    Attributes:
        kept: the leaves that the group has; none where there are several groups.
        given: the leaves that it gets, with how many of the groups get one there.
    """

    groups: int
    lacking: int
    kept: frozenset[int] = frozenset()
    given: Counter[int] = field(default_factory=Counter)


def complete(ground: Ground, batches: Sequence[Batch]) -> list[int]:
    """Give every batch what it lacks, in `given`.

    The most of a group in one rack is t* of that group by itself; where capacities forbid that, as little more for all
    of them as is enough.

    Returns the units of every node; fewer than lacking at the root where there is no more room.
    """
    tree = ground.tree
    total = sum(batch.groups * batch.lacking for batch in batches)
    cost = load_cost(ground, sum(batch.groups for batch in batches), [total] * (tree.depth + 2))
    widest = [ground.widest(batch.kept) for batch in batches]
    least = [least_crowded(ground, batch.lacking, batch.kept) for batch in batches]
    more = 0
    while True:
        most = [
            [min(t + more, limit) for t, limit in zip(own or wide, wide, strict=True)]
            for own, wide in zip(least, widest, strict=True)
        ]
        for batch in batches:
            batch.given.clear()
        count = hand_out(tree, total, cost, accept=Network(ground, batches, most).accept)
        if count[tree.root] == total or most == widest:
            return count
        more += 1


class Network:
    """Batches, racks and hosts, with what flows between them."""

    def __init__(self, ground: Ground, batches: Sequence[Batch], most: Sequence[Sequence[int]]) -> None:
        self.tree, self.batches, self.most = ground.tree, batches, most
        self.held = [Counter(node for leaf in batch.kept for node in self.tree.path(leaf)) for batch in batches]
        self.lacking = [batch.groups * batch.lacking for batch in batches]
        self.needy = deque(number for number, batch in enumerate(batches) if batch.lacking)
        self.dead: set[int] = set()

    def accept(self, host: int) -> bool:
        """Give one more unit to a host, moving others between batches where that makes room for it."""
        if host in self.dead:
            return False
        for _turn in range(len(self.needy)):
            number = self.needy[0]
            if not self.lacking[number]:
                self.needy.popleft()
            elif self._may(number, host) and self._full(number, host) is None:
                self._give(number, host, 1)
                return True
            else:
                self.needy.rotate(-1)
        return self._augment(host)

    def _may(self, number: int, host: int) -> bool:
        batch = self.batches[number]
        return host not in batch.kept and batch.given[host] < batch.groups

    def _full(self, number: int, host: int) -> int | None:
        """The innermost domain over a host that has no room for one more of a batch."""
        held, most, level = self.held[number], self.most[number], self.tree.level
        groups = self.batches[number].groups
        return next((v for v in self.tree.path(host)[1:] if held[v] >= groups * most[level[v]]), None)

    def _give(self, number: int, host: int, units: int) -> None:
        self.batches[number].given[host] += units
        self.lacking[number] -= units
        for node in self.tree.path(host):
            self.held[number][node] += units

    def _augment(self, start: int) -> bool:
        """Breadth first over hosts that lack one unit: who takes it there, and which host does it leave for that?"""
        before: dict[int, tuple[int, int]] = {}  # a host -> the batch that leaves it, for which host
        seen, queue = {start}, deque([start])
        looked: set[tuple[int, int | None]] = set()
        while queue:
            host = queue.popleft()
            for number, batch in enumerate(self.batches):
                if not batch.lacking or not self._may(number, host):
                    continue
                full = self._full(number, host)
                if full is None and self.lacking[number]:
                    self._shift(number, host, before)
                    return True
                if (number, full) in looked:
                    continue
                looked.add((number, full))
                for other in self._leavable(number, full):
                    if other not in seen:
                        seen.add(other)
                        before[other] = (number, host)
                        queue.append(other)
        self.dead |= seen
        return False

    def _leavable(self, number: int, full: int | None) -> Iterator[int]:
        """The hosts that a batch may leave so that it can take one elsewhere: where a domain is full, those in it."""
        for host, units in self.batches[number].given.items():
            if units and (full is None or full in self.tree.path(host)):
                yield host

    def _shift(self, number: int, host: int, before: dict[int, tuple[int, int]]) -> None:
        self._give(number, host, 1)
        while host in before:
            number, gains = before[host]
            self._give(number, host, -1)
            self._give(number, gains, 1)
            host = gains
