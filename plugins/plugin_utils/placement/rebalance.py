# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves: from groups as they are to groups whose members and leaders a host are the best there are.

The numbers come first, as for new groups (`quotas`), with ties broken for what is there. So the members that hosts have
beyond them bound the moves from below, and so do the members by which groups are beyond the limit of a domain.

Then members move, each by a shortest path from a host that has too many to one that has too few: at once, or by way of
hosts that take one and give one. Where every path was direct the moves are at the bound, and so the fewest.

Leaders of these members are as even as can be by `leading`. Where that is less even than other members would allow,
groups exchange members, one of them so that leadership can pass on to where it lacks: if possible among members that
have moved anyway, which costs nothing, else for a move or two that the bound knows nothing of.

Load and leaders come before moves: where no path and no exchange leads on, all groups are dealt anew (`deal`) and named
after those that they have most in common with. The moves are told beside their bound, so that nobody need believe that
they are few.

A limit on moves is another matter: then the best move is made, and again, as often as it allows.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .deal import Deal
from .greedy import Cost, Key
from .leading import assign
from .quotas import Ground, least_crowded, load_cost, members, spread
from .seats import Seats
from .ties import lead


@dataclass(frozen=True)
class Rebalanced:
    """Groups after moves: the leaves and the leader of each, how many members moved, and the fewest that could do."""

    groups: list[frozenset[int]]
    leaders: list[int | None]
    moves: int
    bound: int


def rebalance(
    ground: Ground,
    groups: Sequence[frozenset[int]],
    leading: Sequence[int | None],
    size: int,
    leads: bool,
    limit: int | None = None,
) -> Rebalanced | None:
    """Move members of groups until load and leaders are the best there are.

    Args:
        ground: the hosts without any of these members and leaders.
        groups: the leaves of each group; fewer than `size`, or none, where members are still to be placed.
        leading: who leads each group.
        size: how many members each group shall have.
        leads: whether groups have leaders.
        limit: the most moves. Each is then the one that gains most for crowding, then for load.

    Returns None where the groups can't be placed at all.
    """
    tree = ground.tree
    present = Counter(leaf for group in groups for leaf in group)

    def keep(leaf: int, count: int) -> bool:
        return count >= present[leaf]

    wanted, cost = members(ground, len(groups), size, keep)
    if wanted[tree.root] < len(groups) * size:
        return None
    most = least_crowded(ground, size) or ground.widest()
    bound = _beyond(present, wanted)
    leaders = [0] * tree.size
    if leads:
        led = Counter(leaf for leaf in leading if leaf is not None)
        wanted, leaders = lead(ground, cost, wanted, len(groups), lambda leaf, count: count >= led[leaf], keep)
    seats = Seats(tree, groups, leading, wanted, leaders, most, size)
    bound = max(bound, seats.crowded())
    settled = True
    if limit is not None:
        seats.approach(load_cost(ground, len(groups), most), limit)
        if leads:
            seats.lead(assign(ground, seats.groups, seats.leading))
    elif settled := seats.uncrowd():
        _settle_ties(seats, cost)
        settled = seats.settle() and (not leads or _led(ground, seats))
    found, chosen = [frozenset(group) for group in seats.groups], seats.leading
    if not settled:
        leaders = tree.totals(seats.leaders.wanted)
        found, chosen = _dealt(ground, tree.totals(seats.members.wanted), leaders, groups)
    return Rebalanced(found, chosen, sum(len(old - new) for old, new in zip(groups, found, strict=True)), bound)


def _led(ground: Ground, seats: Seats) -> bool:
    """Make leaders as even as they are wanted; where members don't allow that, groups exchange some."""
    parent, children = ground.tree.parent, ground.tree.children
    best = spread(ground, ground.tree.totals(seats.leaders.wanted))
    seats.lead(assign(ground, seats.groups, seats.leading, best))
    while spread(ground, led := _totals(ground, seats.leading)) != best:

        def better(off: int, on: int) -> bool:
            racks = led[parent[off]] - led[parent[on]] if parent[off] != parent[on] else 1
            return racks > 1 or (racks == 1 and led[off] > led[on] + 1)

        def alike(leaf: int, led: list[int] = led) -> list[int]:
            return [other for other in children[parent[leaf]] if led[other] == led[leaf]]

        # Where no single exchange makes it better, one that changes nothing but who leads may open the way.
        if not (seats.exchange(better, alike) or seats.exchange(lambda *_: True, lambda leaf: [leaf])):
            return False
    return True


def _totals(ground: Ground, leaders: Sequence[int | None]) -> list[int]:
    led = Counter(leaders)
    return ground.tree.totals([led[leaf] for leaf in range(ground.tree.leaves)])


def _settle_ties(seats: Seats, cost: Cost) -> None:
    """Let hosts of a rack that have too many and too few change parts where both are equal to load and leaders."""
    members, leaders, among = seats.members, seats.leaders, defaultdict[tuple[int, Key | None], list[int]](list)
    for leaf in members.many:
        among[seats.tree.parent[leaf], cost.leaf(leaf, members.wanted[leaf])].append(leaf)
    for few in list(members.few):
        equals = among[seats.tree.parent[few], cost.leaf(few, members.wanted[few] - 1)]
        if not equals:
            continue
        many = equals[-1]
        if leaders.wanted[few] == members.wanted[few]:  # a leader goes with the member
            if leaders.wanted[many] + 1 != leaders.wanted[few]:
                continue
            leaders.want(few, -1)
            leaders.want(many, 1)
        members.want(few, -1)
        members.want(many, 1)
        equals.pop()


def _beyond(present: Counter[int], wanted: Sequence[int]) -> int:
    return sum(max(0, count - wanted[leaf]) for leaf, count in present.items())


def _dealt(
    ground: Ground, wanted: Sequence[int], leaders: Sequence[int], groups: Sequence[frozenset[int]]
) -> tuple[list[frozenset[int]], list[int | None]]:
    """New groups in the order of the old, each in the place of one that it has many members in common with."""
    racks = [rack for rack in ground.tree.racks if ground.usable[rack]]
    deal = Deal(ground.tree, wanted, leaders, len(groups), racks)
    dealt = [deal.group(turn) for turn in range(len(groups))]
    on: dict[int, list[int]] = defaultdict(list)
    for at, old in enumerate(groups):
        for leaf in old:
            on[leaf].append(at)
    alike = [
        (common, -at, -number)
        for number, (new, _leader) in enumerate(dealt)
        for at, common in Counter(at for leaf in new for at in on[leaf]).items()
    ]
    name: dict[int, int] = {}  # number of a new group -> place of the old one
    free = dict.fromkeys(range(len(groups)))
    for _common, at, number in sorted(alike, reverse=True):
        if -at in free and -number not in name:
            name[-number] = -at
            del free[-at]
    for number in range(len(dealt)):
        if number not in name:
            name[number] = free.popitem()[0]
    order = sorted(name, key=name.__getitem__)
    return [frozenset(dealt[number][0]) for number in order], [dealt[number][1] for number in order]
