"""What holds for every placement, whatever the site."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.engine import place
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Host, Placement
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from hypothesis import assume, given
from hypothesis import strategies as st

racks = st.lists(st.integers(1, 5), min_size=1, max_size=5)
seeds = st.randoms(use_true_random=False)


def site(sizes: list[int], capacities: list[int | None] | None = None) -> list[Host]:
    names = [(f"rack{r}", f"r{r}h{h}") for r, size in enumerate(sizes, 1) for h in range(1, size + 1)]
    return [
        Host(name, rack, capacity=capacities[at % len(capacities)] if capacities else None)
        for at, (rack, name) in enumerate(names)
    ]


def ask(hosts: list[Host], component: str, groups: int, members: int, weight: int = 1) -> Demand:
    names = tuple(host.name for host in hosts)
    return Demand(component, groups, members, names, weight=weight, rack_limit=members, leads=True)


def least_per_rack(hosts: list[Host], members: int) -> int:
    """The least t for which t a rack are enough, by the formula."""
    sizes = Counter(host.rack for host in hosts).values()
    return next(t for t in range(1, members + 1) if sum(min(size, t) for size in sizes) >= members)


def seats(placement: Placement) -> dict[str, list[tuple[int, str, bool]]]:
    return {key: [(m.id, m.host, m.leader) for m in group.members] for key, group in placement.groups.items()}


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Host], list[Demand]]:
    hosts = site(draw(racks))
    demands = [
        ask(hosts, name, draw(st.integers(1, 6)), draw(st.integers(1, min(5, len(hosts)))), draw(st.integers(1, 9)))
        for name in ("ant", "bee")
    ]
    return hosts, demands


@given(cases())
def test_members_are_on_distinct_hosts_and_as_few_as_can_be_in_a_rack(case: tuple[list[Host], list[Demand]]) -> None:
    hosts, demands = case
    placement = place(demands, hosts, Lock())
    by_name = {demand.component: demand for demand in demands}
    assert len(placement.groups) == sum(demand.groups for demand in demands)
    for group in placement.groups.values():
        size = by_name[group.component].members
        assert len({member.host for member in group.members}) == size
        in_racks = Counter(member.rack for member in group.members)
        assert max(in_racks.values()) == least_per_rack(hosts, size)
        assert sum(member.leader for member in group.members) == 1


@given(cases(), seeds)
def test_the_order_of_the_input_does_not_matter(case: tuple[list[Host], list[Demand]], seed: random.Random) -> None:
    hosts, demands = case
    shuffled = [replace(demand, hosts=tuple(seed.sample(demand.hosts, len(demand.hosts)))) for demand in demands]
    mixed = place(seed.sample(shuffled, len(shuffled)), seed.sample(hosts, len(hosts)), Lock())
    assert seats(mixed) == seats(place(demands, hosts, Lock()))


@given(cases())
def test_what_the_lock_has_stays_as_it_is(case: tuple[list[Host], list[Demand]]) -> None:
    hosts, demands = case
    placement = place(demands, hosts, Lock())
    assert place(demands, hosts, merge(Lock(), placement)) == placement


@given(cases(), st.integers(1, 3))
def test_added_groups_and_hosts_move_nothing(case: tuple[list[Host], list[Demand]], more: int) -> None:
    hosts, demands = case
    before = place(demands, hosts, Lock())
    grown = [*hosts, *(Host(f"new{n}", f"rack{n}") for n in range(1, more + 1))]
    asked = [ask(grown, demand.component, demand.groups + more, demand.members, demand.weight) for demand in demands]
    after = place(asked, grown, merge(Lock(), before))
    assert {key: seats(after)[key] for key in before.groups} == seats(before)
    assert len(after.groups) == len(before.groups) + more * len(demands)


@given(cases())
def test_an_added_member_moves_none_and_gets_a_new_id(case: tuple[list[Host], list[Demand]]) -> None:
    hosts, demands = case
    assume(all(demand.members < len(hosts) for demand in demands))
    before = place(demands, hosts, Lock())
    grown = [replace(demand, members=demand.members + 1, rack_limit=demand.members + 1) for demand in demands]
    after = place(grown, hosts, merge(Lock(), before))
    for key, group in before.groups.items():
        assert after.groups[key].members[:-1] == group.members
        assert after.groups[key].members[-1].id == group.next_id
        assert after.groups[key].next_id == group.next_id + 1


@given(racks, st.lists(st.one_of(st.none(), st.integers(0, 6)), min_size=1, max_size=7), st.integers(1, 6))
def test_capacities_are_kept_or_refused(sizes: list[int], capacities: list[int | None], groups: int) -> None:
    hosts = site(sizes, capacities)
    asked = [ask(hosts, "ant", groups, min(3, len(hosts)), weight=2)]
    try:
        placement = place(asked, hosts, Lock())
    except Refusal:
        with pytest.raises(Refusal, match=r"^RS-013: "):
            place(asked, hosts, Lock())
        return
    load = Counter(member.host for group in placement.groups.values() for member in group.members)
    for host in hosts:
        assert host.capacity is None or 2 * load[host.name] <= host.capacity


@given(st.integers(2, 6), st.integers(1, 4), st.integers(1, 6), st.integers(1, 12))
def test_on_equal_racks_members_and_leaders_are_even(count: int, size: int, members: int, groups: int) -> None:
    hosts = site([size] * count)
    placement = place([ask(hosts, "ant", groups, min(members, len(hosts)))], hosts, Lock())
    placed = [member for group in placement.groups.values() for member in group.members]
    for chosen in (placed, [member for member in placed if member.leader]):
        of_hosts, of_racks = Counter(member.host for member in chosen), Counter(member.rack for member in chosen)
        for found, names in ((of_hosts, [h.name for h in hosts]), (of_racks, sorted({h.rack for h in hosts}))):
            share = Fraction(len(chosen), len(names))
            assert {found[name] for name in names} <= {floor(share), ceil(share)}


def test_group_one_leads_in_rack_one_and_so_on() -> None:
    hosts = site([2, 2, 2])
    placement = place([ask(hosts, "ant", 4, 3)], hosts, Lock())
    leaders = {key: member.rack for key, group in placement.groups.items() for member in group.members if member.leader}
    assert leaders == {"ant1": "rack1", "ant2": "rack2", "ant3": "rack3", "ant4": "rack1"}


def test_racks_and_hosts_are_ordered_as_people_count() -> None:
    hosts = [Host(f"r{r}h1", f"rack{r}") for r in (10, 9, 2, 1)]
    placement = place([ask(hosts, "ant", 1, 4)], hosts, Lock())
    assert [member.host for member in placement.groups["ant1"].members] == ["r1h1", "r2h1", "r9h1", "r10h1"]


def test_where_even_loads_run_out_of_room_the_roomiest_hosts_still_do() -> None:
    # By load²/capacity the wide hosts are the cheapest too late: four groups of two fit only if `big` is in each.
    hosts = [Host("big", "rack1", capacity=4), *(Host(f"h{n}", "rack2", capacity=1) for n in range(4))]
    placement = place([ask(hosts, "ant", 4, 2)], hosts, Lock())
    assert all("big" in {member.host for member in group.members} for group in placement.groups.values())


def test_heavy_components_choose_first_and_light_ones_go_where_little_is() -> None:
    hosts = site([2, 2, 2])
    placement = place([ask(hosts, "light", 1, 3, weight=1), ask(hosts, "heavy", 1, 3, weight=9)], hosts, Lock())
    light, heavy = ({m.host for m in placement.groups[key].members} for key in ("light1", "heavy1"))
    assert not light & heavy


def test_an_index_is_never_given_twice() -> None:
    hosts = site([1, 1, 1])
    placement = place([ask(hosts, "ant", 1, 3)], hosts, Lock(components={"ant": 7}))
    assert list(placement.groups) == ["ant7"]
    assert placement.next_index == {"ant": 8}
