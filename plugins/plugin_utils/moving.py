# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The move of a member: one comes, whole, and only then another goes. Pure functions.

A move is written into the lock before the first act, as what shall be: the newcomer is a member like any other, and the
one that it takes over from is `leaving`; one whose host or disk is lost is `gone`. Any run makes that true, and one
that was killed is finished by the next. What a group needs next while members come and go is `step`; `intend` writes
the moves that lead from the lock to a placement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.rackspread.ha.plugins.module_utils.gate import healthy
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES, Service
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import (
    Action,
    Decision,
    Observation,
    State,
    decide,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.hosts import natural
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member, Placement
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

# What a group needs next


def step(
    group: str,
    observations: Sequence[Observation],
    formed_before: bool,
    service: Service,
    gone: Collection[Member] = (),
) -> Decision:
    """The next step of a group, some of whose members may be coming or going.

    Args:
        group: its key, for sentences.
        observations: every member that is not retired yet, the leaving ones too, classified, all of one look.
        formed_before: whether the lock or any record says that the group was ever formed.
        service: the row of its service.
        gone: members that are lost for good, and that the cluster may still count.

    What is gone is forgotten before another takes its place: a voter less can be borne, a voter that counts and is not
    there makes every majority harder to reach. But where each member has other things (`copies`), what it had is copied
    to another, which is there first. What lives leaves only when one more than are wanted are whole.
    """
    if not observations:
        return Decision(Action.NOTHING, reason="all members have left")
    if gone:
        places = {member.host for member in gone}
        there = [
            seen
            for seen in observations
            if service.gate == "copies" or (seen.host not in places and seen.state is not State.EMPTY)
        ]
        decision = decide(group, there, formed_before, service)
        if decision.action is not Action.NOTHING:
            return decision
        who = " and ".join(f"member {member.id} on {member.host}" for member in gone)
        return Decision(Action.EXPEL, tuple(member.id for member in gone), f"{who} lost for good")
    leaving = [seen for seen in observations if seen.leaving]
    if len(leaving) in (0, len(observations)):  # a group that dissolves goes on as it is until nothing needs it
        return decide(group, observations, formed_before, service)
    if away := [seen for seen in leaving if seen.state is State.UNREACHABLE]:
        return decide(group, away, formed_before, service)  # which says so
    staying = [seen for seen in observations if not seen.leaving]
    present = [seen for seen in staying if seen.state is not State.EMPTY]
    fresh = [seen for seen in staying if seen.state is State.EMPTY]
    serving = [*present, *(seen for seen in leaving if seen.state is State.JOINED)]
    decision = decide(group, serving, formed_before, service)
    if decision.action is not Action.NOTHING:
        return decision
    if fresh and len(present) + len(leaving) <= len(staying):
        return decide(group, [*serving, *fresh[:1]], formed_before, service)
    whole = healthy(group, serving, service.gate)
    if not whole:
        return Decision(Action.WAIT, tuple(seen.member for seen in present), whole.reason, "RS-068")
    ready = [seen for seen in leaving if not seen.bearing]
    if not ready:
        return Decision(Action.NOTHING, reason="who leaves still bears another program, which leaves first")
    own = _next_to_leave(ready, serving)
    return Decision(Action.RETIRE, (own.member,), f"{own} leaves, all others are whole")


def _next_to_leave(leaving: Sequence[Observation], serving: Sequence[Observation]) -> Observation:
    """One that does not serve, else a follower before the leader, out of the rack that holds most of the group."""
    crowd = Counter(seen.rack for seen in serving)
    return min(
        leaving, key=lambda seen: (seen.state is State.JOINED, seen.leads, -crowd[seen.rack], seen.member)
    )


# What shall be


@dataclass(frozen=True, slots=True)
class Move:
    """A change of a group's members: one goes, one comes, or both.

    Args:
        group: its key.
        old: who goes, or None.
        new: who comes, or None.
        gone: whether the old one is lost already.
        copied: what the new one's data is made of, in words; nothing where there is none.
    """

    group: str
    old: Member | None
    new: Member | None
    gone: bool = False
    copied: str = ""

    def __str__(self) -> str:
        """A line of a plan."""
        if self.new is None:
            return f"{self.group}: {self._name(self.old)} leaves"
        copied = f"; {self.copied}" if self.copied else ""
        if self.old is None:
            return f"{self.group}: {self._name(self.new)} comes{copied}"
        lost = ", which is lost," if self.gone else ""
        return f"{self.group}: {self._name(self.old)}{lost} -> {self._name(self.new)}{copied}"

    @staticmethod
    def _name(member: Member | None) -> str:
        return f"member {member.id} on {member.host} ({member.rack})" if member else ""


def intend(
    lock: Lock, placement: Placement, lost: Collection[tuple[str, int]] = (), given_up: Iterable[str] = ()
) -> Lock:
    """The lock that makes runs move members until the site is as a placement has it.

    Args:
        lock: the site's, without moves under way.
        placement: what shall be; members that the lock has and this has not go, and groups with all of theirs.
        lost: those of them (group, id) that are lost for good.
        given_up: hosts that get nothing new from now on.
    """
    intended = merge(lock, placement)
    groups = dict(intended.groups)
    for key, group in lock.groups.items():
        planned = placement.groups[key].members if key in placement.groups else ()
        staying = {member.id for member in planned}
        going = [member for member in group.members if member.id not in staying]
        if not planned and _blank(key, group):
            del groups[key]
        if not going or _blank(key, group):
            continue
        gone = tuple(member for member in going if (key, member.id) in lost)
        leaving = (replace(member, leaving=True, leader=False) for member in going if member not in gone)
        members = sorted((*planned, *leaving), key=lambda member: member.id)
        groups[key] = replace(groups[key], members=tuple(members), gone=(*group.gone, *gone))
    return replace(intended, groups=groups, given_up=tuple(sorted({*lock.given_up, *given_up}, key=natural)))


def _blank(key: str, group: LockedGroup) -> bool:
    """Whether a group was never begun, so that nothing is anywhere: who is not there need not go."""
    stateful = any(row.stateful for row in rows_of(key, group.index))
    return stateful and not (group.formed or group.intent)


def moves(lock: Lock, before: Lock | None = None) -> list[Move]:
    """The moves that a lock intends, in the order of the groups' names.

    Args:
        lock: what is intended.
        before: what there was, where members that only come are told as well; new groups are not.
    """
    found = []
    for key in sorted(lock.groups, key=natural):
        group = lock.groups[key]
        leaving = [member for member in group.members if member.leaving]
        going = [*group.gone, *leaving]
        new = sorted((member for member in group.members if not member.leaving), key=lambda member: member.id)
        if before is None:  # ids are given in order: the newest came for those that go
            new = new[len(new) - len(going) :]
        else:
            was = {member.id for member in before.groups[key].members} if key in before.groups else None
            new = [member for member in new if was is not None and member.id not in was]
        for old in going:
            heir = next((member for member in new if member.rack == old.rack), new[0] if new else None)
            if heir:
                new.remove(heir)
            found.append(Move(key, old, heir, old in group.gone, _copied(key, group) if heir else ""))
        found += [Move(key, None, member, copied=_copied(key, group)) for member in new if before]
    return found


def rows_of(key: str, index: int) -> list[Service]:
    """The rows of services that build a group."""
    component = key.removesuffix(str(index))
    return [row for row in SERVICES.values() if row.component == component]


def _copied(key: str, group: LockedGroup) -> str:
    """What becomes of the data."""
    if not any(row.stateful for row in rows_of(key, group.index)):
        return "nothing is copied"
    if not group.formed:
        return "nothing is there yet"
    return "its data is copied from the others"


def check_ended(lock: Lock) -> None:
    """Refuse (RS-131) what is not done while members move: a group on its way may have one too few, and one that came
    may be known to its own group alone.
    """
    if under_way(lock):
        raise Refusal("RS-131", f"Moves were begun and are not ended ({'; '.join(map(str, moves(lock)))}).")


def under_way(lock: Lock) -> bool:
    """Whether moves were begun and are not ended."""
    return any(group.gone or any(member.leaving for member in group.members) for group in lock.groups.values())
