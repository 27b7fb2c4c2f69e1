"""The filter's function: plain groups in, plain groups out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.spread import rack_spread
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

GROUPS = {
    "all": ["a1", "a2", "b1", "b2", "c1", "c2", "client"],
    "rack1": ["a1", "a2"],
    "rack2": ["b1", "b2"],
    "rack3": ["c1", "c2"],
    "redis": ["a1", "b1", "c1", "c2"],
}


def hosts(groups: list[dict[str, Any]]) -> list[list[str]]:
    return [[member["host"] for member in group["members"]] for group in groups]


def test_what_comes_out() -> None:
    assert rack_spread(GROUPS, groups=1, members=3, name="shard") == [
        {
            "name": "shard1",
            "members": [
                {"host": "a1", "rack": "rack1", "leader": True},
                {"host": "b1", "rack": "rack2", "leader": False},
                {"host": "c1", "rack": "rack3", "leader": False},
            ],
        }
    ]


def test_only_the_hosts_that_are_named_carry_members() -> None:
    placed = hosts(rack_spread(GROUPS, groups=2, members=3, hosts="redis"))
    assert placed == [["a1", "b1", "c1"], ["a1", "b1", "c2"]]
    assert hosts(rack_spread(GROUPS, groups=1, members=2, hosts=["a2", "rack3"])) == [["a2", "c1"]]


def test_racks_may_be_a_mapping() -> None:
    racks = {"a1": "north", "a2": "south", "b1": "north"}
    assert hosts(rack_spread({}, groups=2, members=2, racks=racks)) == [["a1", "a2"], ["b1", "a2"]]


def test_an_earlier_answer_stays_and_a_lost_host_is_replaced() -> None:
    before = rack_spread(GROUPS, groups=3, members=3)
    grown = rack_spread(GROUPS, groups=4, members=3, previous=before)
    assert grown[:3] == before
    without: Mapping[str, list[str]] = {
        name: [host for host in names if host != "a1"] for name, names in GROUPS.items()
    }
    after = rack_spread(without, groups=3, members=3, previous=before)
    for old, new in zip(hosts(before), hosts(after), strict=True):
        assert {host for host in old if host != "a1"} <= set(new)
        assert "a1" not in new
    assert all(sum(member["leader"] for member in group["members"]) == 1 for group in after)


@pytest.mark.parametrize("capacity", [1, {"a1": 1, "a2": 1, "b1": 1, "b2": 1, "c1": 1, "c2": 1}])
def test_capacity_is_members_a_host(capacity: Any) -> None:
    first, second = hosts(rack_spread(GROUPS, groups=2, members=3, capacity=capacity))
    assert sorted(first + second) == ["a1", "a2", "b1", "b2", "c1", "c2"]
    with pytest.raises(Refusal, match=r"^RS-013: "):
        rack_spread(GROUPS, groups=3, members=3, capacity=capacity)


def test_too_few_hosts() -> None:
    with pytest.raises(Refusal, match=r"^RS-011: group1 needs 7 hosts.*which is 1 short"):
        rack_spread(GROUPS, groups=1, members=7)
