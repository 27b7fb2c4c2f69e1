# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a target is on a site, and what is told before it is hit."""

from __future__ import annotations

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.aims import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.faults import FAULTS, describe, same
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from small_site import site, standing

SHARD = "postgres_shard1"


def units(word: str, group: str = SHARD) -> dict[str, list[str]]:
    aim = site().aim(word, group, standing(leader=2))
    return {host: [unit.name for unit in those] for host, those in aim.units.items()}


def test_a_leader_is_its_members_units_and_a_host_all_that_are_on_it() -> None:
    assert units("leader") == {"r2h1": ["rackspread-postgres-shard1"]}
    everything = [
        "rackspread-etcd-voter1", "rackspread-postgres-shard1", "rackspread-edge-balancer1-haproxy",
        "rackspread-edge-balancer1-keepalived",
    ]  # fmt: skip
    assert units("host") == units("r2h1") == {"r2h1": everything}
    assert units("rack") == units("rack2") == {"r2h1": everything}
    assert units("etcd_voter1/3") == {"r3h1": ["rackspread-etcd-voter1"]}
    assert units("vip") == {"r1h1": everything[2:]}


def test_a_rack_is_all_its_hosts_and_has_units_only_where_members_are() -> None:
    aim = site().aim("rack1", SHARD, standing())
    assert (aim.hosts, aim.rack, aim.place) == (("r1h1", "r1h2"), "rack1", "rack1")
    assert list(aim.units) == ["r1h1"]
    assert [unit.data for unit in aim.units["r1h1"]] == ["/srv/etcd_voter1", "/srv/postgres_shard1", None, None]


def test_labels_say_what_it_is_now() -> None:
    for word, label in {
        "leader": "the leader of postgres_shard1 (member 2 on r2h1)",
        "host": "r2h1, where postgres_shard1 is led",
        "rack": "rack2, where postgres_shard1 is led",
        "rack3": "rack3",
        "etcd_voter1/3": "member 3 of etcd_voter1 on r3h1",
    }.items():
        assert site().aim(word, SHARD, standing(leader=2)).label == label


@pytest.mark.parametrize("word", ["rack9", "r1h9", "etcd_voter1/7", "etcd_voter2/1", ""])
def test_what_is_not_there_is_refused_with_what_is(word: str) -> None:
    with pytest.raises(Refusal, match=r"RS-101: There is no target .*leader, host, rack, vip, racks.*rack1, rack2"):
        site().aim(word, SHARD, standing())


def test_without_a_leader_nothing_is_aimed_at_it() -> None:
    with pytest.raises(Refusal, match="RS-102: Nobody leads postgres_shard1"):
        site().aim("leader", SHARD, standing(leader=9))


def test_the_group_that_is_meant() -> None:
    assert site().led("etcd", None) == "etcd_voter1"
    with pytest.raises(Refusal, match=r"RS-101: This site has no kafka\. It has: etcd, postgres, edge"):
        site().led("kafka", None)
    with pytest.raises(Refusal, match="RS-101: postgres has no group 'postgres_shard7'"):
        site().led("postgres", "postgres_shard7")


def test_brokers_of_kafka_have_no_leader_and_the_active_controller_is_meant() -> None:
    names = "broker", "controller"
    groups = {f"kafka_{name}1": {"service": "kafka", "component": name, "members": []} for name in names}
    own = Site({**site().topology, "groups": groups}, [])
    assert own.led("kafka", None) == "kafka_controller1"
    assert own.led("kafka", "kafka_broker1") == "kafka_broker1"


def test_what_will_be_done_is_said() -> None:
    aim = site().aim("leader", SHARD, standing())
    assert describe("postgres", aim, FAULTS["freeze"], 45) == [
        "Drill of postgres: freeze of the leader of postgres_shard1 (member 1 on r1h1)",
        "  all processes of rackspread-postgres-shard1 on r1h1 stand still, their connections open.",
        "  It is ended once clients are served again, after 45 s at most.",
        "  It ends by itself, should this controller be lost meanwhile.",
    ]
    assert describe("postgres", aim, FAULTS["kill"], 45)[1:] == [
        "  SIGKILL to the processes of rackspread-postgres-shard1 on r1h1."
    ]
    assert "of r1h1, but ssh" in describe("postgres", aim, FAULTS["blackhole"], 45)[1]


def test_a_leader_and_its_host_are_the_same_to_what_hits_hosts() -> None:
    leader, host, rack = (site().aim(word, SHARD, standing()) for word in ("leader", "host", "rack"))
    assert same(leader, FAULTS["blackhole"]) == same(host, FAULTS["blackhole"]) != same(rack, FAULTS["blackhole"])
    assert same(leader, FAULTS["kill"]) != same(host, FAULTS["kill"])
