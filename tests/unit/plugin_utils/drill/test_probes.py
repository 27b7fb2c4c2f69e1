# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients count in a drill, and what they are told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.probes import Access, probes_of
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from small_site import VIP, redis, topology

ACCESS = Access(
    lambda: {"user": "u", "database": "d", "password": "hidden"},
    lambda service: f"CA of {service}",
    lambda service, name: f"hidden {name} of {service}",
)


def test_postgres_is_written_through_the_published_endpoint_and_the_address_knocked_at() -> None:
    postgres, edge = probes_of("postgres", topology(), ACCESS)
    assert postgres.settings["targets"] == {
        "postgres_shard1": {"write": {"host": VIP, "port": 5432}, "read": {"host": VIP, "port": 6432}}
    }
    assert postgres.settings["connect"]["sslmode"] == "verify-full"
    assert postgres.settings["connect"]["sslrootcert"].endswith("/ca.crt")
    assert postgres.texts == {"ca.crt": "CA of postgres"}
    assert (edge.service, edge.settings["targets"]) == ("edge", {VIP: {"knock": {"host": VIP, "port": 7000}}})


def with_redis(**settings: Any) -> dict[str, Any]:
    site = topology(**settings)
    return {**site, "groups": {**site["groups"], **redis()}}


def test_redis_is_written_to_every_shard_by_proxies_at_the_nodes_and_with_copies_waited_for() -> None:
    probe, _edge = probes_of("redis", with_redis(), ACCESS)
    targets = probe.settings["targets"]
    assert list(targets) == [
        f"redis_shard{number} by {way}" for number in (1, 2, 3) for way in ("proxy", "node", "node, WAIT 1")
    ]
    assert targets["redis_shard2 by proxy"]["write"] == {"slots": ["5462-10922"], "proxies": [[VIP, 6379]]}
    assert targets["redis_shard3 by node"]["read"] == {"slots": ["10923-16383"]}
    assert targets["redis_shard1 by node, WAIT 1"] == {"write": {"slots": ["0-5461"], "wait": 1}}
    assert probe.settings["nodes"][:4] == [
        ["192.0.2.1", 16379], ["192.0.2.2", 16379], ["192.0.2.3", 16379], ["192.0.2.1", 16380],
    ]  # fmt: skip
    assert probe.secrets == {"password": "hidden application of redis"}
    assert probe.texts == {"ca.crt": "CA of redis"}


def test_kafka_is_written_to_a_partition_a_broker_and_read_by_a_group() -> None:
    site = topology(vips=False)
    members = [{"id": n, "address": f"192.0.2.{n}", "ports": {"main": 9092, "peer": 9142}} for n in (1, 2, 3)]
    site["groups"]["kafka_broker1"] = {"service": "kafka", "component": "broker", "members": members}
    site["groups"]["kafka_controller1"] = {"service": "kafka", "component": "controller", "members": members}
    (probe,) = probes_of("kafka", site, ACCESS)
    assert list(probe.settings["targets"]) == ["partition 0", "partition 1", "partition 2", "group"]
    assert probe.settings["bootstrap"] == "192.0.2.1:9092,192.0.2.2:9092,192.0.2.3:9092"
    assert probe.secrets == {"password": "hidden admin of kafka"}


def test_each_shard_of_redis_is_written_to_in_the_slots_that_it_has_now() -> None:
    moved = {"redis_shard1": ["0-100", "5462-10922"], "redis_shard2": ["101-5461"]}
    targets = probes_of("redis", with_redis(), replace(ACCESS, slots=moved))[0].settings["targets"]
    found = [targets[f"redis_shard{number} by node"]["write"]["slots"] for number in (1, 2, 3)]
    assert found == [*moved.values(), ["10923-16383"]]


def test_without_balancers_the_proxies_are_asked_themselves_and_without_proxies_the_nodes_alone() -> None:
    site = with_redis()
    del site["groups"]["edge_balancer1"]
    site["settings"] = {}
    (probe,) = probes_of("redis", site, ACCESS)
    assert probe.settings["targets"]["redis_shard1 by proxy"]["write"]["proxies"] == [
        ["192.0.2.1", 17379], ["192.0.2.2", 17379],
    ]  # fmt: skip
    del site["groups"]["redis_proxy1"]
    (probe,) = probes_of("redis", site, ACCESS)
    assert not any("proxy" in target for target in probe.settings["targets"])


def test_a_password_is_no_part_of_what_may_be_seen() -> None:
    for probe in [*probes_of("postgres", topology(), ACCESS), *probes_of("redis", with_redis(), ACCESS)]:
        assert "hidden" not in repr((probe.settings, probe.texts, probe.certificates))
    assert probes_of("postgres", topology(), ACCESS)[0].secrets == {"connect": {"password": "hidden"}}


def test_knocks_are_as_often_as_no_answer_can_hold_them_back() -> None:
    settings = probes_of("edge", topology(), ACCESS)[0].settings
    assert settings["workers"] / settings["rate"] >= settings["timeout"]


def test_etcd_is_asked_at_each_voter_with_a_certificate() -> None:
    etcd = probes_of("etcd", topology(), ACCESS)[0]
    urls = [f"https://192.0.2.{number}:2379" for number in (1, 2, 3)]
    assert etcd.settings["targets"]["etcd_voter1"]["write"]["endpoints"] == urls
    assert sorted(etcd.settings["targets"]["etcd_voter1"]["read"]["endpoints"]) == urls
    assert etcd.certificates == ({"service": "etcd", "folder": "probe/etcd", "group": "root", "client": True},)
    assert etcd.settings["key"] == "/etc/rackspread/pki/probe/etcd/tls.key"


def test_without_a_shared_address_the_balancers_are_named_and_not_knocked_at() -> None:
    (postgres,) = probes_of("postgres", topology(vips=False), ACCESS)
    assert postgres.settings["targets"]["postgres_shard1"]["write"]["host"] == "192.0.2.1,192.0.2.2"
    with pytest.raises(Refusal, match="RS-101: The balancers of this site share no address"):
        probes_of("edge", topology(vips=False), ACCESS)


def test_a_service_without_a_probe_or_an_endpoint_is_refused() -> None:
    with pytest.raises(Refusal, match="RS-101: mongodb has no probe"):
        probes_of("mongodb", topology(), ACCESS)
    bare = topology()
    del bare["groups"]["edge_balancer1"]
    bare["settings"] = {}
    with pytest.raises(Refusal, match="RS-101: No shard of Postgres is published"):
        probes_of("postgres", bare, ACCESS)
