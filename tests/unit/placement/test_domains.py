"""Failure domains that hold racks: the outermost first, or racks first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.engine import place
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Group, Host, Placement
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from hypothesis import given
from hypothesis import strategies as st

Rooms = list[list[int]]


def site(rooms: Rooms) -> list[Host]:
    """Rooms of racks of so many hosts."""
    return [
        Host(f"m{room}r{rack}h{host}", f"rack{room}{rack}", within=(f"room{room}",))
        for room, racks in enumerate(rooms, 1)
        for rack, size in enumerate(racks, 1)
        for host in range(1, size + 1)
    ]


def ask(hosts: Sequence[Host], groups: int, members: int, rack_first: bool = False) -> Demand:
    names = tuple(host.name for host in hosts)
    return Demand("ant", groups, members, names, rack_limit=members, leads=True, rack_first=rack_first)


def most(hosts: Sequence[Host]) -> tuple[int, int]:
    """The most of these hosts in a room, and in a rack."""
    rooms, racks = Counter(host.within for host in hosts), Counter(host.rack for host in hosts)
    return max(rooms.values()), max(racks.values())


def of(group: Group, hosts: Sequence[Host]) -> list[Host]:
    names = {member.host for member in group.members}
    return [host for host in hosts if host.name in names]


@given(
    st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 4),
    st.booleans(),
)
def test_each_group_is_spread_as_far_as_one_can_be(rooms: Rooms, groups: int, members: int, rack_first: bool) -> None:
    hosts = site(rooms)
    members = min(members, len(hosts))
    tried = [most(chosen) for chosen in combinations(hosts, members)]
    best = min(tried, key=lambda pair: pair[::-1] if rack_first else pair)
    placement = place([ask(hosts, groups, members, rack_first)], hosts, Lock())
    for group in placement.groups.values():
        assert most(of(group, hosts)) == best
        assert len(group.members) == members
        assert sum(member.leader for member in group.members) == 1
    assert place([ask(hosts, groups, members, rack_first)], hosts, merge(Lock(), placement)) == placement


@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=2, max_size=3), st.integers(1, 6))
def test_rebalancing_a_grown_room_comes_to_the_same_loads_as_new(rooms: Rooms, groups: int) -> None:
    hosts = site(rooms)
    members = min(3, len(hosts))
    before = place([ask(hosts, groups, members)], hosts, Lock())
    grown = [*hosts, Host("new", "rack11", within=("room1",))]
    after = place([ask(grown, groups, members)], grown, merge(Lock(), before), moves=None)
    anew = place([ask(grown, groups, members)], grown, Lock())

    def carried(placement: Placement) -> list[int]:
        found = Counter(member.host for group in placement.groups.values() for member in group.members)
        return sorted(found[host.name] for host in grown)

    assert carried(after) == carried(anew)
    for group in after.groups.values():
        assert most(of(group, grown)) <= max(most(of(other, grown)) for other in anew.groups.values())


def test_rooms_come_first_unless_racks_are_said_to(plan: Callable[..., Site]) -> None:
    # Room 1 has three racks, room 2 one: two of four in each room means two in the rack of room 2.
    within = {f"r{r}h{h}": {"rackspread_within": "room1" if r < 4 else "room2"} for r in range(1, 5) for h in (1, 2)}
    services = {"kafka": {"brokers": 4}}

    def racks(top: dict[str, bool]) -> list[int]:
        members = plan(services, (2, 2, 2, 2), top=top, **within).placement.groups["kafka_broker1"].members
        return sorted(Counter(member.rack for member in members).values())

    assert racks({}) == [1, 1, 2]
    assert racks({"rack_first": True}) == [1, 1, 1, 1]


@pytest.mark.parametrize(("changed", "told"), [
    ({"r1h1": {"rackspread_within": 3}},
     "RS-004: `rackspread_within` of r1h1 is 3. Give a list such as [room1, row2]."),
    ({"r1h1": {"rackspread_within": ["a"]}, "r1h2": {"rackspread_within": ["b"]}},
     "RS-004: `rackspread_within` of r1h2 is ['b'], and of r1h1 ['a']. Give the same for all hosts of a rack"),
    ({"r1h1": {"rackspread_within": ["a"]}, "r1h2": {"rackspread_within": ["a"]}},
     "RS-004: `rackspread_within` of r2h1 is [], and of r1h1 ['a']. Give"),
])  # fmt: skip
def test_what_does_not_nest_is_refused(
    plan: Callable[..., Site], changed: dict[str, dict[str, object]], told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        plan({"edge": {}}, (2, 2), **changed)
    assert str(caught.value).startswith(told)
