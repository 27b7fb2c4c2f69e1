# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine for people who keep their own inventories: plain groups of hosts in, plain groups of members out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..lock import Lock, LockedGroup
from .bounds import bounds
from .engine import place
from .hosts import racks_of, select
from .model import Demand, Group, Host, Member, Placement
from .plain import plain
from .survival import bodies_of, survives


def rack_spread(
    inventory: Mapping[str, Iterable[str]],
    *,
    groups: int,
    members: int,
    racks: str | list[str] | Mapping[str, str] = "rack*",
    hosts: str | list[str] = "*",
    previous: Iterable[Mapping[str, Any]] | None = None,
    capacity: int | Mapping[str, int] | None = None,
    rebalance: bool = False,
    moves: int | None = None,
    name: str = "group",
) -> list[dict[str, Any]]:
    """Spread groups of members over hosts in racks.

    Args:
        inventory: name of a group -> its hosts.
        groups: how many groups.
        members: how many members each has.
        racks: a pattern over the groups that are racks, or host -> rack.
        hosts: a pattern over groups and hosts, or a list of them: who may carry a member.
        previous: an earlier answer. What stands in it stays; a member whose host is gone is placed anew.
        capacity: the most members that a host takes, for all or by host.
        rebalance: whether what stands in `previous` may move, so that load and leaders are as even as if all were new.
        moves: at most how many members then move; None for all that it takes.
        name: what the groups are called, with their number.

    Returns groups `{name, members: [{host, rack, leader}]}`. Raises Refusal where the groups can't be placed.
    """
    asked = _Asked.of(inventory, groups=groups, members=members, racks=racks, hosts=hosts, capacity=capacity, name=name)
    lock = _lock(name, plain(list(previous or ())), asked.there)
    placement = place([asked.demand], asked.there.values(), lock, moves=moves if rebalance else 0)
    return [
        {"name": group.key, "members": [_shape(member) for member in group.members]}
        for group in sorted(placement.groups.values(), key=lambda group: group.index)
    ]


def rack_bounds(
    placed: Iterable[Mapping[str, Any]],
    inventory: Mapping[str, Iterable[str]],
    *,
    racks: str | list[str] | Mapping[str, str] = "rack*",
    hosts: str | list[str] = "*",
    capacity: int | Mapping[str, int] | None = None,
) -> list[dict[str, Any]]:
    """How good an answer of `rack_spread` is, beside the best that could be had.

    Args:
        placed: the answer.
        inventory: and what follows are what was asked.
        racks: which groups are racks, or host -> rack.
        hosts: who may carry a member.
        capacity: the most members that a host takes.

    Returns rows `{what, achieved: [least, most], best: [least, most], optimal}`, see `bounds.bounds`.
    """
    given: list[dict[str, Any]] = plain(list(placed))
    size = max((len(group["members"]) for group in given), default=0)
    asked = _Asked.of(
        inventory, groups=len(given), members=size, racks=racks, hosts=hosts, capacity=capacity, name="group"
    )
    groups = {
        f"group{index}": Group(f"group{index}", "group", index, _members(group["members"], asked.there), 0)
        for index, group in enumerate(given, 1)
    }
    rows = bounds([asked.demand], asked.there.values(), Placement(groups, {}))
    return [{key: value for key, value in row.items() if key != "component"} for row in rows]


def rack_survives(
    placed: Iterable[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]],
    *,
    votes: bool = False,
    leaders_vote: bool = False,
) -> dict[str, Any]:
    """What groups survive, see `survival.survives`.

    Args:
        placed: an answer of `rack_spread`, or the groups of the topology.
        votes: whether members are voters, of whom a majority must be left; the topology's groups know that themselves.
        leaders_vote: whether the leaders of all groups together elect, as the masters of Redis Cluster do.
    """
    shapes = plain(placed) if isinstance(placed, Mapping) else plain(list(placed))
    groups = [{"name": name, **group} for name, group in shapes.items()] if isinstance(shapes, dict) else shapes
    return survives(bodies_of(groups, votes, leaders_vote))


@dataclass(frozen=True)
class _Asked:
    """What is asked for, as the engine takes it."""

    there: dict[str, Host]
    demand: Demand

    @classmethod
    def of(
        cls,
        inventory: Mapping[str, Iterable[str]],
        *,
        groups: int,
        members: int,
        racks: str | list[str] | Mapping[str, str],
        hosts: str | list[str],
        capacity: int | Mapping[str, int] | None,
        name: str,
    ) -> _Asked:
        inventory, hosts = plain(inventory), plain(hosts)
        rack = plain(racks) if isinstance(racks, Mapping) else racks_of(_listed(plain(racks)), inventory, {})
        room = plain(capacity) if isinstance(capacity, Mapping) else dict.fromkeys(rack, capacity)
        there = {host: Host(host, its_rack, capacity=room.get(host)) for host, its_rack in rack.items()}
        usable = tuple(select(_listed(hosts), there, inventory, "`hosts`"))
        return cls(there, Demand(name, groups, members, usable, rack_limit=members, leads=True))


def _shape(member: Member) -> dict[str, Any]:
    return {"host": member.host, "rack": member.rack, "leader": member.leader}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _lock(name: str, previous: list[Mapping[str, Any]], there: Mapping[str, Host]) -> Lock:
    locked = {}
    for index, group in enumerate(previous, 1):
        locked[f"{name}{index}"] = LockedGroup(index, len(group["members"]) + 1, _members(group["members"], there))
    return Lock(components={name: len(locked) + 1}, groups=locked)


def _members(shapes: Iterable[Mapping[str, Any]], there: Mapping[str, Host]) -> tuple[Member, ...]:
    """The members on hosts that are there."""
    return tuple(
        Member(id, shape["host"], there[shape["host"]].rack, shape.get("leader", False))
        for id, shape in enumerate(shapes, 1)
        if shape["host"] in there
    )
