# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a drill, from the look before it to the verdict. Pure: all that touches a site goes through a World."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.aims import Aim, Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.faults import FAULTS, Fault, describe, same
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.result import Marks, Result, conclude
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

PAUSE = 1.0
"""Seconds between two looks at what is waited for."""

STEADY = 3.0
"""Seconds for which clients must have been served without a halt to be counted as served."""

LEAST = 10.0
"""Seconds that a fault lasts at least, and before which nobody is believed to be whole after it: some are felt late."""

FELT = 1.0
"""Seconds after which clients feel a fault that is over at once, if they do. Until they are served again only they are
asked: a look at the whole site keeps every host busy, and would make their outage longer."""

LOOKS = 4
"""How often a site is looked at before it is called not whole."""

BEFORE = 60.0
"""Seconds that the probes may take until they are served, before the drill."""

MARGIN = 20.0
"""Seconds that a fault may last longer than it should, before it ends by itself."""


@dataclass(frozen=True, slots=True)
class Drill:
    """What is to be done.

    Args:
        service: whose probe runs, and whose promises count.
        group: the group whose leader is meant.
        target: the word for what is hit.
        fault: how.
        seconds: how long it lasts at most.
        patience: how long the site may take afterwards until it is whole.
    """

    service: str
    group: str
    target: str
    fault: Fault
    seconds: float = 60.0
    patience: float = 300.0


class World(Protocol):
    """What a drill sees and moves."""

    def stand(self) -> Standing:
        """Look at the whole site."""

    def obstacles(self, drill: Drill, aim: Aim) -> list[str]:
        """Why the fault can't be made there, or not be undone; changes nothing."""

    def start_probes(self, drill: Drill, seconds: float) -> None:
        """Start the clients that count; they end by themselves after so many seconds. Raises Refusal."""

    def steady(self) -> dict[str, float]:
        """By target and operation for how many seconds up to now clients have been served without a halt."""

    def verdict(self) -> dict[str, Any]:
        """End the clients, and hold what was acknowledged against what is there: by probe what its verify says."""

    def drop_probes(self) -> None:
        """End the clients and leave nothing of them, whatever state they are in."""

    def begin(self, drill: Drill, aim: Aim, seconds: float) -> float:
        """Make the fault, which ends by itself after so many seconds; when it began, by the wall clock."""

    def end(self, drill: Drill, aim: Aim) -> None:
        """End the fault; harmless where it is over."""

    def wall(self) -> float:
        """The wall clock."""

    def pause(self, seconds: float) -> None:
        """Let time pass."""

    def say(self, line: str) -> None:
        """Tell the operator."""


def fault_named(name: str) -> Fault:
    """A fault, by its name. Raises Refusal RS-101."""
    if name not in FAULTS:
        raise Refusal("RS-101", f"There is no fault {name!r}.", hint=f"Faults are: {', '.join(FAULTS)}.")
    return FAULTS[name]


def look(world: World) -> Standing:
    """Look at the site, again where it is not whole: a hiccup is no reason. Raises Refusal RS-102 if it stays so."""
    standing = world.stand()
    for _again in range(LOOKS - 1):
        if not standing.ailments():
            break
        world.pause(STEADY)
        standing = world.stand()
    if ailments := standing.ailments():
        raise Refusal("RS-102", f"The site is not whole: {'; '.join(ailments)}")
    return standing


def aim_at(world: World, site: Site, drill: Drill, standing: Standing) -> Aim:
    """Find what is hit. Raises Refusal where that is nothing, or the fault can't be made there."""
    aim = site.aim(drill.target, drill.group, standing)
    if drill.fault.hits == "units" and not aim.units:
        raise Refusal("RS-101", f"{aim.label} has no member.", hint="Choose a host that has one.")
    if obstacles := world.obstacles(drill, aim):
        raise Refusal("RS-103", f"{drill.fault.name} can't be made: {'; '.join(obstacles)}")
    return aim


