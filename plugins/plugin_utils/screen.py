# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole site on one screen: a line a group, what its members are in each rack, and what a run would do to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils import moving
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.text import table
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import HOLDER, Standing

NEEDS = ("start", "restart", "reload")
"""What a run would do to a member, the strongest first."""

UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def draw(standing: Standing, racks: Sequence[str]) -> str:
    """A line a group, a column a rack, and what a run would do by what is staged (site.yml stages the spec first).

    Args:
        standing: of the whole site.
        racks: in the order of the columns.
    """
    rows = [["group", *racks, "a run would"]]
    for group in standing.groups:
        cells: dict[str, list[str]] = defaultdict(list)
        parts = _members(standing, group)
        for of_host in parts:
            own = of_host[0][1]
            cells[own.rack].append(" ".join(filter(None, (own.host, _words(standing, group, of_host)))))
        rows.append([group, *(", ".join(cells[rack]) for rack in racks), _pending(parts)])
    return table(rows)


def pending(standing: Standing) -> dict[str, str]:
    """By group what a run would do to its members; nothing where it would do nothing."""
    return {group: said for group in standing.groups if (said := _pending(_members(standing, group))) != "nothing"}


Parts = list[tuple[str, Observation]]
"""A member in each of its programs, by the row of services."""


def _members(standing: Standing, group: str) -> list[Parts]:
    found: dict[int, Parts] = defaultdict(list)
    for (service, name), members in standing.seen.items():
        if name == group:
            for seen in members:
                found[seen.member].append((service, seen))
    return list(found.values())


def unfinished(lock: Lock) -> list[str]:
    """Moves that were begun and the hosts that were given up, in lines; nothing where there are none."""
    lines = [f"  {move}" for move in moving.moves(lock)]
    if lines:
        lines.insert(0, "Moves that were begun and are not ended (site.yml goes on with them):")
    if lock.given_up:
        lines.append(f"Given up, they get nothing new (scale.yml takes them back): {', '.join(lock.given_up)}")
    return lines


def _words(standing: Standing, group: str, parts: Parts) -> str:
    """What a member is, in a few words; nothing for a follower that serves, is complete and stays."""
    leaving = "leaves" if any(seen.leaving for _service, seen in parts) else ""
    return ", ".join(filter(None, (_word(standing, group, parts), leaving)))


def _word(standing: Standing, group: str, parts: Parts) -> str:
    """What it does."""
    for service, seen in parts:
        if seen.state is not State.JOINED:
            program = SERVICES[service].program
            return f"{seen.state.replace('_', ' ').upper()}{f' ({program})' if program else ''}"
    service, seen = next((part for part in parts if part[0] == HOLDER), parts[0])
    if not SERVICES[service].stateful:
        return "VIP" if service == HOLDER and seen.leads else ""
    if seen.leads:
        return "leader, PAUSED" if seen.tells("paused") else "leader"
    if lag := seen.tells("lag", 0):
        return f"{_size(lag)} behind"
    return "" if seen.host in standing.serving(group) else "NOT IN SYNC"


def _pending(parts: list[Parts]) -> str:
    """What a run would do to the members of a group."""
    found: dict[str, list[str]] = {need: [] for need in NEEDS}
    for of_host in parts:
        for service, seen in of_host:
            if seen.need in found and seen.state is not State.UNREACHABLE:
                program = SERVICES[service].program
                found[seen.need].append(f"{program} on {seen.host}" if program else seen.host)
    return "; ".join(f"{need} {', '.join(those)}" for need, those in found.items() if those) or "nothing"


def _size(number: int) -> str:
    unit, factor = next(((unit, factor) for unit, factor in UNITS if number >= factor), ("B", 1))
    return f"{number / factor:.3g} {unit}"
