"""Every bad input that spec, inventory and lock show is refused, with its code, a sentence and a way out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site, check_built
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.spec import parse
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import REFUSALS, Refusal

Plan = Callable[..., Site]
ETCD: dict[str, Any] = {"etcd": {}}
POSTGRES: dict[str, Any] = {"postgres": {"shards": 2}}


def refused(plan: Plan, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(Refusal) as caught:
        plan(*args, **kwargs)
    return str(caught.value)


def test_a_refusal_reads_as_code_sentence_and_remedy() -> None:
    refusal = Refusal("RS-010", "r1h1 and r1h2 have the address 192.0.2.1.")
    assert (refusal.code, refusal.sentence) == ("RS-010", "r1h1 and r1h2 have the address 192.0.2.1.")
    assert str(refusal) == f"RS-010: {refusal.sentence} {REFUSALS['RS-010'].remedy}"


@pytest.mark.parametrize("data", [None, [], "text", {}, {"services": []}, {"services": {}}], ids=str)
def test_what_is_no_spec(data: Any) -> None:
    with pytest.raises(Refusal, match=r"^RS-001: The spec is not a mapping with a key `services`"):
        parse(data)


@pytest.mark.parametrize(("services", "top", "told"), [
    ({"postgres": {"shrads": 2}}, {}, "RS-002: There is no key `shrads` in `postgres`. Did you mean `shards`?"),
    (ETCD, {"rack": "r*"}, "RS-002: There is no key `rack` in the spec. Did you mean `racks`?"),
    ({"etcd": {"vips": []}}, {}, "RS-002: There is no key `vips` in `etcd`. Known are: voters, hosts, exclude, weight,"
     " clients, failover."),
    ({"postgres": {"routers": {"count": 2, "host": "x"}}}, {},
     "RS-002: There is no key `host` in `routers` of postgres. Did you mean `hosts`?"),
    ({"postgresql": {}}, {}, "RS-003: The spec names a service 'postgresql'. Did you mean `postgres`?"),
    ({"mysql": {}}, {}, "RS-003: The spec names a service 'mysql'. Known are: etcd, postgres, redis, elasticsearch,"
     " mongodb, kafka, edge."),
    ({"postgres": 3}, {}, "RS-004: `postgres` is 3. Give a mapping such as {} or {members: 3}."),
    ({"postgres": {"shards": "two"}}, {}, "RS-004: `shards` of postgres is 'two'. Give a whole number of 1 or more."),
    ({"postgres": {"shards": True}}, {}, "RS-004: `shards` of postgres is True. Give a whole number of 1 or more."),
    ({"postgres": {"shards": 0}}, {}, "RS-004: `shards` of postgres is 0. Give a whole number of 1 or more."),
    ({"postgres": {"routers": -1}}, {}, "RS-004: `routers` of postgres is -1. Give a whole number of 0 or more."),
    ({"etcd": {"weight": 0}}, {}, "RS-004: `weight` of etcd is 0. Give a whole number of 1 or more."),
    ({"etcd": {"hosts": 3}}, {},
     "RS-004: `hosts` of etcd is 3. Give a pattern over names of groups and hosts, or a list of them."),
    ({"etcd": {"failover": "quick"}}, {},
     "RS-004: `failover` of etcd is 'quick'. Give one of fast, standard, cautious."),
    ({"etcd": {"clients": ["10.0.0.1/8"]}}, {},
     "RS-004: `clients` of etcd is '10.0.0.1/8'. Give a list of networks, 10.0.0.0/8."),
    ({"etcd": {"clients": "10.0.0.0/8"}}, {},
     "RS-004: `clients` of etcd is '10.0.0.0/8'. Give a list of networks, 10.0.0.0/8."),
    ({"edge": {"vips": ["198.18.0.100"]}}, {}, "RS-004: `vips` of edge is '198.18.0.100'. Give a list of addresses with"
     " prefix lengths, 192.0.2.100/24."),
    (ETCD, {"site": 7}, "RS-004: `site` is 7. Give the site's name as a word."),
    ({"etcd": {"voters": 4}}, {}, "RS-005: `voters` of etcd is 4, an even number of voters. Ask for 3 or 5: a voter"
     " more"
     " than an odd number adds no safety."),
    ({"kafka": {"controllers": 2}}, {}, "RS-005: `controllers` of kafka is 2, an even number of voters. Ask for 3: a"
     " voter more than an odd number adds no safety."),
    ({"mongodb": {"members": 4}}, {}, "RS-005: `members` of mongodb is 4, an even number of voters. Ask for 3 or 5: a"
     " voter more than an odd number adds no safety."),
    ({"etcd": {"voters": 1}}, {},
     "RS-012: `voters` of etcd is 1, and what is in one rack alone is gone with that rack. Ask for at least 3."),
    ({"postgres": {"members": 1}}, {},
     "RS-012: `members` of postgres is 1, and what is in one rack alone is gone with that rack. Ask for at least 2."),
    (ETCD, {"racks": "row*"}, "RS-006: No group row* with a host in it was found in the inventory."),
    ({"etcd": {"hosts": "db*"}}, {}, "RS-008: `hosts` of etcd says 'db*', which matches no host that stands in a"
     " rack."),
    ({"etcd": {"exclude": ["r1h1", "r9h9"]}}, {},
     "RS-008: `exclude` of etcd says 'r9h9', which matches no host that stands in a rack."),
])  # fmt: skip
def test_what_the_spec_gets_wrong(plan: Plan, services: dict[str, Any], top: dict[str, Any], told: str) -> None:
    assert refused(plan, services, top=top).startswith(told)


@pytest.mark.parametrize(("changed", "told"), [
    ({"r1h1": {"rackspread_rack": "rack2"}}, "RS-007: r1h1 stands in two racks, rack1 and rack2."),
    ({"r1h2": {"ansible_host": "db1.example.org"}},
     "RS-009: r1h2 has the address 'db1.example.org', which is not an IP address. Set `rackspread_address` on r1h2"),
    ({"new": {"rackspread_rack": "rack1"}}, "RS-009: new has no address."),
    ({"r2h3": {"rackspread_address": "198.18.0.11"}}, "RS-010: r1h1 and r2h3 have the address 198.18.0.11."),
    ({"r1h1": {"rackspread_capacity": "much"}},
     "RS-004: `rackspread_capacity` of r1h1 is 'much'. Give a whole number of MiB."),
    ({"r1h1": {"rackspread_data_root": "data"}},
     "RS-004: `rackspread_data_root` of r1h1 is 'data'. Give an absolute path."),
    ({"r1h1": {"rackspread_data_roots": {"etcd": "."}}},
     "RS-004: `rackspread_data_roots.etcd` of r1h1 is '.'. Give an absolute path."),
    ({"r1h1": {"rackspread_data_roots": "/srv"}},
     "RS-004: `rackspread_data_roots` of r1h1 is '/srv'. Give a mapping of service to folder."),
])  # fmt: skip
def test_what_the_inventory_gets_wrong(plan: Plan, changed: dict[str, dict[str, Any]], told: str) -> None:
    assert refused(plan, ETCD, **changed).startswith(told)


def test_a_host_in_two_rack_groups(plan: Plan, inventory: Callable[..., Any]) -> None:
    groups, variables = inventory((1, 1, 1))
    groups["rack_north"] = ["r2h1"]
    assert refused(plan, ETCD, at=(groups, variables)).startswith(
        "RS-007: r2h1 stands in two racks, rack2 and rack_north."
    )


def test_two_v6_addresses_are_compared_and_not_their_spelling(plan: Plan) -> None:
    told = refused(
        plan, ETCD, r1h1={"rackspread_address": "2001:db8::1"}, r2h1={"rackspread_address": "2001:DB8:0:0::1"}
    )
    assert told.startswith("RS-010: r1h1 and r2h1 have the address 2001:db8::1.")


@pytest.mark.parametrize(("services", "racks", "told"), [
    (ETCD, (1, 1), "RS-011: etcd_voter1 needs 3 hosts, at most 1 in one rack so that it outlives the loss of a rack:"
     " rack1"
     " has 1, rack2 has 1, which is 1 short. Add 1 host: up to 1 in another rack. A small machine is enough for a"
     " voter. Or ask for fewer"),
    (ETCD, (3, 3), "RS-012: etcd_voter1 needs 3 hosts, at most 1 in one rack so that it outlives the loss of a rack:"
     " rack1"
     " has 3, rack2 has 3, which is 1 short. Add 1 host: up to 1 in another rack. A small machine is enough for a"
     " voter."),
    ({"etcd": {"voters": 5}}, (4, 1, 1), "RS-012: etcd_voter1 needs 5 hosts, at most 2 in one rack so that it"
     " outlives the"
     " loss of a rack: rack1 has 4, rack2 has 1, rack3 has 1, which is 1 short. Add 1 host: up to 1 in"
     " rack2, up to 1 in rack3, or up to 2 in another rack."),
    ({"edge": {}}, (4,), "RS-012: edge_balancer1 needs 2 hosts, at most 1 in one rack so that it outlives the loss of a"
     " rack: rack1 has 4, which is 1 short. Add 1 host: up to 1 in another rack."),
    ({"kafka": {"brokers": 9}}, (2, 2, 2), "RS-011: kafka_broker1 needs 9 hosts"),
])  # fmt: skip
def test_racks_too_few_or_too_small(plan: Plan, services: dict[str, Any], racks: tuple[int, ...], told: str) -> None:
    assert refused(plan, services, racks).startswith(told)


def test_excluded_hosts_do_not_count(plan: Plan) -> None:
    told = refused(plan, {"etcd": {"exclude": "rack3"}})
    assert told.startswith("RS-012: etcd_voter1 needs 3 hosts")


def test_missing_memory_is_named_with_its_rack_and_how_much(plan: Plan) -> None:
    hosts = {f"r{r}h1": {"rackspread_capacity": 2560} for r in (1, 2, 3)}
    hosts["r2h1"] = {"rackspread_capacity": 2000}
    assert refused(plan, {"postgres": {}}, (1, 1, 1), **hosts).startswith(
        "RS-013: postgres_shard1 needs 3 hosts, at most 2 in one rack so that it outlives the loss of a rack, and"
        " 2048 MiB on"
        " each: there is room for 2 (rack1 1, rack3 1), which is 1 short. 48 MiB more on r2h1 would do. Raise"
        " `rackspread_capacity`"
    )


def test_what_is_there_already_must_fit_too(plan: Plan) -> None:
    lock = merge(Lock(), plan({"postgres": {}}, (1, 1, 1)).placement)
    assert refused(plan, {"postgres": {}}, (1, 1, 1), lock, r3h1={"rackspread_capacity": 2048}).startswith(
        "RS-013: The members on r3h1 need 2560 MiB, and it has 2048."
    )


@pytest.mark.parametrize(("vips", "changed", "told"), [
    (["198.19.0.100/24"], {}, "RS-014: The VIP 198.19.0.100/24 is outside the network of the balancers: r1h1"
     " 198.18.0.11,"
     " r2h1 198.18.0.21."),
    (["198.18.0.100/24"], {"r2h1": {"rackspread_address": "198.18.7.21"}}, "RS-015: The VIP 198.18.0.100/24 is asked"
     " for,"
     " with balancers in different networks: r1h1 198.18.0.11, r2h1 198.18.7.21. VRRP needs one L2 network"),
    (["198.18.0.21/24"], {}, "RS-021: The VIP 198.18.0.21 is the address of r2h1."),
    (["198.18.0.9/24", "198.18.0.9/24"], {}, "RS-021: The VIP 198.18.0.9 is the address of another VIP."),
])  # fmt: skip
def test_vips(plan: Plan, vips: list[str], changed: dict[str, Any], told: str) -> None:
    assert refused(plan, {"edge": {"vips": vips}}, (1, 1), **changed).startswith(told)


def test_routed_racks_without_vips_are_no_matter(plan: Plan) -> None:
    site = plan({"edge": {"vips": []}}, (1, 1), r2h1={"rackspread_address": "2001:db8::1"})
    assert len(site.placement.groups["edge_balancer1"].members) == 2


def test_the_last_port_of_a_block(plan: Plan) -> None:
    assert plan(ETCD, lock=Lock(components={"etcd_voter": 50})).placement.groups["etcd_voter50"].members[0].ports == {
        "main": 2428,
        "peer": 2529,
    }
    assert refused(plan, ETCD, lock=Lock(components={"etcd_voter": 51})).startswith(
        "RS-016: etcd_voter51 has no port `main`: the block has 50."
    )


def test_a_component_can_have_ports_of_its_own(plan: Plan) -> None:
    services = {"mongodb": {"shards": {"count": 600, "ports": "10000-10999"}, "members": 3}}
    groups = plan(services).placement.groups
    assert groups["mongodb_shard600"].members[0].ports == {"main": 10599}
    shards = {"count": 2, "ports": "20000-20007"}
    assert plan({"postgres": {"shards": shards}}).placement.groups["postgres_shard2"].members[0].ports == {
        "main": 20001, "rest": 20003, "write": 20005, "read": 20007,
    }  # fmt: skip


@pytest.mark.parametrize("ports", ["20000", 20000, "a-b", "20007-20000", "20000-20002", "80-90", "32000-33000"])
def test_what_is_no_range_of_ports(plan: Plan, ports: Any) -> None:
    told = refused(plan, {"postgres": {"shards": {"count": 1, "ports": ports}}})
    assert told.startswith(f"RS-004: `ports` of `shards` of postgres is {ports!r}. Give a range within 1024-32767")


def test_ports_that_meet(plan: Plan) -> None:
    shards = {"count": 1, "ports": "2480-2579"}
    assert refused(plan, {"mongodb": {"shards": shards}, "etcd": {}}).startswith(
        "RS-025: The ports of etcd_voter (peer), 2480-2529, meet those of mongodb_shard (main), 2480-2579. Give one"
    )
    assert plan({"mongodb": {"shards": shards}})  # without etcd nobody has them
    lock = merge(Lock(), plan({"mongodb": {"shards": shards}}, (1, 1, 1)).placement)
    told = refused(plan, {"mongodb": {}, "etcd": {}}, (1, 1, 1), lock)
    assert told.startswith("RS-025: etcd_voter1 and mongodb_shard1 would both have port 2480 on r1h1.")


@pytest.mark.parametrize(("masters", "racks", "told"), [
    (4, (3, 3, 3), "RS-017: 4 masters of redis_shard on 3 racks put 2 into rack1, and its loss would leave 2 of 4,"
     " which is"
     " no majority. Ask for 3 or 5 masters, or add a rack."),
    (3, (3, 3), "RS-017: 3 masters of redis_shard on 2 racks put 2 into rack1, and its loss would leave 1 of 3,"
     " which is no"
     " majority. Add a rack: on so few no number of masters bears the loss of one."),
    (2, (3, 3, 3), "RS-017: 2 masters of redis_shard on 3 racks put 1 into rack1, and its loss would leave 1 of 2,"
     " which is"
     " no majority. Ask for 3 masters, or add a rack."),
])  # fmt: skip
def test_masters_that_one_rack_would_take(plan: Plan, masters: int, racks: tuple[int, ...], told: str) -> None:
    assert refused(plan, {"redis": {"shards": masters}}, racks).startswith(told)


@pytest.mark.parametrize(("masters", "racks"), [(3, (3, 3, 3)), (5, (3, 3, 3)), (6, (3, 3, 3)), (4, (3, 3, 3, 3))])
def test_masters_that_any_rack_can_spare(plan: Plan, masters: int, racks: tuple[int, ...]) -> None:
    assert len(plan({"redis": {"shards": masters, "proxies": 0}}, racks).placement.groups) == masters


def test_fewer_than_there_are(plan: Plan) -> None:
    lock = merge(Lock(), plan(POSTGRES).placement)
    assert refused(plan, {"postgres": {"shards": 1}}, lock=lock) == (
        "RS-018: The spec asks for 1 groups postgres_shard, and there are 2. Put `shards` of postgres back to 2. Taking"
        " members away is a step of its own and never an effect of a run."
    )
    assert refused(plan, {"postgres": {"shards": 2, "members": 2}}, lock=lock).startswith(
        "RS-018: The spec asks for 2 members, and postgres_shard1 has 3. Put `members` of postgres back to 3."
    )
    assert refused(plan, ETCD, lock=lock).startswith(
        "RS-018: The spec asks for no postgres_shard, and there is postgres_shard1."
    )


def test_a_host_of_the_lock_left_the_inventory(plan: Plan) -> None:
    lock = merge(Lock(), plan(ETCD, (2, 2, 2)).placement)
    assert refused(plan, ETCD, (2, 2, 0, 2), lock).startswith(
        "RS-019: etcd_voter1 has a member on r3h1, which is in no rack. Put r3h1 back into the inventory"
    )


@pytest.mark.parametrize("changes", [{"formed": "c1"}, {"intent": {"formation_id": "f1"}}], ids=str)
def test_a_formed_host_keeps_its_address_and_rack(
    plan: Plan, inventory: Callable[..., Any], changes: dict[str, Any]
) -> None:
    lock = merge(Lock(), plan(ETCD, (1, 1, 1)).placement).with_group("etcd_voter1", **changes)
    told = refused(plan, ETCD, (1, 1, 1), lock, r2h1={"rackspread_address": "198.18.0.99"})
    assert told.startswith(
        "RS-020: etcd_voter1 was formed with address 198.18.0.21 of r2h1, and the inventory says 198.18.0.99. Put the"
        " address of r2h1 back to 198.18.0.21"
    )
    groups, variables = inventory((1, 1, 1))
    groups["rack4"] = groups.pop("rack2")
    assert refused(plan, ETCD, lock=lock, at=(groups, variables)).startswith(
        "RS-020: etcd_voter1 was formed with rack rack2 of r2h1, and the inventory says rack4."
    )


def test_what_was_never_begun_may_get_another_address(plan: Plan) -> None:
    lock = merge(Lock(), plan(ETCD, (1, 1, 1)).placement)
    site = plan(ETCD, (1, 1, 1), lock, r2h1={"rackspread_address": "198.18.0.99"})
    assert site.topology["changes"] == [
        {
            "group": "etcd_voter1",
            "change": "updated",
            "text": "etcd_voter1 takes the address of r2h1 as 198.18.0.99; the lock has 198.18.0.21.",
        }
    ]


def test_no_spec_was_parsed(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    monkeypatch.setattr(current, "_planned", None)
    with pytest.raises(Refusal, match=r"^RS-022: "):
        current.site()
    current.remember(Refusal("RS-006", "No group."))
    with pytest.raises(Refusal, match=r"^RS-006: "):
        current.site()
    site = plan(ETCD)
    current.remember(site)
    assert current.site() is site


def test_what_has_no_role_is_planned_and_not_built(plan: Plan, target: dict[str, Any]) -> None:
    check_built(plan({"edge": {}, "postgres": {}}).topology)
    with pytest.raises(Refusal, match=r"^RS-023: The spec asks for postgres_router, elasticsearch_master, "):
        check_built(plan(target).topology)


def test_a_lock_of_another_release_keeps_its_ports(plan: Plan) -> None:
    lock = merge(Lock(), plan(ETCD, (1, 1, 1)).placement)
    old = tuple(replace(member, ports={"main": 12379}) for member in lock.groups["etcd_voter1"].members)
    site = plan(ETCD, (1, 1, 1), lock.with_group("etcd_voter1", members=old))
    assert site.placement.groups["etcd_voter1"].members[0].ports == {"main": 12379, "peer": 2480}
