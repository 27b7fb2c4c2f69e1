# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients count in a drill, and what they are told."""

from __future__ import annotations

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.probes import Access, probes_of
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from small_site import VIP, topology

ACCESS = Access(lambda: {"user": "u", "database": "d", "password": "hidden"}, lambda service: f"CA of {service}")


def test_postgres_is_written_through_the_published_endpoint_and_the_address_knocked_at() -> None:
    postgres, edge = probes_of("postgres", topology(), ACCESS)
    assert postgres.settings["targets"] == {
        "postgres_shard1": {"write": {"host": VIP, "port": 5432}, "read": {"host": VIP, "port": 6432}}
    }
    assert postgres.settings["connect"]["sslmode"] == "verify-full"
    assert postgres.settings["connect"]["sslrootcert"].endswith("/ca.crt")
    assert postgres.texts == {"ca.crt": "CA of postgres"}
    assert (edge.service, edge.settings["targets"]) == ("edge", {VIP: {"knock": {"host": VIP, "port": 7000}}})


def test_a_password_is_no_part_of_what_may_be_seen() -> None:
    for probe in probes_of("postgres", topology(), ACCESS):
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
    with pytest.raises(Refusal, match="RS-101: kafka has no probe"):
        probes_of("kafka", topology(), ACCESS)
    bare = topology()
    del bare["groups"]["edge_balancer1"]
    bare["settings"] = {}
    with pytest.raises(Refusal, match="RS-101: No shard of Postgres is published"):
        probes_of("postgres", bare, ACCESS)