def distinct(site: Site, drills: Iterable[Drill], standing: Standing) -> list[Drill]:
    """Those drills of several that are not the same as an earlier one: a leader and its host may come to that."""
    found: dict[tuple[object, ...], Drill] = {}
    for drill in drills:
        aim = site.aim(drill.target, drill.group, standing)
        found.setdefault((drill.service, *same(aim, drill.fault)), drill)
    return list(found.values())


def plan(world: World, site: Site, drills: Sequence[Drill], standing: Standing) -> list[str]:
    """What drills would do now, in words. Raises Refusal."""
    return [
        line
        for drill in drills
        for line in describe(drill.service, aim_at(world, site, drill, standing), drill.fault, drill.seconds)
    ]


def run(world: World, site: Site, drill: Drill) -> Result:
    """Do a drill, and wait until the site is whole again. Raises Refusal where it did not begin.

    However it ends, its fault is ended and its clients are gone.
    """
    aim = aim_at(world, site, drill, look(world))
    begun = False
    try:
        world.start_probes(drill, BEFORE + drill.seconds + drill.patience + 2 * MARGIN)
        _await_served(world)
        world.say(f"{drill.service}: {drill.fault.name} of {aim.label}")
        begun = True
        marks = Marks(world.begin(drill, aim, drill.seconds + MARGIN))
        _await_served_again(world, drill, marks)
        if drill.fault.lasts:
            world.say("  ended; waiting until the site is whole")
            world.end(drill, aim)
            marks.heal = world.wall()
        marks.whole = _await_whole(world, drill, marks.fault + LEAST)
        world.pause(STEADY)
        probes = world.verdict()
    finally:
        if begun:
            world.end(drill, aim)
        world.drop_probes()
    result = conclude(_facts(site, drill, aim, marks), probes, marks, drill.fault.process)
    world.say(f"  {result.sentence()}")
    return result


def _facts(site: Site, drill: Drill, aim: Aim, marks: Marks) -> Mapping[str, Any]:
    return {
        "site": site.topology["site"]["name"],
        "service": drill.service,
        "target": drill.target,
        "label": aim.label,
        "fault": drill.fault.name,
        "hosts": aim.hosts,
        "began": datetime.fromtimestamp(marks.fault, UTC).isoformat(timespec="seconds"),
    }


def _await_served(world: World) -> None:
    """Wait until every client was served for a while."""
    deadline = world.wall() + BEFORE
    while waiting := _unserved(world):
        if world.wall() > deadline:
            raise Refusal("RS-104", f"The probe was not served within {BEFORE:g} s: {', '.join(waiting)}")
        world.pause(PAUSE)


def _await_served_again(world: World, drill: Drill, marks: Marks) -> None:
    """Leave a fault that lasts until clients are served well again, and any until they are; not for ever."""
    least, steady = (LEAST, STEADY) if drill.fault.lasts else (FELT, PAUSE / 10)
    world.pause(max(0.0, marks.fault + least - world.wall()))
    while (waiting := _unserved(world, steady)) and world.wall() < marks.fault + drill.seconds:
        world.pause(PAUSE)
    if waiting:
        world.say(f"  still out after {drill.seconds:g} s: {', '.join(waiting)}")


def _await_whole(world: World, drill: Drill, earliest: float) -> float | None:
    """Wait until the site is whole and its clients are served, and do not believe it before the earliest moment.

    What it waits for is told as it changes.

    Returns: since when it was seen whole; None where it is not within the drill's patience.
    """
    deadline = world.wall() + drill.patience
    since, told = None, ""
    while (began := world.wall()) < deadline:
        if ailments := world.stand().ailments():
            since = None
            more = f" (and {len(ailments) - 1} more)" if ailments[1:] else ""
            if (waiting := f"  not whole yet: {ailments[0]}{more}") != told:
                world.say(told := waiting)
        else:
            since = since or world.wall()
            if world.wall() > earliest and not _unserved(world):
                return since
        world.pause(max(PAUSE, world.wall() - began))  # as long as that took: a look keeps every host busy
    return None


def _unserved(world: World, steady: float = STEADY) -> list[str]:
    return [what for what, seconds in world.steady().items() if seconds < steady]
