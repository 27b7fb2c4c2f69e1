"""What the rest of the project reads: slices, topology, computed groups and the map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.text import render

Plan = Callable[..., Site]
LAB: dict[str, Any] = {"edge": {"vips": ["198.18.0.100/24"]}, "postgres": {"shards": 2, "members": 3}}


def test_the_slice_of_a_host_that_balances(plan: Plan) -> None:
    site = plan(LAB, top={"site": "demo"})
    own = site.slice("r2h3")
    assert list(own) == ["site", "host", "rack", "instances", "groups"]
    assert (own["site"], own["host"], own["rack"]) == ({"id": None, "name": "demo"}, "r2h3", "rack2")
    assert own["instances"] == [
        {
            "group": "etcd_voter1",
            "member": 2,
            "unit": "rackspread-etcd-voter1",
            "data": "/var/lib/rackspread/etcd_voter1",
        },
        {
            "group": "edge_balancer1",
            "member": 2,
            "unit": "rackspread-edge-balancer1",
            "data": "/var/lib/rackspread/edge_balancer1",
        },
    ]
    assert list(own["groups"]) == ["etcd_voter1", "postgres_shard1", "postgres_shard2", "edge_balancer1"]
    shard = own["groups"]["postgres_shard2"]
    assert {key: shard[key] for key in ("service", "component", "index")} == {
        "service": "postgres",
        "component": "shard",
        "index": 2,
    }
    assert shard["members"][1] == {
        "id": 2,
        "host": "r2h2",
        "rack": "rack2",
        "leader": True,
        "address": "198.18.0.22",
        "ports": {"main": 25433, "rest": 8009, "write": 5433, "read": 6433},
    }


def test_a_host_knows_its_own_groups_only(plan: Plan) -> None:
    site = plan(LAB)
    assert list(site.slice("r1h1")["groups"]) == ["postgres_shard1"]
    assert list(site.slice("r3h3")["groups"]) == ["etcd_voter1"]


def test_a_host_that_carries_nothing_has_an_empty_slice_and_one_outside_the_racks_none(
    plan: Plan, inventory: Callable[..., Any]
) -> None:
    groups, variables = inventory((5, 3, 3), client={"ansible_host": "a name is no matter here"})
    site = plan(LAB, at=(groups, variables))
    assert site.slice("r1h5") == {
        "site": {"id": None, "name": "lab"},
        "host": "r1h5",
        "rack": "rack1",
        "instances": [],
        "groups": {},
    }
    with pytest.raises(KeyError):
        site.slice("client")


def test_proxies_and_routers_know_the_shards_behind_them(plan: Plan, target: dict[str, Any]) -> None:
    site = plan(target)
    (proxy, _other) = site.placement.groups["redis_proxy1"].members
    assert {"redis_shard1", "redis_shard2", "redis_shard3"} <= set(site.slice(proxy.host)["groups"])
    (balancer, _other) = site.placement.groups["edge_balancer1"].members
    assert {"redis_proxy1", "mongodb_router1", "elasticsearch_coordinating1", "postgres_shard1"} <= set(
        site.slice(balancer.host)["groups"]
    )


def test_data_folders_follow_the_host(plan: Plan) -> None:
    site = plan(
        LAB,
        (1, 1, 1),
        r1h1={"rackspread_data_root": "/data/"},
        r2h1={"rackspread_data_roots": {"etcd": "/srv/etcd", "postgres": "/srv/data"}},
    )
    data = {host: [instance["data"] for instance in site.slice(host)["instances"]] for host in site.hosts}
    assert data["r1h1"][:2] == ["/data/etcd_voter1", "/data/postgres_shard1"]
    assert data["r2h1"][:2] == ["/srv/etcd/etcd_voter1", "/srv/data/postgres_shard1"]
    assert data["r3h1"][:2] == ["/var/lib/rackspread/etcd_voter1", "/var/lib/rackspread/postgres_shard1"]


def test_the_topology(plan: Plan) -> None:
    lock = merge(Lock(), plan({"etcd": {}}).placement)
    topology = plan(LAB, lock=lock).topology
    assert list(topology) == ["site", "state", "racks", "hosts", "groups", "settings", "changes"]
    assert topology["site"] == {"id": lock.site_id, "name": "lab"}
    assert topology["state"] == "/site/.rackspread"
    assert topology["racks"]["rack2"] == ["r2h1", "r2h2", "r2h3"]
    assert topology["hosts"]["r2h1"] == {"rack": "rack2", "address": "198.18.0.21"}
    assert topology["settings"] == {
        "etcd": {"clients": [], "failover": "fast"},
        "postgres": {"clients": [], "failover": "fast"},
        "edge": {"clients": [], "failover": "fast", "vips": ["198.18.0.100/24"]},
    }
    assert [change["group"] for change in topology["changes"]] == [
        "edge_balancer1",
        "postgres_shard1",
        "postgres_shard2",
    ]


def test_an_address_of_its_own_comes_before_that_of_the_connection(plan: Plan) -> None:
    own = {"ansible_host": "gate", "rackspread_address": "2001:DB8::1"}
    topology = plan({"etcd": {}}, (1, 1, 1), r1h1=own).topology
    assert topology["hosts"]["r1h1"]["address"] == "2001:db8::1"
    assert topology["groups"]["etcd_voter1"]["members"][0]["address"] == "2001:db8::1"


def test_racks_can_be_said_on_hosts(plan: Plan) -> None:
    hosts = {f"db{n}": {"rackspread_rack": f"room{n}", "ansible_host": f"192.0.2.{n}"} for n in (1, 2, 3)}
    assert list(plan({"etcd": {}}, at=({"all": list(hosts)}, hosts)).topology["racks"]) == ["room1", "room2", "room3"]


def test_hosts_can_be_chosen_for_a_service_and_for_one_component(plan: Plan) -> None:
    site = plan(
        {
            "postgres": {"hosts": "r?h1", "routers": {"count": 2, "hosts": ["rack2", "r3h3"], "exclude": "r2h[12]"}},
            "etcd": {"exclude": ["r1h1", "r1h2"]},
        }
    )
    where = {key: [member.host for member in group.members] for key, group in site.placement.groups.items()}
    assert where["postgres_shard1"] == ["r1h1", "r2h1", "r3h1"]
    assert where["postgres_router1"] == ["r2h3", "r3h3"]
    assert where["etcd_voter1"][0] == "r1h3"


def test_computed_groups_are_nested(plan: Plan) -> None:
    assert plan(LAB).computed_groups()["rs_postgres"] == {
        "rs_postgres_shard": {
            "rs_postgres_shard1": ["r1h1", "r2h1", "r3h1"],
            "rs_postgres_shard2": ["r1h2", "r2h2", "r3h2"],
        }
    }


def test_the_map_has_racks_side_by_side(plan: Plan) -> None:
    topology = plan(LAB, (2, 2, 1), top={"site": "demo"}).topology
    lines = render(topology).split("\n")
    assert lines[0] == "Site demo: 3 racks, 5 hosts, 4 groups. A star marks the preferred leader."
    assert lines[2].split() == ["rack1", "rack2", "rack3"]
    assert lines[4].split() == ["r1h1", "198.18.0.11", "r2h1", "198.18.0.21", "r3h1", "198.18.0.31"]
    assert "  postgres_shard1*     postgres_shard1      " in "\n".join(lines)
    assert lines[-1] == "There is no lock yet: a run of site.yml would make all of this, and write it down."
    (shard,) = [line for line in lines if line.startswith("postgres_shard2 ")]
    assert shard.endswith("25433   write 5433, read 6433")
    narrow = render(topology, width=40).split("\n")
    assert max(len(line) for line in narrow[2:14]) <= 40
    assert [line for line in narrow if line.startswith("rack")] == ["rack1                rack2", "rack3"]


def test_the_map_says_what_would_change(plan: Plan) -> None:
    lock = merge(Lock(), plan(LAB).placement)
    assert render(plan(LAB, lock=lock).topology, 4).endswith("\n\nAgainst the lock (generation 4): nothing changes.")
    more = {**LAB, "postgres": {"shards": 3}, "etcd": {"voters": 5}}
    assert render(plan(more, lock=lock).topology, 4).split("\n")[-5:] == [
        "Against the lock (generation 4):",
        "  etcd_voter1 gets member 4, on r1h1.",
        "  etcd_voter1 gets member 5, on r3h1.",
        "  postgres_shard3 is new, on r1h3, r2h3, r3h3*.",
        "Nothing else moves.",
    ]


def test_a_host_without_members_is_on_the_map(plan: Plan) -> None:
    assert "  (nothing)" in render(plan({"etcd": {}}, (2, 1, 1)).topology)
