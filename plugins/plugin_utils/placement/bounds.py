# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How good a placement is, beside the best that could be had: what a rebalance without a limit would come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from .engine import add_load, ground_of
from .model import Demand, Group, Host, Placement
from .quotas import in_turn, members
from .ties import lead
from .tree import Tree


def bounds(demands: Sequence[Demand], hosts: Iterable[Host], placement: Placement) -> list[dict[str, Any]]:
    """A row for each component and each thing that is kept even, heaviest components first.

    Returns rows `{component, what, achieved: [least, most], best: [least, most], optimal}`. `what` is `in a rack of a
    group` (of which the least says nothing), `members of a host`, `leaders of a rack`, `leaders of a host` or `groups
    that two hosts share`. The best are those of a placement from nothing, given the heavier components as they are;
    `optimal` says whether the sum of squares that decides is as small as there. Of shared groups the best is a bound
    that may be out of reach, and `optimal` is None where it is not reached.
    """
    tree = Tree(hosts)
    load = [0] * tree.leaves
    rows: list[dict[str, Any]] = []
    for demand in sorted(demands, key=lambda demand: (-demand.weight, demand.component)):
        groups = [group for group in placement.groups.values() if group.component == demand.component]
        ground = ground_of(demand, tree, load, ())
        usable = [leaf for leaf, room in enumerate(ground.room) if room]
        racks = [rack for rack in tree.racks if ground.usable[rack]]
        best, cost = members(ground, len(groups), demand.members)
        leading = [0] * tree.size
        if demand.leads and best[tree.root] == len(groups) * demand.members:
            best, leading = lead(ground, cost, best, len(groups), in_turn(tree, racks))
        has, leads = _counts(tree, groups)

        def squares(count: Sequence[int], ground: Any = ground, usable: list[int] = usable) -> float:
            sizes = ((ground.load[leaf] + ground.weight * count[leaf], ground.capacity[leaf] or 1) for leaf in usable)
            return sum(load * load / size for load, size in sizes)

        crowded = max((max(Counter(m.rack for m in group.members).values()) for group in groups), default=0)
        least = max((-(-best[rack] // len(groups)) for rack in racks), default=0)
        least = max(least, 1)
        rows.append(_row(demand, "in a rack of a group", [1, crowded], [1, least], crowded <= least))
        even = squares(has) <= squares(best) * (1 + 1e-12)
        rows.append(_row(demand, "members of a host", _range(has, usable), _range(best, usable), even))
        for what, nodes in (("leaders of a rack", racks), ("leaders of a host", usable)) if demand.leads else ():
            sums = [sum(count[node] ** 2 for node in nodes) for count in (leads, leading)]
            rows.append(_row(demand, what, _range(leads, nodes), _range(leading, nodes), sums[0] <= sums[1]))
        if len(groups) > 1 < demand.members:
            shared, bound = most_shared(groups)
            reached = True if shared <= bound else None
            rows.append(_row(demand, "groups that two hosts share", [0, shared], [0, bound], reached))
        add_load(load, tree, demand, groups)
    return rows


def _row(demand: Demand, what: str, achieved: list[int], best: list[int], optimal: bool | None) -> dict[str, Any]:
    return {"component": demand.component, "what": what, "achieved": achieved, "best": best, "optimal": optimal}


def _range(count: Sequence[int], nodes: Iterable[int]) -> list[int]:
    found = [count[node] for node in nodes]
    return [min(found, default=0), max(found, default=0)]


def _counts(tree: Tree, groups: Iterable[Group]) -> tuple[list[int], list[int]]:
    """Members and leaders of every node."""
    has, leads = [0] * tree.leaves, [0] * tree.leaves
    for group in groups:
        for member in group.members:
            has[tree.index[member.host]] += 1
            leads[tree.index[member.host]] += member.leader
    return tree.totals(has), tree.totals(leads)


def most_shared(groups: Iterable[Group]) -> tuple[int, int]:
    """The most groups that two hosts share, and a number that no placement with these members a host is below.

    The fewer groups two hosts share, the more hosts carry what the loss of one leaves. To make that as even as can be
    is hard (it asks for block designs), so `deal` goes by a heuristic; this is how far it is from a bound.
    A host with x groups of k has x · (k-1) companions among the hosts that carry members, of other racks where no group
    has two in a rack. Time O(n · k²).
    """
    together, carried, rack = Counter[tuple[str, str]](), Counter[str](), dict[str, str]()
    size, apart = 0, True
    for group in groups:
        names = sorted(member.host for member in group.members)
        size = max(size, len(names))
        apart &= len({member.rack for member in group.members}) == len(names)
        carried.update(names)
        rack.update((member.host, member.rack) for member in group.members)
        together.update(combinations(names, 2))
    in_rack = Counter(rack.values())
    bound = 0
    for host, count in carried.items():
        others = len(rack) - (in_rack[rack[host]] if apart else 1)
        bound = max(bound, -(-count * (size - 1) // others) if others else 0)
    return max(together.values(), default=0), bound
