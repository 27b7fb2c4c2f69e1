# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine for people who keep their own inventories: plain groups of hosts in, plain groups of members out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..lock import Lock, LockedGroup
from .engine import place
from .hosts import racks_of, select
from .model import Demand, Host, Member
from .plain import plain


def rack_spread(
    inventory: Mapping[str, Iterable[str]],
    *,
    groups: int,
    members: int,
    racks: str | list[str] | Mapping[str, str] = "rack*",
    hosts: str | list[str] = "*",
    previous: Iterable[Mapping[str, Any]] | None = None,
    capacity: int | Mapping[str, int] | None = None,
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
        name: what the groups are called, with their number.

    Returns groups `{name, members: [{host, rack, leader}]}`. Raises Refusal where the groups can't be placed.
    """
    inventory, hosts = plain(inventory), plain(hosts)
    rack = plain(racks) if isinstance(racks, Mapping) else racks_of(_listed(plain(racks)), inventory, {})
    room = capacity if isinstance(capacity, Mapping) else dict.fromkeys(rack, capacity)
    there = {host: Host(host, its_rack, capacity=room.get(host)) for host, its_rack in rack.items()}
    usable = tuple(select(_listed(hosts), there, inventory, "`hosts`"))
    demand = Demand(name, groups, members, usable, rack_limit=members, leads=True)
    placement = place([demand], there.values(), _lock(name, plain(list(previous or ())), there))
    return [
        {"name": group.key, "members": [_shape(member) for member in group.members]}
        for group in sorted(placement.groups.values(), key=lambda group: group.index)
    ]


def _shape(member: Member) -> dict[str, Any]:
    return {"host": member.host, "rack": member.rack, "leader": member.leader}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _lock(name: str, previous: list[Mapping[str, Any]], there: Mapping[str, Host]) -> Lock:
    locked = {}
    for index, group in enumerate(previous, 1):
        staying = tuple(
            Member(id, member["host"], there[member["host"]].rack, member.get("leader", False))
            for id, member in enumerate(group["members"], 1)
            if member["host"] in there
        )
        locked[f"{name}{index}"] = LockedGroup(index, len(group["members"]) + 1, staying)
    return Lock(components={name: len(locked) + 1}, groups=locked)
