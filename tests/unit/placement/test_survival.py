"""What a placement survives, how good it is, and Redis' slots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.spread import (
    rack_bounds,
    rack_spread,
    rack_survives,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.survival import SLOTS, slot_ranges
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.text import tell_bounds, tell_survival
from hypothesis import given
from hypothesis import strategies as st

Plan = Callable[..., Site]


def groups(*placed: str) -> list[dict[str, Any]]:
    """Groups of members: `a1 b1 c1` is one on the first hosts of racks a, b and c, led by the first."""
    return [
        {
            "name": f"group{n}",
            "members": [{"host": host, "rack": host[0], "leader": not at} for at, host in enumerate(hosts.split())],
        }
        for n, hosts in enumerate(placed, 1)
    ]


def test_three_voters_on_three_racks_survive_a_rack_and_not_a_host_beside_it() -> None:
    found = rack_survives(groups("a1 b1 c1"), votes=True)
    assert (found["host"]["survives"], found["rack"]["survives"]) == (True, True)
    assert found["rack_and_host"]["lost"] == [
        {"name": "group1", "without": ["a", "b1"], "loses": "quorum", "left": 1, "of": 3},
        {"name": "group1", "without": ["b", "a1"], "loses": "quorum", "left": 1, "of": 3},
        {"name": "group1", "without": ["c", "a1"], "loses": "quorum", "left": 1, "of": 3},
    ]
    assert found["witness"] == []
    assert rack_survives(groups("a1 b1 c1"))["rack_and_host"]["survives"]


@pytest.mark.parametrize(("placed", "need"), [("a1 a2 b1", "a member"), ("a1 b1", "2 members"), ("a1 a2 b1 b2", "2 ")])
def test_voters_on_two_racks_need_a_witness_elsewhere(placed: str, need: str) -> None:
    found = rack_survives(groups(placed), votes=True)
    assert not found["rack"]["survives"]
    (said,) = found["witness"]
    assert f"it needs {need}" in said
    assert "in a third place, outside of a and b" in said
    assert tell_survival(found).endswith(said)


def test_four_voters_on_three_racks_and_four_masters_are_named() -> None:
    found = rack_survives(groups("a1 a2 b1 c1"), votes=True)
    assert found["rack"]["lost"] == [{"name": "group1", "without": ["a"], "loses": "quorum", "left": 2, "of": 4}]
    masters = groups("a1 b1 c1", "b1 c1 a1", "c1 a1 b1", "a1 b1 c1")
    assert rack_survives(masters)["rack"]["survives"]
    assert rack_survives(masters, leaders_vote=True)["rack"]["lost"] == [
        {"name": "the leadership", "without": ["a"], "loses": "a majority", "left": 2, "of": 4}
    ]


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=7), st.booleans())
def test_it_says_what_trying_every_loss_says(racks: list[str], votes: bool) -> None:
    names = [f"{rack}{at}" for at, rack in enumerate(racks)]
    found = rack_survives(groups(" ".join(names)), votes=votes)

    def stands(gone: set[str]) -> bool:
        left = len(set(names) - gone)
        return 2 * left > len(names) if votes else left > 0

    of_rack = {rack: {name for name in names if name[0] == rack} for rack in "abcd"}
    assert found["host"]["survives"] == all(stands({name}) for name in names)
    assert found["rack"]["survives"] == all(map(stands, of_rack.values()))
    both = [of_rack[rack] | {name} for rack in "abcd" for name in [*names, ""]]
    assert found["rack_and_host"]["survives"] == all(map(stands, both))
    for event in ("host", "rack", "rack_and_host"):
        for loss in found[event]["lost"]:
            gone = {name for part in loss["without"] for name in of_rack.get(part, {part})}
            assert not stands(gone)
            assert loss["left"] == len(set(names) - gone)


def test_the_whole_picture_survives_any_rack(plan: Plan, target: dict[str, Any]) -> None:
    survival = plan(target).survival()
    assert survival["host"]["survives"]
    assert survival["rack"]["survives"]
    assert survival["witness"] == []
    told = tell_survival(survival).split("\n")
    assert told[:2] == [
        "The loss of any one host: everything goes on.",
        "The loss of any one rack: everything goes on.",
    ]
    assert told[2].startswith("The loss of any one rack and any host beside it can stop ")
    assert "  edge_balancer1 loses service: 0 of 2 left without rack1 and r3h1" in told


def test_new_placements_are_as_good_as_can_be(plan: Plan, target: dict[str, Any]) -> None:
    for racks in [(3, 3, 3), (4, 2, 1), (2, 2, 2, 2), (1, 1, 5)]:
        assert all(row["optimal"] is not False for row in plan(target, racks).bounds())


def test_what_grew_is_beside_what_could_be(plan: Plan) -> None:
    services = {"postgres": {"shards": 4}}
    lock = merge(Lock(), plan(services, (1, 1, 1)).placement)
    grown = plan(services, (2, 2, 2), lock)
    rows = {(row["component"], row["what"]): row for row in grown.bounds()}
    assert rows["postgres_shard", "members of a host"] == {
        "component": "postgres_shard",
        "what": "members of a host",
        "achieved": [0, 4],
        "best": [2, 2],
        "optimal": False,
    }
    assert rows["postgres_shard", "leaders of a rack"]["optimal"]
    told = tell_bounds(grown.bounds(), grown.placement.moves)
    (line,) = (line for line in told.split("\n") if line.startswith("postgres_shard "))
    assert " ".join(line.split()) == "postgres_shard 1 0 to 4, could be 2 (!) 1 to 2 0 to 2, could be 0 to 1 (!) 4"
    moved = grown.moved(None)
    assert moved.placement.moves["postgres_shard"] == (6, 6)
    assert all(row["optimal"] is not False for row in moved.bounds())
    assert "postgres_shard: 6 members move, and no way to the best needs fewer than 6." in tell_bounds(
        moved.bounds(), moved.placement.moves
    )
    assert grown.moved(2).placement.moves["postgres_shard"] == (2, 6)


def test_the_filters_for_other_inventories() -> None:
    there = {f"rack{r}": [f"{r}h{h}" for h in (1, 2, 3)] for r in (1, 2, 3)}
    few = {name: hosts[:1] for name, hosts in there.items()}
    before = rack_spread(few, groups=3, members=3)
    rows = {row["what"]: row for row in rack_bounds(before, there)}
    assert rows["members of a host"] == {
        "what": "members of a host",
        "achieved": [0, 3],
        "best": [1, 1],
        "optimal": False,
    }
    after = rack_spread(there, groups=3, members=3, previous=before, rebalance=True)
    assert all(row["optimal"] is not False for row in rack_bounds(after, there))
    some = rack_spread(there, groups=3, members=3, previous=before, rebalance=True, moves=2)
    assert sum(a != b for x, y in zip(before, some, strict=True) for a, b in newcomers(x, y)) == 2


def newcomers(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[bool, bool]]:
    """Which hosts of a group were there, and are: (was, is) for each that is new."""
    was = {member["host"] for member in old["members"]}
    return [(False, True) for member in new["members"] if member["host"] not in was]


@pytest.mark.parametrize("masters", [1, 2, 3, 5, 7, 1000, SLOTS])
def test_slots_are_shared_without_a_gap(masters: int) -> None:
    ranges = [tuple(map(int, text.split("-"))) for text in slot_ranges(masters)]
    assert [slot for first, last in ranges for slot in range(first, last + 1)] == list(range(SLOTS))
    sizes = {last - first for first, last in ranges}
    assert len(ranges) == masters
    assert max(sizes) - min(sizes) <= 1


def test_slots_of_three_masters() -> None:
    assert slot_ranges(3) == ["0-5461", "5462-10922", "10923-16383"]
    for wrong in (0, SLOTS + 1):
        with pytest.raises(ValueError, match="can't share 16384 slots"):
            slot_ranges(wrong)
