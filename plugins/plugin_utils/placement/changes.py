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

    Returns a list of `{group, change, text}`; `change` is `new group`, `new member` or `updated`, `text` a sentence.
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
    for member in group.members:
        was = before.get(member.id)
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


def _seat(member: Member) -> str:
    return f"{member.host}*" if member.leader else member.host
