# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups that are one cluster: what formation, roll and health must know of all of them at once.

Each shard of Redis Cluster is a group, and goes the way of every group (formation.py, gate.py). But its slots are a
share of one whole, and its master is one of those that elect. Pure functions over the looks at all groups; what they
add to a group's own steps is a refusal, a wait or rest. The steps of the whole are `uneven` slots, and `homeward`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils import redis_home
from ansible_collections.rackspread.ha.plugins.module_utils.gate import Verdict
from ansible_collections.rackspread.ha.plugins.module_utils.redis_slots import MASTERS, SLOTS, count
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Action, Decision, Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.survival import slot_ranges

Groups = Mapping[str, Sequence[Observation]]


def together(decisions: Mapping[str, Decision], groups: Groups, formed: Collection[str]) -> dict[str, Decision]:
    """The next step of each group, held against those of the others.

    Args:
        decisions: what `formation.decide` says of each group by itself; of one that is settled, its last.
        groups: the last look at every group.
        formed: those that were ever formed, by lock, record, or a living member.

    A group that was never formed is only formed beside groups none of which is refused; a new one only once the cluster
    that it is to join is whole; and neither with masters so few, or so placed, that the loss of a rack would stop all.
    One that dissolves needs nothing more once the others have all slots: what of it has stopped was on its way out.
    """
    result = dict(decisions)
    for name, decision in decisions.items():
        if decision.action in (Action.START, Action.WAIT) and dissolves(groups[name]) and _rest_has_all(groups):
            result[name] = Decision(Action.NOTHING, reason="the others have all slots")
    refused = [name for name, decision in decisions.items() if decision.action is Action.REFUSE]
    lacking = [name for name in groups if name in formed and decisions[name].action is not Action.NOTHING]
    for name, seen in groups.items():
        if name in formed or name in refused:
            continue
        members = tuple(each.member for each in seen)
        facts = {"hosts": ", ".join(each.host for each in seen)}
        if refused:
            others = " and ".join(refused)
            reason = f"nothing of its cluster is formed before {others} can be: {decisions[refused[0]].reason}"
            result[name] = Decision(Action.REFUSE, members, reason, "RS-071", facts)
        elif len(groups) < MASTERS:
            reason = f"{len(groups)} masters are too few: with one of them gone nobody could elect another."
            result[name] = Decision(Action.REFUSE, members, reason, "RS-072", facts)
        elif crowded := redis_home.astray(_home(each).rack for each in groups.values()):
            way = "Prefer leaders in more racks, or ask for another number of shards."
            reason = f"as placed {crowded}, and its loss would leave no majority."
            result[name] = Decision(Action.REFUSE, members, reason, "RS-017", {**facts, "way": way})
        elif lacking:
            reason = f"waits until {' and '.join(lacking)}, of the same cluster, is whole"
            result[name] = Decision(Action.WAIT, members, reason, "RS-068")
    return result


def shares(begun: Mapping[str, Mapping[str, Any] | None], formed: Collection[str]) -> dict[str, str | None]:
    """The slots that each group begins with, "0-5461"; None for one that joins a cluster which has them all.

    Args:
        begun: every group, in the order of their indices, with the intent that it was begun with, if it was.
        formed: those that were ever formed.

    A first formation that was cut short goes on with the same division. Where it was another one (shards were added
    meanwhile), the new ones begin without slots.
    """
    divided = dict(zip(begun, slot_ranges(len(begun)), strict=True))
    same = all(intent.get("slots") == divided[name] for name, intent in begun.items() if intent)
    return dict(divided) if same and not formed else dict.fromkeys(begun)


def dissolves(seen: Sequence[Observation]) -> bool:
    """Whether a group is to be no more: all its members leave, and nobody takes over from them."""
    return bool(seen) and all(each.leaving for each in seen)


def uneven(groups: Groups) -> str:
    """Why slots are to move, a clause: a group has more or less than its share. Nothing where all have theirs.

    Groups that dissolve are to have none, all others as many as each other, give or take one. Nothing is said before
    every group has a leader that tells.
    """
    slots = _slots(groups)
    staying = [name for name in groups if not dissolves(groups[name])]
    if None in slots.values() or not staying:
        return ""
    share = SLOTS // len(staying)
    wrong = [
        f"{name} has {own} slots of {share if name in staying else 0}"
        for name, own in slots.items()
        if own is not None and (not share <= own <= share + 1 if name in staying else own)
    ]
    return ", ".join(wrong)


