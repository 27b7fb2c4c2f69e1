# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates of the operating system and reboots, host after host, rack after rack: the plan, and its course. Pure.

One host at a time over the whole site. It is drained first: what it leads is handed over. The next one comes when the
site is whole again. A run that was killed is run again: what was done then is not found to be due any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ansible_collections.rackspread.ha.plugins.plugin_utils import draining
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import HOLDER, Standing

Policy = Literal["always", "needed", "never"]

NAMED = 6
"""How many packages of a host are named before the rest is counted."""


@dataclass(frozen=True, slots=True)
class System:
    """The operating system of a host: packages that have updates, why it should be rebooted, and this boot's id."""

    updates: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is done to a host: the updates that are taken, and why it is rebooted ("" where it is not)."""

    host: str
    rack: str
    updates: tuple[str, ...]
    reboot: str

    def __str__(self) -> str:
        named = ", ".join(self.updates[:NAMED])
        more = f" and {len(self.updates) - NAMED} more" if len(self.updates) > NAMED else ""
        parts = [f"updates of {named}{more}"] if self.updates else []
        parts += [f"reboot ({self.reboot})"] if self.reboot else []
        return f"{self.host}: {'; '.join(parts)}"


class World(draining.World, Protocol):
    """What a round of patches sees and moves."""

    def system(self, host: str) -> System | None:
        """Look at the operating system of a host; None while it does not answer."""

    def upgrade(self, host: str) -> str:
        """Take the updates. Why it failed; nothing where it did not."""

    def reboot(self, host: str) -> str:
        """Have it reboot, in a moment. Why it failed; nothing where it did not."""


def plan(
    racks: Mapping[str, Sequence[str]],
    systems: Mapping[str, System],
    policy: Policy,
    standing: Standing,
    begun: Mapping[str, str] | None = None,
) -> list[Turn]:
    """The hosts that something is done to, in their order.

    Rack after rack, the one whose host holds the virtual address last; within a rack those first that lead least, and
    the holder of the address last.

    Args:
        racks: with their hosts.
        systems: of the hosts; those without one are left alone.
        policy: whether hosts are rebooted always, where needed (now, or after their updates), or never.
        standing: of the site.
        begun: by host the boot id at the beginning of the round that this one goes on with: under `always` a host with
            another one has been rebooted in it already.
    """
    due = {}
    for rack, hosts in racks.items():
        for host in (host for host in hosts if host in systems):
            system = systems[host]
            done = (begun or {}).get(host, system.boot) != system.boot
            why = "; ".join(system.reasons)
            if policy == "always" and not why and not done:
                why = "as asked"
            elif policy == "needed" and not why and system.updates:
                why = "where the updates need it"
            turn = Turn(host, rack, system.updates, "" if policy == "never" else why)
            if turn.updates or turn.reboot:
                due[host] = turn
    leads = {host: [each.service for each in draining.handovers(standing, host)] for host in due}
    holds = {host: HOLDER in those for host, those in leads.items()}
    order = {rack: place for place, rack in enumerate(racks)}
    last = {turn.rack for host, turn in due.items() if holds[host]}
    return sorted(
        due.values(), key=lambda turn: (turn.rack in last, order[turn.rack], holds[turn.host], len(leads[turn.host]))
    )


def describe(turns: Sequence[Turn], hosts: int, policy: Policy, away: Sequence[str] = ()) -> list[str]:
    """The plan in words.

    Args:
        turns: of it.
        hosts: how many were looked at.
        policy: for reboots.
        away: hosts that were given up and do not answer.
    """
    lost = [f"  {host} was given up and does not answer: it is left alone." for host in away]
    if not turns:
        return [f"Nothing is due on any of the {hosts} hosts (reboots: {policy}).", *lost]
    left = hosts - len(turns)
    return [
        f"{len(turns)} of {hosts} hosts, one after another, each drained before and waited for (reboots: {policy}):",
        *(f"  {turn}" for turn in turns),
        *([f"  {left} others are left alone: nothing is due there."] if left else []),
        *lost,
    ]


def run(world: World, turns: Sequence[Turn], policy: Policy, patience: float, boot_seconds: float) -> list[str]:
    """Take the turns. Returns what was done.

    Args:
        world: the site.
        turns: of a plan.
        policy: as the plan's.
        patience: seconds that the site may take to be whole, before and after each host.
        boot_seconds: that a host may take to come back.

    Raises Refusal, and no further host is touched: RS-122 a host that can't be spared, RS-084 a leader that does not
    hand over, RS-123 a host or a site that does not come back (or went away by itself), RS-124 an upgrade that failed.
    """
    done: list[str] = []
    finished: list[str] = []
    for number, turn in enumerate(turns, 1):
        world.say(f"{turn.host} ({number} of {len(turns)})")
        before = world.stand().ailments()
        draining.drain(world, turn.host, turn.rack, finished, patience)
        if turn.updates:
            world.say(f"  updates: {len(turn.updates)} packages")
            if failed := world.upgrade(turn.host):
                raise Refusal("RS-124", f"{turn.host}: {failed}", host=turn.host)
            done.append(f"{turn.host}: updates")
        system = world.system(turn.host)
        if system is None:
            raise Refusal("RS-123", f"{turn.host} does not answer any more", host=turn.host)
        if turn.reboot and (policy == "always" or system.reasons):
            draining.drain(world, turn.host, turn.rack, finished, patience)  # updates take long enough to lead again
            world.say(f"  reboot ({'; '.join(system.reasons) or turn.reboot})")
            _reboot(world, turn.host, system.boot, boot_seconds)
            done.append(f"{turn.host}: reboot")
        _await_whole(world, turn.host, before, patience)
        finished.append(turn.host)
    return done


def _reboot(world: World, host: str, boot: str, seconds: float) -> None:
    """Reboot, and wait until the host answers from another boot."""
    began = world.now()
    if failed := world.reboot(host):
        raise Refusal("RS-123", f"{host} was not rebooted: {failed}", host=host)
    while (system := world.system(host)) is None or system.boot == boot:
        if world.now() > began + seconds:
            raise Refusal("RS-123", f"{host} did not come back within {seconds:g} s", host=host)
        world.pause(draining.PAUSE)
    world.say(f"  back after {world.now() - began:.0f} s")


def _await_whole(world: World, host: str, before: Collection[str], patience: float) -> None:
    """Wait until nothing ails the site that did not before."""
    began = world.now()
    while ailments := [each for each in world.stand().ailments() if each not in before]:
        if world.now() > began + patience:
            raise Refusal("RS-123", f"The site is not whole after {host}: {'; '.join(ailments)}", host=host)
        world.pause(draining.PAUSE)
    world.say(f"  whole after {world.now() - began:.0f} s")
