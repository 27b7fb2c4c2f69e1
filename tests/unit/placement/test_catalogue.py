"""The table is what keeps members of any kind apart on one host."""

from __future__ import annotations

from itertools import pairwise

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.catalogue import (
    BY_ID,
    COMPONENTS,
    IMPLIES,
    SERVICES,
    fronted,
)


def test_no_two_blocks_of_ports_meet() -> None:
    blocks = sorted(
        (port.base, port.base + port.block, f"{component.id} {port.name}")
        for component in COMPONENTS
        for port in component.ports
    )
    assert not [(first, second) for first, second in pairwise(blocks) if second[0] < first[1]]


def test_every_block_is_long_enough_and_under_the_ports_that_linux_gives_to_clients() -> None:
    for component in COMPONENTS:
        assert component.ports[0].name == "main"
        assert len({port.name for port in component.ports}) == len(component.ports)
        for port in component.ports:
            assert port.block >= 50
            assert 1024 <= port.base
            assert port.base + port.block <= 32768


def test_the_names_that_the_rest_of_the_project_uses() -> None:
    assert list(BY_ID) == [
        "etcd_voter",
        "postgres_shard",
        "postgres_router",
        "redis_shard",
        "redis_proxy",
        "elasticsearch_master",
        "elasticsearch_data",
        "elasticsearch_coordinating",
        "mongodb_config",
        "mongodb_shard",
        "mongodb_router",
        "kafka_controller",
        "kafka_broker",
        "edge_balancer",
    ]
    assert set(IMPLIES) <= set(SERVICES)


def test_balancers_front_what_is_published_and_routers_what_is_behind_them() -> None:
    assert fronted(BY_ID["edge_balancer"]) == (
        "postgres_shard",
        "postgres_router",
        "redis_proxy",
        "elasticsearch_coordinating",
        "mongodb_router",
    )
    assert fronted(BY_ID["redis_proxy"]) == ("redis_shard",)
    assert fronted(BY_ID["mongodb_router"]) == ("mongodb_config", "mongodb_shard")
    assert fronted(BY_ID["postgres_shard"]) == ()


@pytest.mark.parametrize(("component", "members", "limit"), [
    ("etcd_voter", 3, 1), ("etcd_voter", 5, 2), ("postgres_shard", 3, 2), ("edge_balancer", 2, 1),
])  # fmt: skip
def test_how_many_members_a_rack_may_hold(component: str, members: int, limit: int) -> None:
    assert BY_ID[component].rack_limit(members) == limit