def _slots(groups: Groups) -> dict[str, int | None]:
    """By group how many slots its leader tells; None where nobody does."""
    leaders = {name: _leader(seen) for name, seen in groups.items()}
    told = {name: _count(leader) if leader else None for name, leader in leaders.items()}
    if _rest_has_all(groups):
        told |= {name: told[name] or 0 for name, seen in groups.items() if dissolves(seen)}
    return told


def _rest_has_all(groups: Groups) -> bool:
    """Whether the groups that do not dissolve have all slots."""
    leaders = [_leader(seen) for seen in groups.values() if not dissolves(seen)]
    return sum(_count(leader) or 0 for leader in leaders if leader) == SLOTS


def _count(leader: Observation) -> int | None:
    """How many slots it tells that its group has."""
    ranges = leader.tells("slots")
    return None if ranges is None else count(ranges)


def shifted(before: int, after: int) -> int:
    """How many slots move where so many shards become so many."""
    even = [count([each]) for each in slot_ranges(max(before, after))]
    return sum(even[min(before, after) :])


def may_restart(groups: Groups, group: str, member: int) -> Verdict:
    """Whether the other groups allow a member to be restarted, whom its own group can spare.

    What is down anywhere must stand in this member's rack. All must be led, and by masters of whom no rack holds half:
    but for the member's own group, if the member is the one that had handed over for this.
    """
    own = next(seen for seen in groups[group] if seen.member == member)
    if own.state is not State.JOINED:
        return Verdict(True, f"{own} does not serve")
    down = [(name, seen) for name, seen in _all(groups) if seen is not own and seen.state is not State.JOINED]
    if elsewhere := [f"{seen} of {name}" for name, seen in down if seen.rack != own.rack or not own.rack]:
        return Verdict(False, f"{' and '.join(elsewhere)} not joined")
    racks = []
    for name, seen in groups.items():
        leader = own if name == group and own.preferred else _leader(seen)
        if leader is None:
            return Verdict(False, f"{name} has no leader")
        racks.append(leader.rack)
    crowded = redis_home.astray(racks)
    return Verdict(not crowded, crowded or f"the cluster can spare {own}")


def healthy(groups: Groups) -> Verdict:
    """Whether all groups are led, by masters of whom no rack holds half."""
    leaders = {name: _leader(seen) for name, seen in groups.items()}
    if leaderless := [name for name, leader in leaders.items() if leader is None]:
        return Verdict(False, f"{' and '.join(leaderless)} has no leader")
    crowded = redis_home.astray(leader.rack for leader in leaders.values() if leader)
    return Verdict(not crowded, crowded or f"no rack holds half of {len(leaders)} masters")


def homeward(groups: Groups) -> redis_home.Move | None:
    """The next leader that is to go home, by the same decision as that of the hosts themselves."""
    return redis_home.move([_shard(name, seen) for name, seen in groups.items()])


def _shard(name: str, seen: Sequence[Observation]) -> redis_home.Shard:
    leader = _leader(seen)
    in_sync = leader.tells("in_sync", ()) if leader else ()
    return redis_home.Shard(
        name,
        tuple(
            redis_home.Place(
                each.member, each.host, each.rack, each is _home(seen), each is leader,
                up=each.state is State.JOINED, in_sync=each.member in in_sync,
            )
            for each in seen
        ),
    )  # fmt: skip


def _home(seen: Sequence[Observation]) -> Observation:
    """The member that is to lead; where the placement prefers nobody, the first."""
    return min(seen, key=lambda each: (not each.preferred, each.member))


def _leader(seen: Sequence[Observation]) -> Observation | None:
    leaders = [each for each in seen if each.leads and each.state is State.JOINED]
    return leaders[0] if len(leaders) == 1 else None


def _all(groups: Groups) -> list[tuple[str, Observation]]:
    return [(name, seen) for name, those in groups.items() for seen in those]
