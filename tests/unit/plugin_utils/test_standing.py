# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a site stands: what ails it, who leads, what it would survive."""

from __future__ import annotations

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.looking import Seen
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing, exposition, told
from small_site import redis, standing

RACKS = ("rack1", "rack2", "rack3")


def test_a_whole_site_has_no_ailment_and_survives_each_rack() -> None:
    assert standing().ailments() == []
    assert standing().survives(RACKS) == {rack: [] for rack in RACKS}


def test_each_group_that_is_not_whole_is_named() -> None:
    assert standing("r3h1").ailments() == [
        "member 3 on r3h1 of etcd_voter1 is stopped",
        "member 3 on r3h1 of postgres_shard1 is stopped",
    ]
    (haproxy, keepalived) = standing("r2h1").ailments()[2:]
    assert haproxy == "haproxy: member 2 on r2h1 of edge_balancer1 is stopped"
    assert keepalived.startswith("keepalived: ")


@pytest.mark.parametrize(("holders", "words"), [((), "no balancer"), ((1, 2), "r1h1 and r2h1")])
def test_a_virtual_address_is_on_one_balancer(holders: tuple[int, ...], words: str) -> None:
    assert standing(holders=holders).ailments() == [f"the virtual address is on {words}"]


def test_who_leads() -> None:
    found = standing(leader=2, holders=(1,))
    assert (found.leader("postgres_shard1") or found).host == "r2h1"
    assert (found.leader("edge_balancer1") or found).host == "r1h1"
    assert standing(leader=9).leader("postgres_shard1") is None
    assert standing(holders=(1, 2)).leader("edge_balancer1") is None


def test_with_a_rack_away_no_other_can_be_spared_where_a_majority_or_a_copy_would_go() -> None:
    survived = standing("r3h1").survives(RACKS)
    assert survived["rack3"] == []  # it is out already
    for rack in ("rack1", "rack2"):
        (quorum,) = survived[rack]
        assert quorum == (
            "etcd_voter1 would lose its quorum: 1 of the 2 members that serve would be left, and it needs 2"
        )


def test_a_copy_that_is_behind_is_no_copy() -> None:
    survived = standing(in_sync=(1,)).survives(RACKS)
    assert survived["rack1"] == [
        "postgres_shard1 would lose its data: 0 of the 1 members that serve would be left, and it needs 1"
    ]
    assert survived["rack2"] == survived["rack3"] == []


def test_the_last_balancer_is_missed() -> None:
    survived = standing("r2h1").survives(RACKS)
    assert any(sentence.startswith("edge_balancer1 would lose its service") for sentence in survived["rack1"])


def redis_led_by(*leaders: int) -> Standing:
    """Three shards of Redis, all members joined and in sync, led by these members."""
    shards = {key: group for key, group in redis().items() if group["component"] == "shard"}
    seen: Seen = {
        ("redis", key): [
            Observation(
                one["id"], one["host"], rack=one["rack"], preferred=one["leader"], state=State.JOINED,
                live={"role": "leader" if one["id"] == leader else "follower", "in_sync": [1, 2, 3]},
            )
            for one in group["members"]
        ]
        for (key, group), leader in zip(shards.items(), leaders, strict=True)
    }  # fmt: skip
    return Standing(shards, seen)


def test_a_rack_that_holds_half_of_the_masters_is_an_ailment_and_its_loss_would_stop_them_all() -> None:
    assert redis_led_by(1, 2, 3).ailments() == []
    assert redis_led_by(1, 2, 3).survives(RACKS) == {rack: [] for rack in RACKS}
    astray = redis_led_by(2, 2, 3)
    assert astray.ailments() == ["rack2 holds 2 of 3 masters"]
    assert {rack: bool(why) for rack, why in astray.survives(RACKS).items()} == {
        "rack1": False, "rack2": True, "rack3": False,
    }  # fmt: skip
    assert redis_led_by(1, 2, 9).ailments() == ["redis_shard3 has no leader"]


def test_what_is_stopped_already_survives_no_rack() -> None:
    survived = standing("r1h1", "r2h1").survives(RACKS)
    for rack in RACKS:
        assert "etcd_voter1 is stopped already: 1 of its members serve, and it needs 2" in survived[rack]


def test_leaders_are_at_home_and_etcd_leads_apart_from_them() -> None:
    preferred = standing(preferred=1)
    assert preferred.displaced() == [
        "r1h1 leads etcd in rack1, where a leader of a shard is; in rack2 no leader of a shard is"
    ]
    assert standing(leader=2, preferred=1).displaced()[0] == "postgres_shard1 is led on r2h1, and r1h1 is its home"
    assert standing(leader=9, preferred=1).displaced() == []


def test_it_is_told_to_prometheus() -> None:
    text = exposition({"rack1": [], "rack2": ["why"]}, ["one"], {"etcd": 29}, 1700000000.4)
    assert 'rackspread_rack_survives{rack="rack1"} 1\n' in text
    assert 'rackspread_rack_survives{rack="rack2"} 0\n' in text
    assert "\nrackspread_ailments 1\n" in text
    assert 'rackspread_certificate_days{service="etcd"} 29\n' in text
    assert text.endswith("rackspread_status_timestamp_seconds 1700000000\n")


def test_it_is_told_to_people() -> None:
    assert told({"rack1": []}, []) == "All groups are whole.\nrack1: its loss would be survived"
    assert told({"rack1": ["why"]}, ["one"]) == "Not whole:\n  one\nrack1: its loss would stop something\n  why"
