"""Where replicas go: over racks, on as few moves as that needs, evenly, and evenly led."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_assignment import assign, moves
from hypothesis import given, settings
from hypothesis import strategies as st

THREE = {1: "a", 2: "b", 3: "c"}
SIX = {1: "a", 2: "b", 3: "c", 4: "a", 5: "b", 6: "c"}


def topic(*replicas: list[int]) -> dict[tuple[str, int], list[int]]:
    return {("t", index): each for index, each in enumerate(replicas)}


def test_what_is_right_stays() -> None:
    has = topic([1, 2, 3], [2, 3, 1], [3, 1, 2])
    assert assign(has, THREE) == has


def test_replicas_that_share_a_rack_are_moved_apart_and_no_others() -> None:
    has = topic([1, 4, 2], [2, 6, 1])
    wanted = assign(has, SIX)
    assert {SIX[broker] for broker in wanted["t", 0]} == {"a", "b", "c"}
    assert moves(has, wanted) == 1


def test_a_broker_is_drained() -> None:
    has = topic([1, 2, 3], [2, 3, 1])
    wanted = assign(has, SIX, drained=[3])
    assert all(3 not in brokers for brokers in wanted.values())
    assert all(6 in brokers for brokers in wanted.values())
    assert moves(has, wanted) == 2
    with pytest.raises(ValueError, match="3 replicas, and 2 brokers"):
        assign(has, THREE, drained=[3])


def test_new_brokers_get_their_share() -> None:
    has = topic(*[[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 3, 2]])
    assert moves(has, assign(has, SIX)) == 0, "not unasked"
    wanted = assign(has, SIX, even=True)
    assert set(Counter(broker for brokers in wanted.values() for broker in brokers).values()) == {2}
    assert moves(has, wanted) == 6


def test_leaders_are_spread_without_a_copy() -> None:
    has = topic(*[[1, 2, 3]] * 6)
    wanted = assign(has, THREE)
    assert moves(has, wanted) == 0
    assert Counter(brokers[0] for brokers in wanted.values()) == {1: 2, 2: 2, 3: 2}


def test_more_replicas_are_added() -> None:
    has = topic([1], [2])
    wanted = assign(has, THREE, replicas={"t": 3})
    assert all(sorted(brokers) == [1, 2, 3] for brokers in wanted.values())
    assert [brokers[0] for brokers in wanted.values()] == [1, 2]


@st.composite
def sites(draw: Any) -> tuple[dict[int, str], dict[tuple[str, int], list[int]], list[int]]:
    brokers = list(range(1, draw(st.integers(2, 8)) + 1))
    racks = {broker: draw(st.sampled_from("abcd")) for broker in brokers}
    count = draw(st.integers(1, min(4, len(brokers))))
    parts = draw(st.lists(st.permutations([*brokers, 99]).map(lambda each: each[:count]), min_size=1, max_size=8))
    drained = draw(st.lists(st.sampled_from(brokers), unique=True, max_size=len(brokers) - count))
    return racks, topic(*parts), drained


@settings(deadline=None, derandomize=True)
@given(sites())
def test_no_rack_has_more_than_the_racks_force(site: Any) -> None:
    racks, has, drained = site
    wanted = assign(has, racks, drained)
    left = {broker: rack for broker, rack in racks.items() if broker not in drained}
    sizes = Counter(left.values())
    for part, brokers in wanted.items():
        assert len(set(brokers)) == len(brokers) == len(has[part])
        assert set(brokers) <= set(left)
        used = Counter(dict.fromkeys(sizes, 0))
        used.update(left[broker] for broker in brokers)
        for rack, size in sizes.items():  # no rack with room has two fewer than another has
            if used[rack] < size:
                assert max(used.values()) - used[rack] <= 1
    assert assign(wanted, racks, drained) == wanted, "once done, it is done"
    level = assign(has, racks, drained, even=True)
    assert assign(level, racks, drained, even=True) == level


@settings(deadline=None, derandomize=True)
@given(sites())
def test_leaders_are_as_even_as_one_change_can_make_them(site: Any) -> None:
    racks, has, drained = site
    wanted = assign(has, racks, drained)
    led = Counter(dict.fromkeys(racks, 0))
    led.update(brokers[0] for brokers in wanted.values())
    for brokers in wanted.values():
        assert led[brokers[0]] - min(led[broker] for broker in brokers) < 2
