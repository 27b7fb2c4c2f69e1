# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the replicas of partitions should be: over racks first, then with few moves, even, and evenly led.

Kafka places the replicas of a new topic over racks by itself, and never again: not when a broker comes, or goes, or is
moved. Pure functions. A partition's assignment is the list of its brokers; the first is its preferred leader.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence

Partition = tuple[str, int]
"""A topic's name and a partition's index."""
Assignment = dict[Partition, list[int]]


def assign(
    has: Mapping[Partition, Sequence[int]], racks: Mapping[int, str], drained: Collection[int] = (),
    replicas: Mapping[str, int] | None = None, even: bool = False,
) -> Assignment:
    """The assignment that partitions should have.

    Args:
        has: the assignment that they have.
        racks: the rack of each broker.
        drained: brokers that are to have none.
        replicas: by topic how many replicas each partition is to have; as many as it has where not given.
        even: whether replicas are also moved from brokers that have many to those that have few, as to a new one.

    No two replicas of a partition are on one broker, and no rack has more of them than the racks force. All else stays
    where it is; leaders, which cost no copy, are evened out.
    Raises ValueError with a sentence where there are too few brokers.
    """
    racks = {broker: rack for broker, rack in racks.items() if broker not in drained}
    wanted = {part: (replicas or {}).get(part[0], len(brokers)) for part, brokers in has.items()}
    for (topic, _index), count in wanted.items():
        if count > len(racks):
            raise ValueError(f"{topic} is to have {count} replicas, and {len(racks)} brokers are there for them")
    load = Counter(dict.fromkeys(racks, 0))
    result: Assignment = {}
    for part in sorted(has):
        result[part] = _kept(has[part], racks, wanted[part])
        load.update(result[part])
    for part in sorted(has):
        while len(result[part]) < wanted[part]:
            broker = min(_free(result[part], racks, wanted[part]), key=lambda each: (load[each], each))
            result[part].append(broker)
            load[broker] += 1
    if even:
        _level(result, racks, load)
    return _led(result, has, racks)


def moves(has: Mapping[Partition, Sequence[int]], wanted: Mapping[Partition, Sequence[int]]) -> int:
    """How many replicas have to be copied to come from one assignment to another."""
    return sum(len(set(wanted[part]) - set(has[part])) for part in wanted)


def _caps(racks: Mapping[int, str], count: int) -> Counter[str]:
    """How many of so many replicas each rack may have, at most: as even as the racks' own sizes allow."""
    sizes = Counter(racks.values())
    cap = Counter(dict.fromkeys(sizes, 0))
    while sum(cap.values()) < count:
        least = min(cap[rack] for rack in sizes if cap[rack] < sizes[rack])
        for rack in sizes:  # all of a level at once: which of them gets one is left open
            if cap[rack] == least < sizes[rack]:
                cap[rack] += 1
    return cap


def _kept(has: Sequence[int], racks: Mapping[int, str], count: int) -> list[int]:
    """The brokers that keep their replica: as many as may."""
    kept: list[int] = []
    for broker in has:
        if broker in racks and broker not in kept and len(kept) < count and _fits(broker, kept, racks, count):
            kept.append(broker)
    return kept


def _fits(broker: int, others: Sequence[int], racks: Mapping[int, str], count: int) -> bool:
    """Whether a broker may have a replica beside these others, so that the rest can still be spread."""
    cap = _caps(racks, count)
    used = Counter(racks[each] for each in (*others, broker))
    if any(used[rack] > cap[rack] for rack in used):
        return False
    # The last level of the caps is not for all racks: only as many may reach it as there are replicas left for it.
    top = max(cap.values())
    full = sum(min(size, top - 1) for size in Counter(racks.values()).values())
    return sum(1 for rack in used if used[rack] == top) <= count - full


def _free(others: Sequence[int], racks: Mapping[int, str], count: int) -> list[int]:
    return [broker for broker in racks if broker not in others and _fits(broker, others, racks, count)]


def _level(result: Assignment, racks: Mapping[int, str], load: Counter[int]) -> None:
    """Move replicas from brokers that have many to brokers that have few, one by one."""
    moved = True
    while moved:
        moved = False
        by_load = sorted(racks, key=lambda each: (-load[each], each))
        for source in by_load:
            for target in reversed(by_load):
                if load[source] - load[target] < 2:
                    break
                part = next((part for part in sorted(result) if _may_move(result[part], source, target, racks)), None)
                if part is not None:
                    result[part][result[part].index(source)] = target
                    load[source] -= 1
                    load[target] += 1
                    moved = True
                    break
            if moved:
                break


def _may_move(brokers: Sequence[int], source: int, target: int, racks: Mapping[int, str]) -> bool:
    if source not in brokers or target in brokers:
        return False
    others = [each for each in brokers if each != source]
    return _fits(target, others, racks, len(brokers))


def _led(
    result: Assignment, has: Mapping[Partition, Sequence[int]], racks: Mapping[int, str]
) -> Assignment:
    """The same replicas, each partition's leader first, so that no broker leads two more than another that could."""
    leader = {part: next((each for each in has[part] if each in those), those[0]) for part, those in result.items()}
    count = Counter(dict.fromkeys(racks, 0))
    count.update(leader.values())
    while path := _shift(result, leader, count):
        for part, broker in path:
            count[leader[part]] -= 1
            count[broker] += 1
            leader[part] = broker
    return {
        part: [leader[part], *(each for each in brokers if each != leader[part])] for part, brokers in result.items()
    }


def _shift(
    result: Assignment, leader: Mapping[Partition, int], count: Counter[int]
) -> list[tuple[Partition, int]]:
    """The fewest changes of leaders by which the one who leads most gives one to somebody with two fewer."""
    most = max(count.values(), default=0)
    for source in sorted(broker for broker in count if count[broker] == most):
        came: dict[int, tuple[Partition, int]] = {}
        queue = deque([source])
        while queue:
            broker = queue.popleft()
            if count[broker] <= most - 2:
                path = []
                while broker != source:
                    part, before = came[broker]
                    path.append((part, broker))
                    broker = before
                return path
            for part in sorted(part for part in result if leader[part] == broker):
                for other in result[part]:
                    if other != source and other not in came:
                        came[other] = (part, broker)
                        queue.append(other)
    return []
