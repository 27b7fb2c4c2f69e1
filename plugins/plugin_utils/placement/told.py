# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How good a placement is and what it survives, as text below the map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .hosts import natural
from .map import table

EVENTS = {"host": "any one host", "rack": "any one rack", "rack_and_host": "any one rack and any host beside it"}
WORDS = {True: "", False: "not best", None: "no proof"}
"""Of a row: as good as can be, or not, or beyond a bound that may be out of reach."""
NAMED = 8
"""How many groups are named before the rest is counted."""


def tell_bounds(rows: Sequence[Mapping[str, Any]], moves: Mapping[str, tuple[int, int]]) -> str:
    """The table of bounds, and the moves beside theirs.

    Args:
        rows: of `bounds.bounds`.
        moves: component -> how many members move, and the fewest that could do.
    """
    lines = [["component", "what", "is", "could be", ""]]
    lines += [
        [
            row["component"],
            row["what"],
            span(row["achieved"]),
            span(row["best"]),
            WORDS[row["optimal"]],
        ]
        for row in rows
    ]
    text = table(lines)
    for component, (made, least) in moves.items():
        text += f"\n{component}: {count(made, 'member')} to move; no way needs fewer than {least}."
    if any(row["optimal"] is False for row in rows):
        text += (
            "\nWhat is not best came so by what stood already; `plan.yml -e plan_rebalance=true` shows what would move."
        )
    return text


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
