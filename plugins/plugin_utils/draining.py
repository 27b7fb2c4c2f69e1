# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a whole host out for a while: whether all groups can spare it, and what it leads that must be handed over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.rackspread.ha.plugins.module_utils.gate import Verdict, may_restart
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import State
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import HOLDER, Standing

PAUSE = 2.0
"""Seconds between two looks."""

GATES = ("in_sync", "copies", "quorum", "any_other")
"""In this order leaders hand over: shards first, the holder of the virtual addresses last."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Leadership that goes from a member on the host to another; `target` is None where it can't be chosen.

    `service` is the row of services.SERVICES whose driver does it.
    """

    service: str
    group: str
    member: int
    target: int | None
    heir: str

    def __str__(self) -> str:
        return f"{self.group} is handed over to {self.heir}"


class World(Protocol):
    """What a drain sees and moves."""

    def stand(self) -> Standing:
        """Look at the whole site."""

    def hand_over(self, handover: Handover) -> str:
        """Do it. Why it failed; nothing where it did not."""

    def say(self, line: str) -> None:
        """Tell the operator."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def pause(self, seconds: float) -> None:
        """Let time pass."""


def can_spare(standing: Standing, host: str, rack: str) -> Verdict:
    """Whether the site can do without a host: one budget over all services.

    Every group with a member there can spare it, by the gate; and what else is down, in whatever group, is down in the
    same rack.
    """
    for (service, group), members in standing.seen.items():
        own = next((seen for seen in members if seen.host == host), None)
        if own:
            verdict = may_restart(group, members, own.member, SERVICES[service].gate)
            if not verdict:
                return verdict
        for seen in members:
            if seen.state is not State.JOINED and seen.rack != rack:
                return Verdict(False, f"{seen} of {group} is {seen.state.replace('_', ' ')}")
    return Verdict(True, f"the site can spare {host}")


def handovers(standing: Standing, host: str, favoured: Collection[str] = ()) -> list[Handover]:
    """What a host leads, in the order in which it is handed over, and to whom.

    Args:
        standing: of the whole site.
        host: that is to be taken out.
        favoured: hosts that take over rather than others: those that need not be taken out any more.
    """
    found = []
    for (service, group), members in standing.seen.items():
        if (HOLDER, group) in standing.seen and service != HOLDER:
            continue  # the address is keepalived's to give away
        if SERVICES[service].heir == "none":
            continue
        own = next((seen for seen in members if seen.host == host and seen.leads), None)
        heirs = [seen for seen in members if seen.host != host and seen.state is State.JOINED]
        if own and heirs:
            in_sync = own.tells("in_sync", ())
            heir = min(
                heirs,
                key=lambda seen: (
                    seen.member not in in_sync,
                    seen.host not in favoured,
                    not seen.preferred,
                    seen.member,
                ),
            )
            target, name = (heir.member, heir.host) if SERVICES[service].heir == "named" else (None, "another member")
            found.append(Handover(service, group, own.member, target, name))
    return sorted(found, key=lambda each: GATES.index(SERVICES[each.service].gate))


def drain(world: World, host: str, rack: str, favoured: Collection[str], patience: float) -> None:
    """Wait until the site can spare a host, and have it hand over what it leads, one group after another.

    Raises Refusal: RS-122 where it can't be spared within so many seconds, RS-084 where a leader does not hand over.
    """
    await_spare(world, host, rack, patience)
    deadline = world.now() + patience
    while leading := handovers(world.stand(), host, favoured):
        handover = leading[0]
        world.say(f"  {handover}")
        failed = world.hand_over(handover)
        if failed or world.now() > deadline:
            said = failed or "it leads again and again"
            raise Refusal("RS-084", f"{handover.group} was not handed over by {host}: {said}", hosts=host)
        _await_handed(world, handover, host, deadline)
        await_spare(world, host, rack, patience)


def _await_handed(world: World, handover: Handover, host: str, deadline: float) -> None:
    """Wait until somebody else leads, so that nothing is asked of a group twice."""
    while world.now() < deadline:
        leader = world.stand().leader(handover.group)
        if leader and leader.host != host:
            return
        world.pause(PAUSE)


def await_spare(world: World, host: str, rack: str, patience: float) -> None:
    """Wait until the site can spare a host. Raises Refusal RS-122 where it can't within so many seconds."""
    deadline = world.now() + patience
    while not (verdict := can_spare(world.stand(), host, rack)):
        if world.now() > deadline:
            raise Refusal("RS-122", f"{host} can't be spared: {verdict.reason}", host=host)
        world.pause(PAUSE)


def paused(standing: Standing) -> list[str]:
    """The groups whose own manager somebody has paused."""
    return list(
        dict.fromkeys(
            group for (_row, group), members in standing.seen.items() if any(_paused(seen) for seen in members)
        )
    )


def _paused(seen: Any) -> bool:
    told: Mapping[str, Any] = seen.live or {}
    return bool(told.get("paused"))
