# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a group can spare a member, and whether it is whole: what roll, checks, drills, patches and status go by,
and what a host itself answers by when it is asked whether it may reboot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

JOINED = "joined"
"""The state of a member that serves, and that its cluster counts (formation.State.JOINED)."""


class Seen(Protocol):
    """What the gate asks of a member: the Observation of a run, or what a host sees of the others (host_report.py)."""

    @property
    def member(self) -> int:
        """Its id."""

    @property
    def host(self) -> str:
        """Where it is."""

    @property
    def rack(self) -> str:
        """Where that is."""

    @property
    def state(self) -> str:
        """JOINED, or what it is instead."""

    @property
    def detail(self) -> str:
        """What it says of that."""

    @property
    def leads(self) -> bool:
        """Whether it is the group's leader (or holds the VIP)."""

    def tells(self, name: str, default: Any = None) -> Any:
        """What its daemon said under a name of driver.Live."""


AnySeen = TypeVar("AnySeen", bound=Seen)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Yes or no, and why."""

    ok: bool
    reason: str

    def __bool__(self) -> bool:
        return self.ok


def may_restart(group: str, observations: Sequence[Seen], member: int, rule: str) -> Verdict:
    """Whether the others can spare a member for as long as a restart takes.

    Args:
        group: its key, for sentences.
        observations: every member, classified, all of one look.
        member: the id of the one that is to be restarted.
        rule: `quorum`, `in_sync`, `copies` or `any_other`, see services.Service.

    Members that are down already must stand in the rack of this one: more than one rack is never out. A member that
    does not serve as it is has nothing to lose: only the others' state counts, and the absent ones may be anywhere.
    """
    own = next(seen for seen in observations if seen.member == member)
    others = [seen for seen in observations if seen.member != member]
    if not others:
        return Verdict(True, f"{own} is the only member of {group}")
    up = [seen for seen in others if seen.state == JOINED]
    down = [seen for seen in others if seen.state != JOINED]
    serves = own.state == JOINED
    if serves and (elsewhere := [seen for seen in down if seen.rack != own.rack or not own.rack]):
        return Verdict(False, f"{_names(elsewhere)} of {group} not joined")
    if rule == "quorum":
        if serves and len(up) <= len(observations) // 2:
            return Verdict(
                False, f"without {own} {len(up)} of {len(observations)} voters of {group} are left, no majority"
            )
    elif rule == "in_sync":
        if serves and not any(seen.leads for seen in observations):
            return Verdict(False, f"{group} has no leader")
        if serves and (behind := _behind(up, observations, rule)):
            return Verdict(False, f"{_names(behind)} of {group} not in sync with the leader")
    elif rule == "copies":
        if serves and (behind := _behind(up, observations, rule)):
            return Verdict(False, f"{_names(behind)} of {group} not in sync{_said(behind)}")
    elif serves and not up:
        return Verdict(False, f"no other member of {group} serves")
    return Verdict(True, f"{group} can spare {own}")


def healthy(group: str, observations: Sequence[Seen], rule: str) -> Verdict:
    """Whether a group is whole: all its members joined, and by its rule led and in sync."""
    for seen in observations:
        if seen.state != JOINED:
            said = f": {seen.detail}" if seen.detail else ""
            return Verdict(False, f"{seen} of {group} is {seen.state.replace('_', ' ')}{said}")
    if rule == "in_sync":
        if not any(seen.leads for seen in observations):
            return Verdict(False, f"{group} has no leader")
        if behind := _behind(observations, observations, rule):
            return Verdict(False, f"{_names(behind)} of {group} not in sync with the leader")
    if rule == "copies" and (behind := _behind(observations, observations, rule)):
        return Verdict(False, f"{_names(behind)} of {group} not in sync{_said(behind)}")
    return Verdict(True, f"{group} is whole, {len(observations)} members joined")


def roll_order(observations: Sequence[AnySeen]) -> list[AnySeen]:
    """The members in the order in which they are rolled: broken ones, followers, the leader (the VIP's holder) last.

    Where the service says that a change must meet the leader first (`leader_first`), it comes before the followers.
    """
    first = any(seen.tells("leader_first", False) for seen in observations)

    def rank(seen: Seen) -> tuple[bool, bool, int]:
        return seen.state == JOINED, seen.leads != first, seen.member

    return sorted(observations, key=rank)


def in_step(observations: Sequence[Seen], rule: str) -> set[int]:
    """The members that serve with all that they should have, by whom the rule believes."""
    joined = [seen for seen in observations if seen.state == JOINED]
    members = {seen.member for seen in joined}
    if rule == "in_sync":  # the leader's word
        words = [{seen.member, *seen.tells("in_sync", ())} for seen in observations if seen.leads]
        return members & set[int]().union(*words)
    if rule == "copies":  # everybody's
        return members.intersection(*(seen.tells("in_sync", ()) for seen in joined))
    return members


def _behind(followers: Sequence[Seen], observations: Sequence[Seen], rule: str) -> list[Seen]:
    """Those whose copies are not counted on."""
    counted_on = in_step(observations, rule)
    return [seen for seen in followers if seen.member not in counted_on]


def _said(observations: Sequence[Seen]) -> str:
    """What they say of it themselves, in brackets."""
    said = [seen.detail for seen in observations if seen.detail]
    return f" ({'; '.join(said)})" if said else ""


def _names(observations: Sequence[Seen]) -> str:
    return " and ".join(str(seen) for seen in observations)
