# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock and the site of today: its groups as they are, or why a run can't go on from them, and what would change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..lock import Lock, LockedGroup
from ..refusals import Refusal
from .hosts import natural
from .model import Demand, Group, Host, Member, Placement


def kept_groups(
    demands: Iterable[Demand], hosts: Mapping[str, Host], lock: Lock, lost: Collection[str] = ()
) -> dict[str, list[Group]]:
    """The groups of the lock by component, by index, with their members' racks and addresses as they are today.

    Args:
        demands: what is asked for.
        hosts: the hosts that stand in racks, by name.
        lock: what is there.
        lost: hosts that are given up: their members are left out, and their ids are never given again.

    Members that are leaving are left out as well: others have their places already, or the whole group leaves. So are
    groups beyond those asked for, where a component may shrink.

    Raises Refusal: RS-016 no port left, RS-018 fewer asked for than there are, RS-019 and RS-020 a host that left or
    changed.
    """
    asked = {demand.component: demand for demand in demands}
    kept: dict[str, list[Group]] = defaultdict(list)
    for key, locked in sorted(lock.groups.items(), key=lambda item: item[1].index):
        component = key.removesuffix(str(locked.index))
        demand = asked.get(component)
        if demand is None:
            raise Refusal("RS-018", f"The spec asks for no {component}, and there is {key}.", key=key, live="the spec")
        staying = [member for member in locked.members if not member.leaving]
        if dissolves(locked) or (demand.shrinks and len(kept[component]) >= demand.groups):
            continue
        if len(staying) > demand.members:
            raise Refusal(
                "RS-018",
                f"The spec asks for {demand.members} members, and {key} has {len(staying)}.",
                key=demand.members_key,
                live=len(staying),
            )
        ports = demand.ports_of(locked.index)
        members = tuple(_member(key, locked, member, ports, hosts) for member in staying if member.host not in lost)
        kept[component].append(Group(key, component, locked.index, members, locked.next_id))
    for component, groups in kept.items():
        demand = asked[component]
        if len(groups) > demand.groups:
            raise Refusal(
                "RS-018",
                f"The spec asks for {demand.groups} groups {component}, and there are {len(groups)}.",
                key=demand.groups_key,
                live=len(groups),
            )
    return kept


def dissolves(group: LockedGroup) -> bool:
    """Whether a group is to be no more: all its members are leaving."""
    return bool(group.members) and all(member.leaving for member in group.members)


def with_leaving(placement: Placement, hosts: Mapping[str, Host], lock: Lock) -> Placement:
    """A placement together with the members that are leaving, and with groups that are there beyond those asked for: as
    long as they are there, everybody must know of them.

    Raises Refusal RS-019 or RS-020 where the host of one left or changed.
    """
    groups = dict(placement.groups)
    for key, locked in lock.groups.items():
        component = key.removesuffix(str(locked.index))
        group = groups.get(key) or Group(key, component, locked.index, (), locked.next_id)
        beside = [member for member in locked.members if member.leaving or key not in groups]
        if beside:
            shown = (_member(key, locked, member, member.ports, hosts) for member in beside)
            members = sorted((*group.members, *shown), key=lambda member: member.id)
            groups[key] = replace(group, members=tuple(members))
    return replace(placement, groups=groups)


def _member(
    key: str, locked: LockedGroup, member: Member, ports: Mapping[str, int], hosts: Mapping[str, Host]
) -> Member:
    """A member of the lock on its host as that is today."""
    host = hosts.get(member.host)
    if host is None:
        raise Refusal("RS-019", f"{key} has a member on {member.host}, which is in no rack.", host=member.host)
    for what, was, now in (("address", member.address, host.address), ("rack", member.rack, host.rack)):
        if was not in (None, now) and (locked.formed or locked.intent):
            raise Refusal(
                "RS-020",
                f"{key} was formed with {what} {was} of {host.name}, and the inventory says {now}.",
                what=f"the {what} of {host.name}",
                was=was,
            )
    # Ports that the lock has stay as they are: another release's table must not move what runs.
    own = {**ports, **member.ports} if ports or member.leaving else {}
    return replace(member, rack=host.rack, address=host.address, ports=own)


def changes(lock: Lock, placement: Placement) -> list[dict[str, Any]]:
    """The differences between a placement and the lock, in the order of the groups' names.

    Returns a list of `{group, change, text}`; `change` is `new group`, `new member`, `moved member`, `new leader` or
    `updated`, `text` a sentence.
    """
    return [
        {"group": key, "change": change, "text": text}
        for key in sorted(placement.groups, key=natural)
        for change, text in _group(lock, placement, key)
    ]


def _group(lock: Lock, placement: Placement, key: str) -> Iterator[tuple[str, str]]:
    group = placement.groups[key]
    if key not in lock.groups:
        yield "new group", f"{key} is new, on {', '.join(map(_seat, group.members))}."
        return
    before = {member.id: member for member in lock.groups[key].members}
    staying = {member.id for member in group.members}
    left = [was for id, was in before.items() if id not in staying]
    for member in group.members:
        was = before.get(member.id)
        if was is None and left:
            gone = left.pop(0)
            where = f"from {gone.host} to {member.host}"
            yield "moved member", f"{key} moves member {gone.id} {where}, as member {member.id}."
            continue
        if was is None:
            yield "new member", f"{key} gets member {member.id}, on {_seat(member)}."
            continue
        for what, old, new in (
            ("rack", was.rack, member.rack),
            ("address", was.address, member.address),
            ("ports", dict(was.ports), dict(member.ports)),
        ):
            if old != new:
                yield "updated", f"{key} takes the {what} of {member.host} as {new}; the lock has {old}."
    leader = next((member for member in group.members if member.leader), None)
    former = next((member for member in before.values() if member.leader), None)
    if leader and former and leader.id != former.id:
        yield "new leader", f"{key} is to be led on {leader.host}; the lock has {former.host}."


def _seat(member: Member) -> str:
    return f"{member.host}*" if member.leader else member.host
