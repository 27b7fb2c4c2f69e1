# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seats of groups on hosts, and the ways by which they come to wanted numbers of members and leaders a host."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from math import inf

from .greedy import Cost
from .tree import Tree

Step = tuple[int, int | None, int]
"""A group leaves a host (None: it lacks a member) and takes another."""
Lead = tuple[int, int]
"""A host, and a group that leads from it or to it."""

Price = tuple[float, float]
"""The parts of a cost that a host and its rack have."""
Seat = tuple[int, list[int], int]
"""A host, groups that have a member on it, and the domain that it is left for."""


class Tally:
    """How many more a host has than it is to have, and the hosts that have too few and too many of them."""

    def __init__(self, wanted: Sequence[int]) -> None:
        self.wanted = list(wanted)
        self.beyond = [-count for count in wanted]
        # Dictionaries as sets in the order of their making, so that the same input is looked at in the same order.
        self.few = dict.fromkeys(leaf for leaf, count in enumerate(wanted) if count)
        self.many: dict[int, None] = {}

    def add(self, leaf: int, by: int) -> None:
        """A host has so many more."""
        self.beyond[leaf] += by
        self.few.pop(leaf, None)
        self.many.pop(leaf, None)
        if self.beyond[leaf]:
            (self.few if self.beyond[leaf] < 0 else self.many).setdefault(leaf)

    def count(self, leaf: int) -> int:
        """How many a host has."""
        return self.wanted[leaf] + self.beyond[leaf]

    def want(self, leaf: int, by: int) -> None:
        """A host is to have so many more."""
        self.wanted[leaf] += by
        self.add(leaf, -by)


