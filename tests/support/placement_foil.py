"""The engine that this one replaced, kept as a foil: group after group, host after host, each time what looks best.

It is what one would write first, and it is good on even sites. Tests show where it is not the best, or finds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Group, Host, Member, Placement
from placement_score import Case


def greedy(case: Case) -> Placement | None:
    """Place a case whose locked groups are whole; None where it finds no way."""
    rack = {host.name: host.rack for host in case.hosts}
    lock = case.lock().groups
    groups = {
        key: Group(key, case.demand.component, at, lock[key].members, 1)
        for at, key in enumerate((f"{case.demand.component}{n}" for n in range(1, len(case.locked) + 1)), 1)
    }

    def even(load: int, size: int) -> float:
        return (2 * load + case.demand.weight) * case.demand.weight / size

    def roomiest(load: int, size: int) -> float:
        return load - size

    hosts = _draw(case, even) or _draw(case, roomiest)
    if hosts is None:
        return None
    turns = list(dict.fromkeys(host.rack for host in case.usable))
    by_rack, by_host = (Counter(name for name, _ in case.locked if name) for _ in range(2))
    by_rack = Counter(rack[name] for name in by_host.elements())
    for index, names in enumerate(hosts, len(case.locked) + 1):
        leader = min(
            names,
            key=lambda name: (
                by_rack[rack[name]],
                by_host[name],
                (turns.index(rack[name]) - (index - 1)) % len(turns),  # called at once
                names.index(name),
            ),
        )
        by_rack[rack[leader]] += 1
        by_host[leader] += 1
        key = f"{case.demand.component}{index}"
        members = tuple(Member(id, name, rack[name], name == leader) for id, name in enumerate(names, 1))
        groups[key] = Group(key, case.demand.component, index, members, len(members) + 1)
    return Placement(groups, {})


def _draw(case: Case, cost: Callable[[int, int], float]) -> list[list[str]] | None:
    demand = case.demand
    load = {host.name: case.load(host) for host in case.hosts}
    size = Counter(host.rack for host in case.usable)

    def fits(host: Host) -> bool:
        return host.capacity is None or load[host.name] + demand.weight <= host.capacity

    drawn = []
    for _ in range(demand.groups - len(case.locked)):
        able = [host for host in case.usable if fits(host)]
        room = Counter(host.rack for host in able)
        most = (t for t in range(1, demand.rack_limit + 1) if sum(min(n, t) for n in room.values()) >= demand.members)
        limit = next(most, None)
        if limit is None:
            return None
        inside, chosen = Counter[str](), list[str]()
        for _ in range(demand.members):

            def rank(host: Host) -> tuple[float, ...]:
                loads = sum(load[other.name] for other in case.usable if other.rack == host.rack)
                own = cost(load[host.name], host.capacity or case.unbounded)
                return inside[host.rack], own, loads / size[host.rack]  # noqa: B023  # called at once

            best = min((h for h in able if h.name not in chosen and inside[h.rack] < limit), key=rank)
            chosen.append(best.name)
            inside[best.rack] += 1
            load[best.name] += demand.weight
        drawn.append(sorted(chosen, key=[host.name for host in case.hosts].index))
    return drawn
