# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run would change of what the lock has, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..lock import Lock
from .hosts import natural
from .model import Member, Placement


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
