"""Groups that are one cluster: when nothing of it may be formed, who may be restarted, and who goes home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils import spanning
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import (
    Action,
    Observation,
    State,
    decide,
)
from hypothesis import given, settings
from hypothesis import strategies as st

REDIS = SERVICES["redis"]
assert REDIS.spans
J, E = "joined", "empty"


def shard(home: int, *states: str, leader: int | None = None, racks: int = 3) -> list[Observation]:
    """A shard with its home in a rack, a member a rack, in these states; led by its home, or by `leader`."""
    leads = home if leader is None else leader
    count = len(states)
    return [
        Observation(
            member=number, host=f"h{number}", rack=f"rack{number}", preferred=number == home, state=State(state),
            running=state == J, staged="v1",
            live={
                "role": "leader" if number == leads else "follower", "in_sync": [*range(1, count + 1)],
                "members": [*range(1, count + 1)], "healthy": True,
            } if state == J else None,
        )
        for number, state in enumerate(states, 1)
    ]  # fmt: skip


def groups(*shards: list[Observation]) -> dict[str, list[Observation]]:
    return {f"redis_shard{number}": seen for number, seen in enumerate(shards, 1)}


def steps(seen: Mapping[str, list[Observation]], formed: set[str]) -> dict[str, tuple[str, str | None]]:
    """What is decided for each group: the step and its code."""
    alone = {name: decide(name, those, name in formed, REDIS) for name, those in seen.items()}
    return {name: (each.action.value, each.code) for name, each in spanning.together(alone, seen, formed).items()}


def all_of(seen: Mapping[str, Any], step: str, code: str | None = None) -> dict[str, tuple[str, str | None]]:
    return dict.fromkeys(seen, (step, code))


# Formation


def test_all_shards_of_blank_members_are_formed_together() -> None:
    blank = groups(*(shard(home, E, E, E) for home in (1, 2, 3)))
    assert steps(blank, set()) == all_of(blank, "form")


@pytest.mark.parametrize("state", ["unreachable", "foreign", "unmounted", "leftovers"])
def test_one_member_that_can_not_be_taken_keeps_every_shard_from_being_formed(state: str) -> None:
    seen = groups(shard(1, E, E, E), shard(2, E, state, E), shard(3, E, E, E))
    found = steps(seen, set())
    assert found["redis_shard2"][0] == "refuse"
    assert found["redis_shard1"] == found["redis_shard3"] == ("refuse", "RS-071")


@settings(deadline=None, derandomize=True)
@given(states=st.lists(st.sampled_from(list(State)), min_size=9, max_size=9), formed=st.sets(st.integers(1, 3)))
def test_nothing_is_formed_beside_what_is_refused_nor_over_what_was_formed(
    states: list[State], formed: set[int]
) -> None:
    seen = groups(*(shard(n, *(state.value for state in states[3 * n - 3 : 3 * n])) for n in (1, 2, 3)))
    names = {f"redis_shard{n}" for n in formed}
    alone = {name: decide(name, those, name in names, REDIS) for name, those in seen.items()}
    for name, decision in spanning.together(alone, seen, names).items():
        if decision.action is Action.FORM:
            assert name not in names
            assert all(each.state in (State.EMPTY, State.HALF_FORMED) for each in seen[name])
            assert not [other for other in alone.values() if other.action is Action.REFUSE]
        elif name in names:
            assert decision == alone[name], "those that live go their own way"


@pytest.mark.parametrize("masters", [1, 2])
def test_fewer_than_three_masters_are_refused(masters: int) -> None:
    seen = groups(*(shard(home, E, E, E) for home in range(1, masters + 1)))
    assert steps(seen, set()) == all_of(seen, "refuse", "RS-072")


def test_masters_that_a_rack_would_take_the_majority_of_are_refused() -> None:
    four = groups(*(shard(home, E, E, E) for home in (1, 2, 3, 1)))
    assert steps(four, set()) == all_of(four, "refuse", "RS-017")
    living = {**groups(*(shard(home, J, J, J) for home in (1, 2, 3))), "redis_shard4": shard(1, E, E, E)}
    assert steps(living, {"redis_shard1", "redis_shard2", "redis_shard3"})["redis_shard4"] == ("refuse", "RS-017")


def test_a_new_shard_waits_for_a_cluster_that_is_whole() -> None:
    formed = {"redis_shard1", "redis_shard2", "redis_shard3"}
    whole = groups(*(shard(home, J, J, J) for home in (1, 2, 3)), shard(1, E, E, E), shard(2, E, E, E))
    assert steps(whole, formed)["redis_shard4"] == ("form", None)
    whole["redis_shard2"] = shard(2, J, J, "stopped")
    found = steps(whole, formed)
    assert found["redis_shard2"][0] == "start"
    assert found["redis_shard4"] == ("wait", "RS-068")


def test_a_shard_that_is_refused_does_not_stop_those_that_live() -> None:
    seen = groups(shard(1, J, J, "unreachable"), shard(2, J, J, E), shard(3, J, J, J))
    found = steps(seen, set(seen))
    assert [step for step, _code in found.values()] == ["refuse", "join", "nothing"]


# Slots


def intent(slots: str | None) -> dict[str, Any]:
    return {"formation_id": "f", "slots": slots}


RANGES = {"a": "0-5461", "b": "5462-10922", "c": "10923-16383"}


def test_the_slots_are_shared_by_the_first_formation() -> None:
    assert spanning.shares({"a": None, "b": None, "c": None}, ()) == RANGES


def test_a_formation_that_was_cut_short_goes_on_with_the_same_shares() -> None:
    assert spanning.shares({"a": intent(RANGES["a"]), "b": None, "c": intent(RANGES["c"])}, ()) == RANGES


def test_shards_that_come_later_begin_without_slots() -> None:
    begun = {name: intent(slots) for name, slots in RANGES.items()}
    assert spanning.shares({**begun, "d": None}, ())["d"] is None, "added while the first formation was cut short"
    assert spanning.shares({"a": None, "b": None, "c": None, "d": None}, ("a", "b", "c"))["d"] is None


# Roll


def whole() -> dict[str, list[Observation]]:
    return groups(*(shard(home, J, J, J) for home in (1, 2, 3)))


def test_a_member_of_a_whole_cluster_can_be_spared() -> None:
    assert spanning.may_restart(whole(), "redis_shard1", 2)
    assert spanning.healthy(whole())


def test_what_is_down_in_another_shard_must_stand_in_the_same_rack() -> None:
    seen = whole()
    seen["redis_shard2"] = shard(2, J, J, "formed")
    assert not spanning.may_restart(seen, "redis_shard1", 2)
    assert spanning.may_restart(seen, "redis_shard1", 3)
    assert spanning.may_restart(seen, "redis_shard2", 3), "what does not serve can't be missed"


def test_nobody_is_spared_while_a_rack_holds_half_of_the_masters() -> None:
    seen = whole()
    seen["redis_shard1"] = shard(1, J, J, J, leader=2)
    verdict = spanning.may_restart(seen, "redis_shard3", 1)
    assert not verdict
    assert "rack2 holds 2 of 3 masters" in verdict.reason
    assert not spanning.may_restart(seen, "redis_shard1", 3), "not in its own shard either"
    assert spanning.may_restart(seen, "redis_shard1", 1), "but the one that has handed over for its restart"
    assert not spanning.healthy(seen)


def test_nobody_is_spared_while_a_shard_has_no_leader() -> None:
    seen = whole()
    seen["redis_shard2"] = shard(2, J, J, J, leader=0)
    assert not spanning.may_restart(seen, "redis_shard1", 2)
    assert not spanning.healthy(seen)


def test_a_leader_goes_home_when_its_home_is_back_in_sync() -> None:
    seen = whole()
    assert spanning.homeward(seen) is None
    seen["redis_shard1"] = shard(1, J, J, J, leader=2)
    step = spanning.homeward(seen)
    assert step
    assert (step.shard, step.leader.member, step.target.member) == ("redis_shard1", 2, 1)
    seen["redis_shard1"] = shard(1, "formed", J, J, leader=2)
    assert spanning.homeward(seen) is None
    assert not spanning.healthy(seen)


# Slots that move


def ranges(count: int | None) -> list[str] | None:
    """So many slots."""
    return [f"0-{count - 1}"] if count else None if count is None else []


def sharing(*slots: int | None, leaving: tuple[int, ...] = ()) -> dict[str, list[Observation]]:
    """Shards whose leaders tell so many slots; those whose numbers are `leaving` are to be no more."""
    found = {}
    for number, count in enumerate(slots, 1):
        seen = shard((number - 1) % 3 + 1, J, J, J)
        told = [
            replace(each, live={**each.live, "slots": ranges(count) if each.leads else None})
            for each in seen
            if each.live
        ]
        if number in leaving:
            told = [replace(each, leaving=True, preferred=False) for each in told]
        found[f"redis_shard{number}"] = told
    return found


@pytest.mark.parametrize(
    ("slots", "leaving", "told"),
    [
        ((5462, 5461, 5461), (), ""),
        ((5461, 5461, 5462), (), ""),
        ((5462, 5461, 5461, 0, 0), (), "redis_shard4 has 0 slots of 3276"),
        ((3277, 3277, 3277, 3277, 3276), (), ""),
        ((3277, 3277, 3277, 3276, 3277), (4, 5), "redis_shard5 has 3277 slots of 0"),
        ((5462, 5461, 5461, 0, 0), (4, 5), ""),
        ((5462, 5461, 5461, None), (4,), ""),  # it has stopped already
        ((5462, 5461, None), (), ""),
        ((5462, 5461, 5461, None), (), ""),
    ],
)
def test_slots_move_until_all_that_stay_have_as_many(
    slots: tuple[int | None, ...], leaving: tuple[int, ...], told: str
) -> None:
    reason = spanning.uneven(sharing(*slots, leaving=leaving))
    assert told in reason
    assert bool(told) == bool(reason)


def test_no_slot_moves_while_a_shard_has_no_leader() -> None:
    seen = sharing(5462, 5461, 5461, 0)
    seen["redis_shard2"] = shard(2, J, J, J, leader=0)
    assert spanning.uneven(seen) == ""


def test_what_has_stopped_of_a_shard_that_goes_is_not_started_once_it_has_nothing() -> None:
    def decided(seen: Mapping[str, list[Observation]]) -> str:
        halted = [replace(each, state=State.STOPPED, running=False, live=None) for each in seen["redis_shard4"]]
        seen = {**seen, "redis_shard4": halted}
        return steps(seen, set(seen))["redis_shard4"][0]

    assert decided(sharing(4096, 4096, 4096, 4096, leaving=(4,))) == "start"
    assert decided(sharing(5462, 5461, 5461, 0, leaving=(4,))) == "nothing"
    assert decided(sharing(5462, 5461, 5461, 0)) == "start"


@pytest.mark.parametrize(("before", "after", "moved"), [(3, 5, 6553), (5, 3, 6553), (3, 3, 0), (5, 6, 2730)])
def test_how_many_slots_move_is_told_before(before: int, after: int, moved: int) -> None:
    assert spanning.shifted(before, after) == moved
