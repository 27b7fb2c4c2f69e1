# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why something can't be placed, in words: what is short, where, and the smallest change that would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..refusals import Refusal
from .fill import Batch, Network
from .greedy import Cost, Key, hand_out
from .model import Demand
from .quotas import Ground


def shortage(ground: Ground, demand: Demand, keys: Sequence[str], batches: Sequence[Batch]) -> Refusal:
    """The refusal of batches of groups that can't all be placed.

    Args:
        ground: the hosts as they are before any of the groups.
        demand: what is asked for.
        keys: the names of the groups, in the order of the batches.
        batches: each by itself, or all of them, too much.
    """
    limit = demand.rack_limit
    there = Counter(ground.tree.parent[ground.tree.index[name]] for name in demand.hosts)
    for key, batch in zip(keys, batches, strict=False):
        inside = Counter(ground.tree.parent[leaf] for leaf in batch.kept)
        own = Counter(
            ground.tree.parent[leaf] for leaf in batch.kept if ground.tree.hosts[leaf].name in set(demand.hosts)
        )
        free = {rack: there[rack] - own[rack] for rack in ground.tree.racks if there[rack]}
        short = batch.lacking - sum(max(0, min(count, limit - inside[rack])) for rack, count in free.items())
        if short > 0:
            return _hosts_short(ground, demand, key, {rack: free[rack] + inside[rack] for rack in free}, short)
    return _memory_short(ground, demand, keys, batches)


def _asks(demand: Demand, what: str) -> str:
    return f"{what}, at most {demand.rack_limit} in one rack so that it outlives the loss of a rack"


def _hosts_short(ground: Ground, demand: Demand, key: str, racks: dict[int, int], short: int) -> Refusal:
    name = ground.tree.name
    has = ", ".join(f"{name[rack]} has {count}" for rack, count in racks.items()) or "no rack has any"
    said = f"{_asks(demand, f'{key} needs {demand.members} hosts')}: {has}, which is {short} short."
    more = {name[rack]: demand.rack_limit - count for rack, count in racks.items() if count < demand.rack_limit}
    where = "".join(f" up to {count} in {rack}," for rack, count in more.items())
    smallest = f"Add {_count(short, 'host')}:{where}{' or' if where else ''} up to {demand.rack_limit} in another rack."
    code = "RS-011" if sum(racks.values()) < demand.members else "RS-012"
    return Refusal(code, said, smallest=f"{smallest} A small machine is enough for a voter.")


def _memory_short(ground: Ground, demand: Demand, keys: Sequence[str], batches: Sequence[Batch]) -> Refusal:
    """Two more searches: how many places there are, and the least memory with which there would be enough."""
    tree, wanted = ground.tree, sum(batch.groups * batch.lacking for batch in batches)
    if len(keys) == 1:
        asks = _asks(demand, f"{keys[0]} needs {demand.members} hosts")
    else:
        asks = _asks(
            demand, f"{keys[0]} and {len(keys) - 1} more need {wanted} places, a group on hosts of its own each"
        )
    found = _most(ground, batches, [None] * tree.leaves)
    where = ", ".join(f"{tree.name[rack]} {found[rack]}" for rack in tree.racks if found[rack]) or "none"
    usable = {tree.index[name] for name in demand.hosts}
    roomy = replace(ground, room=[wanted if leaf in usable else 0 for leaf in range(tree.leaves)])
    enough = _most(roomy, batches, [host.capacity for host in tree.hosts])
    more = []
    for leaf, host in enumerate(tree.hosts):
        lacks = 0 if host.capacity is None else ground.load[leaf] + demand.weight * enough[leaf] - host.capacity
        if enough[leaf] and lacks > 0:
            more.append(f"{lacks} MiB more on {host.name}")
    return Refusal(
        "RS-013",
        f"{asks}, and {demand.weight} MiB on each: there is room for {found[tree.root]} ({where}), which is"
        f" {wanted - found[tree.root]} short. {' and '.join(more)} would do.",
    )


def _most(ground: Ground, batches: Sequence[Batch], capacity: Sequence[int | None]) -> list[int]:
    """As many units as there is room for, where more memory than `capacity` costs its MiB."""
    wide = [ground.widest(batch.kept) for batch in batches]
    network = Network(ground, [Batch(batch.groups, batch.lacking, batch.kept) for batch in batches], wide)

    def lacks(host: int, count: int) -> int:
        size = capacity[host]
        return 0 if size is None else max(0, ground.load[host] + ground.weight * count - size)

    def leaf(host: int, count: int) -> Key | None:
        return (lacks(host, count + 1) - lacks(host, count),) if count < ground.room[host] else None

    total = sum(batch.groups * batch.lacking for batch in batches)
    return hand_out(ground.tree, total, Cost(leaf, lambda _node, _count, below: below), accept=network.accept)


def check_leaders(demand: Demand, racks: Sequence[str], leading: Counter[str]) -> None:
    """Refuse (RS-017) where the leaders elect, and without those of one rack the rest are no majority."""
    masters = demand.groups
    if not demand.leaders_vote or not leading:
        return
    rack = max(racks, key=lambda name: leading[name])
    most = leading[rack]
    if most > (masters - 1) // 2:
        near = sorted({max(3, masters - 1), max(3, masters + 1)})
        fitting = [n for n in near if -(-n // len(racks)) <= (n - 1) // 2]
        way = "Add a rack: on so few no number of masters bears the loss of one."
        if fitting:
            way = f"Ask for {' or '.join(map(str, fitting))} masters, or add a rack."
        raise Refusal(
            "RS-017",
            f"{masters} masters of {demand.component} on {len(racks)} racks put {most} into {rack},"
            f" and its loss would leave {masters - most} of {masters}, which is no majority.",
            way=way,
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
