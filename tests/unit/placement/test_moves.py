"""Replacement of lost members, and rebalancing: the same optimum as of new groups, with few moves."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from random import Random

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.engine import place
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.kept import changes
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Host, Placement
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from hypothesis import assume, given
from hypothesis import strategies as st
from placement_cases import case
from placement_oracle import completion, optimum
from placement_oracle import leaders as best_leaders
from placement_score import Case, score, squares


def site(*sizes: int, **more: int) -> list[Host]:
    return [Host(f"r{r}h{h}", f"rack{r}", **more) for r, size in enumerate(sizes, 1) for h in range(1, size + 1)]


def ask(hosts: list[Host], groups: int, members: int = 3, component: str = "ant", weight: int = 1) -> Demand:
    names = tuple(host.name for host in hosts)
    return Demand(component, groups, members, names, weight=weight, rack_limit=members, leads=True)


def moved(before: Placement, after: Placement) -> int:
    """How many members are on a host on which their group had none."""
    return sum(
        member.host not in {old.host for old in before.groups[key].members}
        for key, group in after.groups.items()
        if key in before.groups
        for member in group.members
    )


def loads(placement: Placement) -> Counter[str]:
    return Counter(member.host for group in placement.groups.values() for member in group.members)


def leaders(placement: Placement, what: str) -> Counter[str]:
    return Counter(getattr(m, what) for group in placement.groups.values() for m in group.members if m.leader)


def test_the_lost_members_alone_are_placed_anew() -> None:
    hosts = site(3, 3, 3)
    before = place([ask(hosts, 6)], hosts, Lock())
    after = place([ask(hosts, 6)], hosts, merge(Lock(), before), lost=["r1h1"])
    assert loads(after)["r1h1"] == 0
    for key, group in before.groups.items():
        stays = [member for member in group.members if member.host != "r1h1"]
        now = after.groups[key].members
        assert [(m.id, m.host) for m in now[: len(stays)]] == [(m.id, m.host) for m in stays]
        for new, id in zip(now[len(stays) :], range(group.next_id, after.groups[key].next_id), strict=True):
            assert (new.rack, new.id) == ("rack1", id)
        assert sum(member.leader for member in now) == 1
    assert max(leaders(after, "rack").values()) == 2


def test_a_lost_host_may_have_left_the_inventory_already() -> None:
    hosts = site(2, 2, 2)
    lock = merge(Lock(), place([ask(hosts, 2)], hosts, Lock()))
    left = [host for host in hosts if host.name != "r2h1"]
    with pytest.raises(Refusal, match=r"^RS-019: .* install another one under its name.* replace\.yml"):
        place([ask(left, 2)], left, lock)
    after = place([ask(left, 2)], left, lock, lost=["r2h1"])
    assert loads(after)["r2h2"] == 2
    told = [change["text"] for change in changes(lock, after)]
    assert told[0] == "ant1 moves member 2 from r2h1 to r2h2, as member 4."


def test_an_added_host_moves_none_until_that_is_asked() -> None:
    hosts = site(2, 2, 2)
    before = place([ask(hosts, 4)], hosts, Lock())
    grown = [*hosts, Host("new", "rack1")]
    assert place([ask(grown, 4)], grown, merge(Lock(), before)) == before
    after = place([ask(grown, 4)], grown, merge(Lock(), before), moves=None)
    assert loads(after)["new"] == 1
    assert after.moves == {"ant": (1, 1)}
    assert moved(before, after) == 1


def test_what_is_best_already_does_not_move() -> None:
    hosts = site(4, 2, 1)
    before = place([ask(hosts, 5), ask(hosts, 3, 2, "bee", 7)], hosts, Lock())
    after = place([ask(hosts, 5), ask(hosts, 3, 2, "bee", 7)], hosts, merge(Lock(), before), moves=None)
    assert after == before


def test_a_third_rack_takes_one_member_of_each_group() -> None:
    two = site(3, 3)
    before = place([ask(two, 6)], two, Lock())
    assert {max(Counter(m.rack for m in group.members).values()) for group in before.groups.values()} == {2}
    three = site(3, 3, 3)
    after = place([ask(three, 6)], three, merge(Lock(), before), moves=None)
    assert {max(Counter(m.rack for m in group.members).values()) for group in after.groups.values()} == {1}
    assert after.moves == {"ant": (6, 6)}
    assert set(leaders(after, "rack").values()) == {2}
    assert set(loads(after).values()) == {2}


@pytest.mark.parametrize("limit", range(5))
def test_a_limit_on_moves_gives_the_best_within_it(limit: int) -> None:
    hosts = site(1, 1, 1)
    before = place([ask(hosts, 4)], hosts, Lock())
    grown = [*hosts, *(Host(f"new{r}", f"rack{r}") for r in (1, 2, 3))]
    after = place([ask(grown, 4)], grown, merge(Lock(), before), moves=limit)
    assert moved(before, after) == limit
    square = sum(load * load for load in loads(after).values())
    # Each move from a host with four to an empty one gains most: 16 → 9 + 1, until racks have 2 and 2.
    assert square == [48, 42, 36, 30, 28][limit]


def test_heavier_components_move_first_and_the_limit_is_for_all() -> None:
    hosts = site(1, 1, 1)
    demands = [ask(hosts, 2, component="light"), ask(hosts, 2, component="heavy", weight=8)]
    lock = merge(Lock(), place(demands, hosts, Lock()))
    grown = [*hosts, *(Host(f"new{r}", f"rack{r}") for r in (1, 2, 3))]
    demands = [ask(grown, 2, component="light"), ask(grown, 2, component="heavy", weight=8)]
    assert place(demands, grown, lock, moves=3).moves == {"heavy": (3, 3), "light": (0, 3)}
    assert place(demands, grown, lock, moves=None).moves["heavy"] == (3, 3)


def test_members_that_stay_keep_their_ids_and_leaders_that_change_are_told() -> None:
    hosts = site(1, 1, 1)
    lock = merge(Lock(), place([ask(hosts, 2)], hosts, Lock()))
    grown = [*hosts, Host("new", "rack1")]
    after = place([ask(grown, 2)], grown, lock, moves=None)
    assert sorted(change["change"] for change in changes(lock, after)) in (
        ["moved member"],
        ["moved member", "new leader"],
    )
    for key, group in after.groups.items():
        had = {member.id: member.host for member in lock.groups[key].members}
        assert all(had.get(member.id, member.host) == member.host for member in group.members)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.one_of(st.none(), st.integers(4, 12)), min_size=1, max_size=5),
    st.integers(1, 8),
    st.integers(1, 3),
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_a_rebalance_moves_no_more_than_it_needs_and_a_second_one_nothing(
    sizes: list[int], capacities: list[int | None], groups: int, members: int, added: list[int], draw: Random
) -> None:
    hosts = [replace(host, capacity=capacities[at % len(capacities)]) for at, host in enumerate(site(*sizes))]
    members = min(members, len(hosts))
    try:
        before = place([ask(hosts, groups, members)], hosts, Lock())
    except Refusal:
        assume(False)
    grown = [*hosts, *(Host(f"new{at}", f"rack{rack}", capacity=9) for at, rack in enumerate(added))]
    asked = ask(grown, groups, members)
    after = place([asked], grown, merge(Lock(), before), moves=None)
    made, bound = after.moves.get("ant", (0, 0))
    assert bound <= made == moved(before, after)
    again = place([asked], grown, merge(Lock(), after), moves=None)
    assert again.groups == after.groups
    mixed = draw.sample(grown, len(grown))
    assert place([asked], mixed, merge(Lock(), before), moves=None) == after
    for limit in range(4):
        some = place([asked], grown, merge(Lock(), before), moves=limit)
        assert moved(before, some) <= limit


@pytest.mark.parametrize("seed", range(4))
def test_uneven_racks_are_rebalanced_by_few_moves_though_leaders_ask_for_some(seed: int) -> None:
    draw = Random(seed)  # noqa: S311  # nothing secret
    sizes = [draw.randint(4, 36) for _ in range(20)]
    hosts = [replace(host, capacity=draw.choice([None, 16, 32, 48, 64])) for host in site(*sizes)]
    groups = len(hosts)
    lock = merge(Lock(), place([ask(hosts, groups)], hosts, Lock()))
    grown = [*hosts, *(Host(f"new{rack}", f"rack{rack}") for rack in range(1, 21))]
    made, bound = place([ask(grown, groups)], grown, lock, moves=None).moves["ant"]
    assert bound <= made <= bound * 1.1
    unled = replace(ask(grown, groups), leads=False)
    made, bound = place([unled], grown, lock, moves=None).moves["ant"]
    assert made == bound


def test_a_limit_on_moves_is_nearly_always_the_best_that_so_many_moves_bring() -> None:
    found = Counter[bool]()
    for seed in range(60):
        present = replace(case(seed), before={})
        names = tuple(host.name for host in present.hosts)
        demand = replace(present.demand, groups=len(present.locked), hosts=names)
        if not present.locked:
            continue
        for limit in (1, 2, 3):
            best = optimum(Case(present.hosts, demand), [names for _, names in present.locked], limit)
            try:
                after = place([demand], present.hosts, present.lock(), moves=limit)
            except Refusal:
                assert best is None
                continue
            if best:  # None where so few moves don't bring groups within the limit of a rack
                has = score(Case(present.hosts, demand), after)
                assert has >= best[0]
                found[has == best[0]] += 1
    assert found.total() > 60
    assert found[True] >= 0.96 * found.total()


def test_rebalancing_any_site_gives_the_optimum_and_nearly_always_by_the_fewest_moves() -> None:
    more = Counter[int]()
    for seed in range(160):
        present = replace(case(seed), before={})
        if not present.locked:
            continue
        demand = replace(present.demand, groups=len(present.locked))
        anew = Case(present.hosts, demand)
        best = optimum(anew, [names for _, names in present.locked])
        try:
            after = place([demand], present.hosts, present.lock(), moves=None)
        except Refusal:
            assert best is None
            continue
        assert best
        assert score(anew, after) == best[0]
        made, bound = after.moves.get("ant", (0, 0))
        assert bound <= best[1] <= made
        more[made - best[1]] += 1
    assert more.total() > 60
    assert more[0] >= 0.97 * more.total()


def test_what_is_lost_is_replaced_with_the_best_loads_and_leaders() -> None:
    tried = 0
    for seed in range(300):
        whole = case(seed)
        lost = whole.hosts[seed % len(whole.hosts)].name
        if lost in whole.before or not any(lost in names for _, names in whole.locked):
            continue
        locked = tuple(
            (None if leader == lost else leader, tuple(name for name in names if name != lost))
            for leader, names in whole.locked
        )
        demand = replace(whole.demand, hosts=tuple(name for name in whole.demand.hosts if name != lost))
        rest = replace(whole, locked=locked, demand=demand)
        best = completion(rest)
        try:
            after = place(whole.demands(), whole.hosts, whole.lock(), lost=[lost])
        except Refusal:
            assert best is None
            continue
        tried += 1
        assert best
        groups = [group for group in after.groups.values() if group.component == "ant"]
        carried = Counter(member.host for group in groups for member in group.members)
        able = [host for host in rest.usable if rest.room(host)]
        full = [
            (whole.before.get(host.name, 0) + demand.weight * carried[host.name], host.capacity or rest.unbounded)
            for host in able
        ]
        assert sum(Fraction(load**2, size) for load, size in full) == best[0]
        assert max(Fraction(load, size) for load, size in full) == best[1]
        stays = {f"ant{at}": leader for at, (leader, _) in enumerate(locked, 1)}
        present = [(stays.get(group.key), [member.host for member in group.members]) for group in groups]
        assert (squares(leaders(after, "rack").elements()), squares(leaders(after, "host").elements())) == best_leaders(
            present, {host.name: host.rack for host in whole.hosts}
        )
    assert tried > 40
