"""The optimum of a case by HiGHS, a solver of mixed integer programs that knows nothing of flows, matroids or greed.

One binary variable says whether a group has a member on a host, another whether it leads. The objectives are minimised
one after another, each kept at its optimum for those that follow.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from math import inf, lcm
from typing import NamedTuple

import numpy as np
from placement_score import Case, Score
from scipy.optimize import Bounds, LinearConstraint, milp


class Square(NamedTuple):
    """factor · (there + step · the sum of binary variables)²."""

    variables: list[int]
    there: int
    step: int = 1
    factor: int = 1


class Program:
    """A mixed integer program that grows. Sums are mappings of a variable to its whole coefficient."""

    def __init__(self) -> None:
        self.upper: list[float] = []
        self.whole: list[int] = []
        self.rows: list[tuple[Mapping[int, int], float, float]] = []

    def variable(self, upper: float = 1, whole: bool = True) -> int:
        """A new variable between 0 and `upper`."""
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.upper) - 1

    def limit(self, terms: Mapping[int, int], low: float, high: float) -> None:
        """Keep a sum between two numbers."""
        self.rows.append((terms, low, high))

    def least(self, terms: Mapping[int, int]) -> int | None:
        """The minimum of a sum, which is kept there from now on; None where nothing is feasible."""
        cost = np.zeros(len(self.upper))
        for variable, factor in terms.items():
            cost[variable] = factor
        matrix = np.zeros((len(self.rows), len(self.upper)))
        for at, (row, _low, _high) in enumerate(self.rows):
            for variable, factor in row.items():
                matrix[at, variable] = factor
        within = LinearConstraint(matrix, [low for _, low, _ in self.rows], [high for _, _, high in self.rows])
        found = milp(cost, integrality=self.whole, bounds=Bounds(0, self.upper), constraints=within)
        if found.status == 2:
            return None
        assert found.status == 0, found.message
        value = round(found.fun)
        assert abs(found.fun - value) < 1e-4, found.fun
        self.limit(terms, -inf, value + 0.5)
        return value

    def least_squares(self, squares: Iterable[Square]) -> int:
        """The least sum of squares: each is cut into increments, of which the least come first by themselves."""
        terms, base = {}, 0
        for square in squares:
            base += square.factor * square.there**2
            steps = [self.variable(whole=False) for _ in square.variables]
            self.limit({**dict.fromkeys(square.variables, 1), **dict.fromkeys(steps, -1)}, 0, 0)
            for at, step in enumerate(steps):
                terms[step] = square.factor * square.step * (2 * (square.there + square.step * at) + square.step)
        more = self.least(terms)
        assert more is not None
        return base + more


def optimum(
    case: Case, present: Sequence[Collection[str]] = (), limit: int | None = None
) -> tuple[Score, int] | None:
    """The best score of a case whose locked groups are whole, and the fewest moves that reach it.

    Args:
        case: the groups that are placed are those that are not locked.
        present: the hosts that these groups have now.
        limit: the most moves, if there is one.

    None where it can't be placed.
    """
    demand, groups = case.demand, range(case.demand.groups - len(case.locked))
    able = [host for host in case.usable if case.room(host) > 0]
    if len(able) < demand.members:
        return None
    size = {host.name: host.capacity or case.unbounded for host in able}
    there = {host.name: case.load(host) for host in able}
    racks: dict[str, list[str]] = defaultdict(list)
    for host in able:
        racks[host.rack].append(host.name)
    in_racks, alone = list(racks.values()), [[host.name] for host in able]

    program = Program()
    member = {(g, host.name): program.variable() for g in groups for host in able}
    for host in able:
        program.limit({member[g, host.name]: 1 for g in groups}, 0, case.room(host))
    if limit is not None:
        stays = {member[g, name]: 1 for g, names in enumerate(present) for name in names if name in size}
        program.limit(stays, sum(map(len, present)) - limit, inf)
    least, beyond = case.least_crowded(), defaultdict[int, list[int]](list)
    for g in groups:
        program.limit({member[g, name]: 1 for name in size}, demand.members, demand.members)
        for names in in_racks:
            more = {step: program.variable() for step in range(least + 1, demand.rack_limit + 1)}
            for step, variable in more.items():
                beyond[step].append(variable)
            program.limit(
                {**{member[g, n]: 1 for n in names}, **dict.fromkeys(more.values(), -1)},
                -inf,
                min(least, demand.rack_limit),
            )
    crowding = [program.least(dict.fromkeys(beyond[step], 1)) for step in range(demand.members, least, -1)]
    if None in crowding or (not crowding and program.least({}) is None):
        return None

    def load(sets: list[list[str]]) -> Fraction:
        scale = lcm(*(sum(size[n] for n in names) for names in sets))
        return Fraction(
            program.least_squares(
                Square(
                    [member[g, n] for g in groups for n in names],
                    sum(there[n] for n in names),
                    demand.weight,
                    scale // sum(size[n] for n in names),
                )
                for names in sets
            ),
            scale,
        )

    def highest() -> Fraction:
        scale, top = lcm(*size.values()), program.variable(upper=inf, whole=False)
        for name, capacity in size.items():
            full = {member[g, name]: -demand.weight * (scale // capacity) for g in groups}
            program.limit({top: 1, **full}, there[name] * (scale // capacity), inf)
        value = program.least({top: 1})
        assert value is not None
        return Fraction(value, scale)

    hosts, fullest, even = load(alone), highest(), load(in_racks)
    lead = {key: program.variable() for key in member} if demand.leads else {}
    for key, variable in lead.items():
        program.limit({variable: 1, member[key]: -1}, -inf, 0)
    for g in groups if lead else ():
        program.limit({lead[g, name]: 1 for name in size}, 1, 1)
    leading = Counter(leader for leader, _ in case.locked if leader)
    rack_of = {host.name: host.rack for host in case.hosts}
    leading_racks = Counter(rack_of[name] for name in leading.elements())

    def leaders(sets: Mapping[str, list[str]], before: Counter[str]) -> int:
        elsewhere = sum(count**2 for name, count in before.items() if name not in sets)
        return elsewhere + program.least_squares(
            Square([lead[g, n] for g in groups for n in names if lead], before[name]) for name, names in sets.items()
        )

    of_racks, of_hosts = leaders(racks, leading_racks), leaders({name: [name] for name in size}, leading)
    stay = {member[g, name]: -1 for g, names in enumerate(present) for name in names if name in size}
    staying = program.least(stay)
    assert staying is not None
    moves = sum(map(len, present)) + staying
    return (tuple(crowding), hosts, fullest, even, of_racks, of_hosts), moves


def completion(case: Case) -> tuple[Fraction, Fraction] | None:
    """The least Σ load²/capacity and greatest load/capacity with which groups that lack members are completed.

    Each group has as few in a rack as it can have by itself, or as little more, the same for all, as all of them need.
    """
    demand, able = case.demand, [host for host in case.usable if case.room(host) > 0]
    racks: dict[str, list[str]] = defaultdict(list)
    for host in able:
        racks[host.rack].append(host.name)
    rack_of = {host.name: host.rack for host in case.hosts}
    needs = []
    for _, names in [*case.locked, *[(None, ())] * (demand.groups - len(case.locked))]:
        lacking = demand.members - len(names)
        inside = Counter(rack_of[name] for name in names)
        free = {rack: len(set(of) - set(names)) for rack, of in racks.items()}

        def places(most: int, free: dict[str, int] = free, inside: Counter[str] = inside) -> int:
            return sum(max(0, min(count, most - inside[rack])) for rack, count in free.items())

        least = min(max([1, *inside.values()]), demand.rack_limit)
        fitting = [most for most in range(least, demand.rack_limit + 1) if places(most) >= lacking]
        if lacking and not fitting:
            return None
        needs.append((names, lacking, inside, fitting[0] if fitting else 0))
    for more in range(demand.members + 1):
        program = Program()
        member: dict[tuple[int, str], int] = {}
        for g, (names, lacking, inside, least) in enumerate(needs):
            own = {host.name: program.variable() for host in able if host.name not in names and lacking}
            member |= {(g, name): variable for name, variable in own.items()}
            program.limit(dict.fromkeys(own.values(), 1), lacking, lacking)
            for rack, of in racks.items():
                most = max(0, min(least + more, demand.rack_limit) - inside[rack])
                program.limit({own[name]: 1 for name in of if name in own}, 0, most)
        size = {host.name: host.capacity or case.unbounded for host in able}
        scale = lcm(*size.values())
        top, squares = program.variable(upper=inf, whole=False), []
        for host in able:
            variables = [variable for (_, name), variable in member.items() if name == host.name]
            program.limit(dict.fromkeys(variables, 1), 0, case.room(host))
            factor = scale // size[host.name]
            squares.append(Square(variables, case.load(host), demand.weight, factor))
            full = dict.fromkeys(variables, -demand.weight * factor)
            program.limit({top: 1, **full}, case.load(host) * factor, inf)
        if program.least({}) is not None:
            total = Fraction(program.least_squares(squares), scale)
            value = program.least({top: 1})
            assert value is not None
            return total, Fraction(value, scale)
    return None


def leaders(groups: list[tuple[str | None, list[str]]], rack_of: Mapping[str, str]) -> tuple[int, int]:
    """The least Σ leaders² over racks, then over hosts, of groups with these members, some with a leader that stays."""
    program = Program()
    over: list[dict[str, list[int]]] = [defaultdict(list), defaultdict(list)]
    stays = [Counter(rack_of[name] for name, _ in groups if name), Counter(name for name, _ in groups if name)]
    for leader, names in groups:
        if leader is None:
            lead = {name: program.variable() for name in names}
            program.limit(dict.fromkeys(lead.values(), 1), 1, 1)
            for name, variable in lead.items():
                over[0][rack_of[name]].append(variable)
                over[1][name].append(variable)
    found = []
    for sets, before in zip(over, stays, strict=True):
        elsewhere = sum(count**2 for name, count in before.items() if name not in sets)
        found.append(elsewhere + program.least_squares(Square(own, before[name]) for name, own in sets.items()))
    return found[0], found[1]