class Seats:
    """Groups on the way to wanted numbers.

    Args:
        tree: the hosts in their domains.
        groups: the leaves of each group.
        leading: who leads each group.
        members, leaders: of every node, in the end.
        most: t* of each level.
        size: members of each group, in the end.
    """

    def __init__(
        self,
        tree: Tree,
        groups: Sequence[frozenset[int]],
        leading: Sequence[int | None],
        members: Sequence[int],
        leaders: Sequence[int],
        most: Sequence[int],
        size: int,
    ) -> None:
        self.tree, self.before, self.moves = tree, groups, 0  # moves: members that are not where they were
        self.members, self.leaders = Tally(members[: tree.leaves]), Tally(leaders[: tree.leaves])
        self.groups: list[set[int]] = [set() for _group in groups]
        self.leading: list[int | None] = [None] * len(groups)
        self.lacking = {number: size - len(group) for number, group in enumerate(groups) if len(group) < size}
        self.on: list[set[int]] = [set() for _leaf in range(tree.leaves)]
        self.led: list[set[int]] = [set() for _leaf in range(tree.leaves)]
        self.held = [Counter[int]() for _group in groups]
        self.paths = [tree.path(leaf)[1:] for leaf in range(tree.leaves)]
        self.low, self.high = [0] * tree.size, [0] * tree.size
        for node, count in enumerate(members):
            even, most_here = count // len(groups), most[tree.level[node]]
            self.high[node] = max(most_here, -(-count // len(groups)))
            self.low[node] = even if self.high[node] > most_here else 0
        for number, group in enumerate(groups):
            for leaf in group:
                self._put(number, leaf, 1)
        self.moves = 0
        self.home = [sorted(numbers) for numbers in self.on]
        self.lead(leading)

    def lead(self, leading: Sequence[int | None]) -> None:
        """Let these lead the groups."""
        for number, leaf in enumerate(leading):
            self._lead(number, leaf)

    def _lead(self, number: int, leaf: int | None) -> None:
        before = self.leading[number]
        if before is not None:
            self.leaders.add(before, -1)
            self.led[before].discard(number)
        self.leading[number] = leaf
        if leaf is not None:
            self.leaders.add(leaf, 1)
            self.led[leaf].add(number)

    def _put(self, number: int, leaf: int, by: int) -> None:
        self.members.add(leaf, by)
        self.moves -= by * (leaf in self.before[number])
        (self.on[leaf].add if by > 0 else self.on[leaf].discard)(number)
        (self.groups[number].add if by > 0 else self.groups[number].discard)(leaf)
        for node in self.paths[leaf]:
            self.held[number][node] += by

    def apply(self, steps: Sequence[Step]) -> None:
        """Take steps. A leader that leaves is one no more; who comes in leads if too many are led by who did."""
        for number, leave, _take in steps:
            if leave is not None:
                self._put(number, leave, -1)
            else:
                self.lacking[number] -= 1
                if not self.lacking[number]:
                    del self.lacking[number]
        for number, leave, take in steps:
            self._put(number, take, 1)
            leader = self.leading[number]
            if take in self.leaders.few and (leader is None or leader in self.leaders.many):
                self._lead(number, take)
            elif leader is not None and leader == leave:
                self._lead(number, None)

    def _over(self) -> Iterator[tuple[int, int]]:
        """Groups and the domains of whose limit they are beyond."""
        for number, held in enumerate(self.held):
            for node, count in held.items():
                if count > self.high[node]:
                    yield number, node

    def crowded(self) -> int:
        """How many members must move because their groups are beyond the limit of a domain, on one level at least."""
        sums = Counter[int]()
        for number, node in self._over():
            sums[self.tree.level[node]] += self.held[number][node] - self.high[node]
        return max(sums.values(), default=0)

    def uncrowd(self) -> bool:
        """Move members out of domains that have too many of their group; False where that is in vain."""
        for number, node in list(self._over()):
            while self.held[number][node] > self.high[node]:
                step = self._out(number, node)
                if not step:
                    return False
                self.apply([step])
        return True

    def approach(self, cost: Cost, limit: int) -> None:
        """Make a few moves, each time the one that gains most: out of a domain with too many of a group, then for load.

        Args:
            cost: of members.
            limit: the most moves.
        """
        everywhere = self.tree.root
        while self.moves < limit:
            over: dict[int, list[Seat]] = defaultdict(list)
            for number, node in self._over():
                inside = [leaf for leaf in self.groups[number] if node in self.paths[leaf]]
                over[self.held[number][node] - self.high[node]] += [(leaf, [number], node) for leaf in inside]
            steps = (self._best(cost, over[beyond], (inf, 0)) for beyond in sorted(over, reverse=True))
            step = next(filter(None, steps), None)
            if not step:
                seats = [(leaf, sorted(numbers), everywhere) for leaf, numbers in enumerate(self.on) if numbers]
                step = self._best(cost, seats, (0, 0))
            if not step:
                return
            self.apply([step])

    def _best(self, cost: Cost, seats: Iterable[Seat], least: Price) -> Step | None:
        """The one move that gains most.

        Args:
            cost: of members.
            seats: that may be left.
            least: what the cost must change by less than.
        """
        parent, held = self.tree.parent, self.members.count
        of_rack = self.tree.totals([held(leaf) for leaf in range(self.tree.leaves)])

        def price(leaf: int, less: int) -> Price:
            """What one more costs on top of what is there, less one perhaps: the host's part, and the rack's."""
            own = cost.leaf(leaf, held(leaf) - less)
            key = own and cost.inner(parent[leaf], of_rack[parent[leaf]] - less, own)
            return own[1] if own else inf, key[-1][0] if key else inf

        takes = sorted((found, leaf) for leaf in range(self.tree.leaves) if (found := price(leaf, 0))[0] < inf)
        leaves = sorted(((price(leaf, 1), leaf, numbers, node) for leaf, numbers, node in seats), reverse=True)
        best: Step | None = None
        for (saved, evened), leave, numbers, node in leaves:
            for (host, rack), take in takes:
                if host - saved > least[0]:
                    break
                change = host - saved, 0.0 if parent[take] == parent[leave] else rack - evened
                if change < least and node not in self.paths[take]:
                    able = [number for number in numbers if self._may(number, leave, take)]
                    if able:
                        stays = next((number for number in able if self.leading[number] != leave), able[0])
                        least, best = change, (stays, leave, take)
        return best

    def settle(self) -> bool:
        """Move members until the wanted numbers are reached; False where that is in vain."""
        while self.members.few:
            few = next(iter(self.members.few))
            steps = self._path(few, thrifty=True) or self._path(few, thrifty=False)
            if not steps:
                return False
            self.apply(steps)
        low = [(node, count) for node, count in enumerate(self.low) if count]
        return not self.lacking and all(held[node] >= count for node, count in low for held in self.held)

    def _may(self, number: int, leave: int | None, take: int) -> bool:
        """Whether a group may go from one host to another without going beyond a limit."""
        if take in self.groups[number]:
            return False
        held, coming = self.held[number], self.paths[take]
        leaving = self.paths[leave] if leave is not None else ()
        for node in coming:
            if node not in leaving and held[node] >= self.high[node]:
                return False
        return all(held[node] > self.low[node] for node in leaving if self.low[node] and node not in coming)

    def _out(self, number: int, node: int) -> Step | None:
        """How a group gets a member out of a domain: to a host that has too few, or else to any, to pass one on."""
        inside = [leaf for leaf in self.groups[number] if node in self.paths[leaf]]
        inside.sort(key=lambda leaf: (-self.members.beyond[leaf], leaf == self.leading[number], leaf))
        for hosts in (self.members.few, range(self.tree.leaves)):
            for leave in inside:
                for take in hosts:
                    if node not in self.paths[take] and self.members.wanted[take] and self._may(number, leave, take):
                        return number, leave, take
        return None

    def _path(self, start: int, thrifty: bool) -> list[Step]:
        """The shortest way by which a host that has too few gets a member: breadth first over hosts that lack one.

        Args:
            start: the host.
            thrifty: whether only groups that have left a host may take it, which makes no move more.
        """
        onward: dict[int, Step] = {}  # a host -> the step by which it loses the member that it then lacks
        seen, queue = {start}, deque([start])
        while queue:
            take = queue.popleft()
            if last := self._home(take) if thrifty else self._source(take):
                steps = [last]
                while take != start:
                    steps.append(onward[take])
                    take = onward[take][2]
                return steps
            for number in self.home[take] if thrifty else range(len(self.groups)):
                if take not in self.groups[number]:
                    for leave in sorted(self.groups[number] - seen):
                        if self._may(number, leave, take):
                            seen.add(leave)
                            onward[leave] = (number, leave, take)
                            queue.append(leave)
        return []

    def _home(self, take: int) -> Step | None:
        """A step back to a host by a group that does better to leave another, which has too many."""
        for number in self.home[take]:
            for leave in sorted(self.groups[number]):
                if leave in self.members.many and self._may(number, leave, take):
                    return number, leave, take
        return None

    def _source(self, take: int) -> Step | None:
        """A step to a host from where a member may just be taken: a group that lacks one, or a host with too many."""
        many = self.members.many
        for number in self.lacking:
            if self._may(number, None, take):
                return number, None, take
        if take in self.leaders.few:  # it may lead in the place of one that leads too many
            for leader in self.leaders.many:
                for number in self.led[leader]:
                    for leave in self.groups[number]:
                        if leave in many and self._may(number, leave, take):
                            return number, leave, take
        second: Step | None = None
        for leave in many:
            for number in self.on[leave]:
                stays = self.leading[number] != leave
                if (stays or not second) and self._may(number, leave, take):
                    if stays:
                        return number, leave, take
                    second = number, leave, take
        return second

    def exchange(self, worth: Callable[[int, int], bool], alike: Callable[[int], list[int]]) -> bool:
        """Let a host lead one less and another one more; False where that is in vain.

        Leadership goes from the one over groups that the next can lead, and so on to the other. Where no such way is
        whole, one of its groups gets a host that it lacks in exchange with another group, for as few moves as can be.

        Args:
            worth: whether it is worth while that a host, the first, leads one less and the second one more.
            alike: the hosts that could as well lead one less, or one more, as a host.
        """
        for free in (True, False):
            for last in self.leaders.few:
                if first := [leaf for leaf in self.leaders.many if worth(leaf, last)]:
                    off, on = self._from(other for leaf in first for other in alike(leaf)), self._to(alike(last))
                    if (met := next((leaf for leaf in on if leaf in off), None)) is not None:
                        self._pass_on(off, on, met, met)
                        return True
                    for lender, steps in self._swaps(off, on, free):
                        if all(self._may(*step) for step in steps):
                            number, _leaves, taker = steps[0]
                            self.apply(steps)
                            self._lead(number, taker)
                            self._pass_on(off, on, lender, taker)
                            return True
        return False

    def _from(self, first: Iterable[int]) -> dict[int, Lead | None]:
        """The hosts that could lead one more so that one of the first leads less, each with who lends what to it."""
        found: dict[int, Lead | None] = dict.fromkeys(first)
        queue = deque(found)
        while queue:
            lender = queue.popleft()
            for number in sorted(self.led[lender]):
                for leaf in sorted(self.groups[number]):
                    if leaf not in found:
                        found[leaf] = lender, number
                        queue.append(leaf)
        return found

    def _to(self, last: Iterable[int]) -> dict[int, Lead | None]:
        """The hosts that could lead one more so that one of the last does, each with whom it lends which group."""
        found: dict[int, Lead | None] = dict.fromkeys(last)
        queue = deque(found)
        while queue:
            taker = queue.popleft()
            for number in sorted(self.on[taker]):
                lender = self.leading[number]
                if lender is not None and lender not in found:
                    found[lender] = taker, number
                    queue.append(lender)
        return found

    def _pass_on(self, off: dict[int, Lead | None], on: dict[int, Lead | None], lender: int, taker: int) -> None:
        """Pass leadership on, up to the lender and from the taker on."""
        while back := off[lender]:
            self._lead(back[1], lender)
            lender = back[0]
        while ahead := on[taker]:
            self._lead(ahead[1], ahead[0])
            taker = ahead[0]

    def _swaps(self, off: Collection[int], on: Collection[int], free: bool) -> Iterator[tuple[int, list[Step]]]:
        """How groups that some hosts lead get another one as a member from other groups, with who leads them.

        Args:
            off: the hosts that lead.
            on: those that a group is to get.
            free: whether no move more may come of it: a group goes back to where it was, or both have moved anyway.
        """
        lent = {number: leader for leader in off for number in sorted(self.led[leader])}
        taken = [(number, leaf) for leaf in on for number in sorted(self.on[leaf]) if self.leading[number] != leaf]
        came = [(number, leaf) for number, leaf in taken if leaf not in self.before[number]]
        for other, leaf in came if free else ():
            for home in sorted(self.before[other] - self.groups[other]):
                for number in sorted(self.on[home]):
                    if lent.get(number, home) != home:
                        yield lent[number], [(number, home, leaf), (other, leaf, home)]

        def seats(moved: bool) -> Iterator[tuple[int, int]]:
            for number, leader in lent.items():
                hosts = self.groups[number] - self.before[number] if moved else self.groups[number]
                yield from ((number, leaf) for leaf in sorted(hosts) if leaf != leader)

        for others, moved in ((came, True),) if free else ((came, False), (taken, True), (taken, False)):
            for other, leaf in others:
                for number, leave in seats(moved):
                    yield lent[number], [(number, leave, leaf), (other, leaf, leave)]
