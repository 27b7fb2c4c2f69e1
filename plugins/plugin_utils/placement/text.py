# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site as text: racks side by side with what each host carries, the groups with their ports, what would change, how
good it is and what it survives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from .catalogue import BY_ID
from .hosts import natural

GAP = "   "
EVENTS = {"host": "any one host", "rack": "any one rack", "rack_and_host": "any one rack and any host beside it"}
WORDS = {True: "", False: " (!)", None: ""}
"""After a cell of the table of bounds: as good as can be, or not, or beyond a bound that may be out of reach."""
HEADS = {
    "in a rack of a group": "of a group in a rack",
    "members of a host": "a host has",
    "leaders of a rack": "a rack leads",
    "leaders of a host": "a host leads",
    "groups that two hosts share": "two hosts share",
}
MOST = ("in a rack of a group", "groups that two hosts share")
"""Of these only the most says something."""
NAMED = 8
"""How many groups are named before the rest is counted."""


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
    heading = ", ".join(count(len(topology[what]), what[:-1]) for what in ("racks", "hosts", "groups"))
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


def tell_bounds(rows: Sequence[Mapping[str, Any]], moves: Mapping[str, tuple[int, int]]) -> str:
    """The table of bounds, and the moves beside theirs.

    Args:
        rows: of `bounds.bounds`.
        moves: component -> how many members move, and the fewest that could do.
    """
    heads, lines = evenness(rows)
    cells = [[component, *(said + WORDS[optimal] for said, optimal in found)] for component, found in lines.items()]
    text = table([["component", *heads], *cells])
    for component, (made, least) in moves.items():
        text += f"\n{tell_moves(component, made, least)}"
    if all(row["optimal"] is not False for row in rows):
        text += "\nNothing of this could be more even."
    else:
        text += (
            "\n(!) came so by what stood already; `plan.yml -e plan_rebalance=true` shows what would move."
        )
    return text


def tell_moves(component: str, made: int, least: int) -> str:
    """The moves of a component, beside their bound."""
    verb = "moves" if made == 1 else "move"
    return f"{component}: {count(made, 'member')} {verb}, and no way to the best needs fewer than {least}."


def evenness(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, list[tuple[str, bool | None]]]]:
    """The rows of `bounds.bounds` as a table: its heads, and by component a cell for each, with whether it is best.

    A cell says what there is, from the least to the most, and beside it what could be where that is another.
    """
    heads = [what for what in HEADS if any(row["what"] == what for row in rows)]
    lines: dict[str, list[tuple[str, bool | None]]] = {row["component"]: [("", None)] * len(heads) for row in rows}
    for row in rows:
        has, best, only_most = row["achieved"], row["best"], row["what"] in MOST
        has, best = (ends[1:] * 2 if only_most else ends for ends in (has, best))
        could = f"{span(best)} at best" if row["optimal"] is None else f"could be {span(best)}"
        could = "on fuller hosts than need be" if has == best else could
        said = span(has) if row["optimal"] else f"{span(has)}, {could}"
        lines[row["component"]][heads.index(row["what"])] = said, row["optimal"]
    return [HEADS[head] for head in heads], lines


def tell_survival(survival: Mapping[str, Any]) -> str:
    """What is survived and what is not, with the groups named, from the answer of `survival.survives`."""
    lines = []
    for event, words in EVENTS.items():
        lost = survival[event]["lost"]
        if not lost:
            lines.append(f"The loss of {words}: everything goes on.")
            continue
        first = {loss["name"]: loss for loss in reversed(lost)}
        lines.append(f"The loss of {words} can stop {count(len(first), 'group')}:")
        for name in sorted(first, key=natural)[:NAMED]:
            loss = first[name]
            left = f"{loss['left']} of {loss['of']} left without {' and '.join(loss['without'])}"
            lines.append(f"  {name} loses {loss['loses']}: {left}")
        if len(first) > NAMED:
            lines.append(f"  and {len(first) - NAMED} more")
    return "\n".join([*lines, *survival["witness"]])


def span(ends: Sequence[int]) -> str:
    """The least and the most of something, or the one number that they are."""
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"


def count(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
