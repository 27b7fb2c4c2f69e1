"""The target picture, on the sites that people have: what every placement of it must show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Group
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.survival import slot_ranges

ROOT = Path(__file__).resolve().parents[3]
SITES = [(1, 1, 1), (3, 3, 3), (4, 2, 1), (1, 1, 5), (2, 2, 2, 2)]


@pytest.fixture(params=SITES, ids=str)
def site(request: pytest.FixtureRequest, plan: Callable[..., Site], target: dict[str, Any]) -> Site:
    return plan(target, request.param)


def leaders(site: Site, component: str) -> list[str]:
    groups = sorted(
        (group for group in site.placement.groups.values() if group.component == component), key=lambda g: g.index
    )
    return [member.rack for group in groups for member in group.members if member.leader]


def racks(group: Group) -> Counter[str]:
    return Counter(member.rack for member in group.members)


def test_the_picture(plan: Callable[..., Site]) -> None:
    """Three racks: by group the racks of its members, the preferred leader's first; pairs stand in any two racks."""
    spec = yaml.safe_load((ROOT / "inventories/target/services.rackspread.yml").read_text())
    drawn = {
        "etcd_voter1": {"rack1", "rack2", "rack3"},
        "postgres_shard1": ("rack1", {"rack2", "rack3"}),
        "postgres_shard2": ("rack2", {"rack1", "rack3"}),
        "postgres_router1": 2,
        "redis_shard1": ("rack1", {"rack2", "rack3"}),
        "redis_shard2": ("rack2", {"rack1", "rack3"}),
        "redis_shard3": ("rack3", {"rack1", "rack2"}),
        "redis_proxy1": 2,
        "elasticsearch_master1": {"rack1", "rack2", "rack3"},
        "elasticsearch_data1": {"rack1", "rack2", "rack3"},
        "elasticsearch_coordinating1": 2,
        "mongodb_config1": ("rack1", {"rack2", "rack3"}),
        "mongodb_shard1": ("rack1", {"rack2", "rack3"}),
        "mongodb_shard2": ("rack2", {"rack1", "rack3"}),
        "mongodb_router1": 2,
        "kafka_controller1": {"rack1", "rack2", "rack3"},
        "kafka_broker1": {"rack1", "rack2", "rack3"},
        "edge_balancer1": 2,
    }
    for sizes in ((1, 1, 1), (3, 3, 3), (4, 2, 1)):
        site = plan(spec["services"], sizes)
        shown: dict[str, object] = {}
        for key, group in site.placement.groups.items():
            leading = [member.rack for member in group.members if member.leader]
            others = {member.rack for member in group.members if not member.leader}
            assert len({member.host for member in group.members}) == len(group.members) == len(leading) + len(others)
            shown[key] = (leading[0], others) if leading else others if len(others) > 2 else len(others)
        assert shown == drawn
        assert site.survival()["rack"] == site.survival()["host"] == {"survives": True, "lost": []}
    assert slot_ranges(3) == ["0-5461", "5462-10922", "10923-16383"]


def test_every_group_is_there_with_its_members(site: Site) -> None:
    assert {key: len(group.members) for key, group in site.placement.groups.items()} == {
        "etcd_voter1": 3,
        "postgres_shard1": 3,
        "postgres_shard2": 3,
        "postgres_router1": 2,
        "redis_shard1": 3,
        "redis_shard2": 3,
        "redis_shard3": 3,
        "redis_proxy1": 2,
        "elasticsearch_master1": 3,
        "elasticsearch_data1": 3,
        "elasticsearch_coordinating1": 2,
        "mongodb_config1": 3,
        "mongodb_shard1": 3,
        "mongodb_shard2": 3,
        "mongodb_router1": 2,
        "kafka_controller1": 3,
        "kafka_broker1": 3,
        "edge_balancer1": 2,
    }


def test_no_group_has_two_members_in_one_rack(site: Site) -> None:
    for group in site.placement.groups.values():
        assert max(racks(group).values()) == 1, group.key
        assert [member.id for member in group.members] == list(range(1, len(group.members) + 1))


def test_leaders_are_rotated_over_the_racks(site: Site) -> None:
    for component, groups in (("postgres_shard", 2), ("mongodb_shard", 2), ("redis_shard", 3)):
        leading = leaders(site, component)
        assert len(set(leading)) == groups
        if len(site.topology["racks"]) == 3:  # with more racks, a group may have no member in the rack of its turn
            assert leading == [f"rack{turn}" for turn in range(1, groups + 1)]
    assert leaders(site, "etcd_voter") == []


def test_no_port_is_taken_twice_on_a_host(site: Site) -> None:
    taken = Counter(
        (member.host, port)
        for group in site.placement.groups.values()
        for member in group.members
        for port in member.ports.values()
    )
    assert max(taken.values()) == 1


def test_the_load_is_as_even_as_the_racks_allow(plan: Callable[..., Site], target: dict[str, Any]) -> None:
    site = plan(target, (3, 3, 3))
    carried = Counter(member.host for group in site.placement.groups.values() for member in group.members)
    weight = Counter[str]()
    for demand in site.spec.asks:
        for group in site.placement.groups.values():
            if group.component == demand.component.id:
                weight.update({member.host: demand.weight for member in group.members})
    assert len(carried) == 9
    assert max(weight.values()) - min(weight.values()) <= 4096  # the heaviest member
