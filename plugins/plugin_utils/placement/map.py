# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site drawn as text: racks side by side, what each host carries, the groups with their ports, what would change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from .catalogue import BY_ID

GAP = "   "


def render(topology: Mapping[str, Any], generation: int = 0, width: int = 100) -> str:
    """Draw a topology, and what would change.

    Args:
        topology: of a `Site`.
        generation: of the lock that `topology["changes"]` compares with; 0 where there is none.
        width: the columns of the terminal; racks that do not fit beside each other stand below.

    Returns lines of plain text, without a newline at the end.
    """
    return f"{draw(topology, width)}\n\n{_changes(topology, generation)}"


def draw(topology: Mapping[str, Any], width: int = 100) -> str:
    """The topology alone, as `render` draws it."""
    heading = ", ".join(_count(len(topology[what]), what[:-1]) for what in ("racks", "hosts", "groups"))
    parts = [
        f"Site {topology['site']['name']}: {heading}. A star marks the preferred leader.",
        _racks(topology, width),
        _groups(topology["groups"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _racks(topology: Mapping[str, Any], width: int) -> str:
    carried: dict[str, list[str]] = defaultdict(list)
    for key, group in topology["groups"].items():
        for member in group["members"]:
            carried[member["host"]].append("  " + _starred(key, member))
    columns = []
    for rack, names in topology["racks"].items():
        column = [rack, ""]
        for name in names:
            column += [f"{name}  {topology['hosts'][name]['address']}", *(carried[name] or ["  (nothing)"])]
        columns.append(column)
    size = max((len(line) for column in columns for line in column), default=0)
    for column in columns:
        column[1] = "-" * size
    beside = max(1, (width + len(GAP)) // (size + len(GAP)))
    return "\n\n".join(_side_by_side(columns[at : at + beside]) for at in range(0, len(columns), beside))


def _groups(groups: Mapping[str, Any]) -> str:
    rows = [["group", "members", "port", "on the VIP"]]
    for key, group in groups.items():
        component = BY_ID[f"{group['service']}_{group['component']}"]
        ports = group["members"][0]["ports"]
        published = [f"{port.name} {ports[port.name]}" for port in component.ports if port.published]
        members = " ".join(_starred(member["host"], member) for member in group["members"])
        rows.append([key, members, str(ports["main"]), ", ".join(published)])
    return table(rows)


def _changes(topology: Mapping[str, Any], generation: int) -> str:
    changes = topology["changes"]
    if not generation:
        return "There is no lock yet: a run of site.yml would make all of this, and write it down."
    if not changes:
        return f"Against the lock (generation {generation}): nothing changes."
    lines = [f"Against the lock (generation {generation}):", *(f"  {change['text']}" for change in changes)]
    return "\n".join([*lines, "Nothing else moves."])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length as aligned text."""
    return _side_by_side(list(zip(*rows, strict=True)))


def _side_by_side(columns: Sequence[Sequence[str]]) -> str:
    sizes = [max(map(len, column)) for column in columns]
    rows = zip_longest(*columns, fillvalue="")
    return "\n".join(GAP.join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True)).rstrip() for row in rows)


def _starred(name: str, member: Mapping[str, Any]) -> str:
    return f"{name}*" if member["leader"] else name


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
