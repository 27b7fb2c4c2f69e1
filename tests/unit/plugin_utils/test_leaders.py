"""Where etcd's leader had better be."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.action.etcd_leader import racks_led
from ansible_collections.rackspread.ha.plugins.plugin_utils.leaders import better

VOTERS = [{"id": number, "host": f"r{number}h3", "rack": f"rack{number}"} for number in (1, 2, 3)]


def said(leader: int | None, sick: int | None = None) -> dict[int, dict[str, Any]]:
    return {
        each["id"]: {"healthy": each["id"] != sick, "role": "leader" if each["id"] == leader else "follower"}
        for each in VOTERS
    }


@pytest.mark.parametrize(
    ("leader", "racks", "target"),
    [
        (3, ["rack1", "rack2"], None),  # apart already
        (1, ["rack1", "rack2"], 3),
        (2, ["rack1", "rack2"], 3),
        (1, ["rack1"], 2),  # two free racks: the first
        (1, ["rack2"], None),
        (1, ["rack1", "rack1", "rack2", "rack3"], 2),  # nowhere free: where the fewest are
        (2, ["rack1", "rack2", "rack3"], None),  # the same everywhere
        (2, [], None),
    ],
)
def test_the_leader_goes_where_fewest_shards_are_led(leader: int, racks: list[str], target: int | None) -> None:
    move = better(VOTERS, said(leader), racks)
    assert (move and (move.leader, move.target)) == (target and (leader, target))


def test_the_reason_names_host_and_racks() -> None:
    move = better(VOTERS, said(1), ["rack1", "rack1", "rack2"])
    assert move
    assert move.reason == (
        "r1h3 leads etcd in rack1, where 2 leaders of shards are; in rack3 no leader of a shard is"
    )


@pytest.mark.parametrize("sick", [1, 2, 3])
def test_an_etcd_that_is_not_whole_is_left_alone(sick: int) -> None:
    assert better(VOTERS, said(1, sick), ["rack1"]) is None


def test_a_voter_that_was_not_seen_counts_as_sick() -> None:
    seen = said(1)
    del seen[3]
    assert better(VOTERS, seen, ["rack1"]) is None


@pytest.mark.parametrize("leader", [None, 0])
def test_without_a_leader_there_is_nothing_to_move(leader: int | None) -> None:
    assert better(VOTERS, said(leader), ["rack1"]) is None


def test_two_that_both_say_they_lead_are_left_alone() -> None:
    seen = said(1)
    seen[2]["role"] = "leader"
    assert better(VOTERS, seen, ["rack1", "rack2"]) is None


def test_a_shard_counts_in_the_rack_of_the_host_that_patroni_names() -> None:
    members = [{"host": f"r{rack}h1", "rack": f"rack{rack}"} for rack in (1, 2)]
    shards = [{"name": f"postgres_shard{index}", "members": members} for index in (1, 2, 3)]
    leaders = {"postgres_shard1": "r2h1", "postgres_shard3": "gone", "other": "r1h1"}
    assert racks_led(shards, leaders) == ["rack2"]
