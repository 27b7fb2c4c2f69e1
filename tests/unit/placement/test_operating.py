"""What operators ask for: hosts replaced, hosts emptied, members spread anew; and when it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.services import programs_of
from ansible_collections.rackspread.ha.plugins.plugin_utils import moving, operating
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.living import compare
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, merge
from ansible_collections.rackspread.ha.plugins.plugin_utils.looking import Seen
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

Planner = Callable[..., Site]
LAB: dict[str, Any] = {"edge": {"vips": ["198.18.0.100/24"]}, "postgres": {"shards": 2, "members": 3}}


def built(plan: Planner, **more: Any) -> Site:
    """The site of the lab, as it is when it was built."""
    lock = merge(Lock(), plan(LAB).placement)
    formed = {key: replace(g, formed=None if key.startswith("edge") else "c") for key, g in lock.groups.items()}
    return plan(more.pop("services", LAB), lock=replace(lock, groups=formed), **more)


def standing(site: Site, **states: str) -> Standing:
    """How it stands: whole, but for what is on some hosts (`r1h1="unreachable"`)."""
    seen: Seen = {}
    for key, group in site.topology["groups"].items():
        for row in programs_of(group):
            those = [m for m in group["members"] if m["host"] not in states]
            joined = [m["id"] for m in sorted(those, key=lambda m: (not m["leader"], m["id"]))]
            seen[row.name, key] = [
                Observation(
                    m["id"],
                    m["host"],
                    rack=m["rack"],
                    state=State(states.get(m["host"], "joined")),
                    live={"role": "leader" if joined and m["id"] == joined[0] else "follower", "in_sync": joined},
                )
                if m["host"] not in states
                else Observation(m["id"], m["host"], rack=m["rack"], state=State(states[m["host"]]))
                for m in group["members"]
            ]
    return Standing(site.topology["groups"], seen, vips=1)


def carried(lock: Lock, host: str) -> set[str]:
    return {key for key, group in lock.groups.items() for m in group.members if m.host == host and not m.leaving}


def moved(site: Site, asked: operating.Plan) -> list[tuple[str, str, str]]:
    return [(m.group, m.old.host if m.old else "", m.new.host if m.new else "") for m in asked.moves]


def refused(code: str, ask: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        ask()
    assert caught.value.code == code
    return str(caught.value)


def test_a_dead_host_is_replaced_and_no_other_member_moves(plan: Planner) -> None:
    site = built(plan)
    before = carried(site.lock, "r1h1")
    asked = operating.replacement(site, standing(site, r1h1="unreachable"), ["r1h1"])
    assert {group for group, _old, _new in moved(site, asked)} == before
    assert asked.lock.given_up == ("r1h1",)
    for key, group in site.lock.groups.items():
        stayed = {(m.id, m.host) for m in group.members if m.host != "r1h1"}
        assert stayed <= {(m.id, m.host) for m in asked.lock.groups[key].members}
        assert {m.host for m in asked.lock.groups[key].gone} == ({"r1h1"} if key in before else set())
    assert any("is lost, -> " in line and "copied from the others" in line for line in asked.lines)


def test_a_host_with_a_new_disk_stays_and_its_data_is_made_anew(plan: Planner) -> None:
    site = built(plan)
    host = next(m.host for m in site.lock.groups["postgres_shard1"].members)
    asked = operating.replacement(site, standing(site, **{host: "unmounted"}), [host])
    assert asked.lock.given_up == ()
    assert ("postgres_shard1", host, host) in moved(site, asked)
    (group,) = [asked.lock.groups["postgres_shard1"]]
    assert [m.id for m in group.members] == [2, 3, 4]


def test_a_record_of_a_lost_disk_does_not_contradict_the_lock(plan: Planner) -> None:
    site = built(plan)
    member = site.lock.groups["postgres_shard1"].members[0]
    lock = replace(site.lock, site_id="s", generation=9)
    gone = lock.with_group("postgres_shard1", members=lock.groups["postgres_shard1"].members[1:], gone=(member,))
    part = {"index": 1, "member": member.id, "formed": "c"}
    records = {member.host: {"site_id": "s", "groups": {"postgres_shard1": part}}}
    assert compare(gone, records) == []
    assert [r.code for r in compare(replace(gone, groups={**gone.groups, "postgres_shard1": replace(
        gone.groups["postgres_shard1"], gone=())}), records)] == ["RS-048"]  # fmt: skip


def test_a_host_that_serves_is_not_replaced(plan: Planner) -> None:
    site = built(plan)
    refused("RS-111", lambda: operating.replacement(site, standing(site), ["r1h1"]))


def test_nothing_is_rebuilt_where_too_little_is_left(plan: Planner) -> None:
    site = built(plan)
    voters = [m.host for m in site.lock.groups["etcd_voter1"].members]
    away = dict.fromkeys(voters[:2], "unreachable")
    assert "etcd_voter1" in refused(
        "RS-112", lambda: operating.replacement(site, standing(site, **away), list(away))
    )


@pytest.mark.parametrize("hosts", [[], ["r9h9"], ["client"]])
def test_hosts_that_are_none_are_refused(plan: Planner, hosts: list[str]) -> None:
    site = built(plan)
    refused("RS-114", lambda: operating.replacement(site, standing(site), hosts))
    refused("RS-114", lambda: operating.retirement(site, standing(site), hosts))


def test_a_host_is_emptied(plan: Planner) -> None:
    site = built(plan)
    asked = operating.retirement(site, standing(site), ["r2h1"])
    assert carried(asked.lock, "r2h1") == set()
    assert {group for group, _old, _new in moved(site, asked)} == carried(site.lock, "r2h1")
    assert all(member.leaving for g in asked.lock.groups.values() for member in g.members if member.host == "r2h1")
    again = plan(LAB, lock=asked.lock)
    assert again.bounds()
    assert again.survival()
    assert again.topology["changes"] == []
    assert "r2h1" in again.computed_groups()["rs_postgres"]["rs_postgres_shard"]["rs_postgres_shard1"]
    assert {m.host for m in again.placement.groups["postgres_shard1"].members} >= {
        m.host for m in asked.lock.groups["postgres_shard1"].members
    }
    assert operating.resumption(again.lock).moves == asked.moves


def test_nothing_that_lives_is_moved_while_the_site_is_not_whole(plan: Planner) -> None:
    site = built(plan)
    ill = standing(site, r3h3="stopped")
    assert "r3h3" in refused("RS-115", lambda: operating.retirement(site, ill, ["r1h1"]))
    refused("RS-115", lambda: operating.rebalancing(site, ill, None))


def test_a_rack_is_added_and_members_move_there(plan: Planner) -> None:
    site = built(plan, racks=(3, 3, 3, 3))
    asked = operating.rebalancing(site, standing(site), None)
    made = sum(made for made, _least in site.moved(None).placement.moves.values())
    assert len(asked.moves) == made > 0
    assert any(new.startswith("r4") for _group, _old, new in moved(site, asked))
    assert len(operating.rebalancing(site, standing(site), 1).moves) == 1
    assert operating.rebalancing(site, standing(site), 0).moves == ()


def test_a_move_takes_no_index_from_the_shard_that_the_spec_asks_for_meanwhile(plan: Planner) -> None:
    more = {**LAB, "postgres": {"shards": 3, "members": 3}}
    site = built(plan, services=more)
    asked = operating.retirement(site, standing(site), ["r2h1"])
    assert any("postgres_shard3 is new" in line for line in asked.lines)
    assert "postgres_shard3" in plan(more, lock=asked.lock).placement.groups


def test_growth_tells_what_is_new_and_moves_nothing(plan: Planner) -> None:
    more = {**LAB, "postgres": {"shards": 3, "members": 3}}
    site = built(plan, services=more)
    asked = operating.growth(site)
    assert asked.lock == site.lock
    assert any(line.startswith("postgres_shard3 is new") for line in asked.lines)
    assert operating.growth(built(plan)).lines == ("There is nothing new in spec or inventory.",)


def test_a_host_that_was_given_up_gets_nothing_until_it_is_taken_back(plan: Planner) -> None:
    site = built(plan)
    lock = replace(site.lock, given_up=("r1h1",))
    more = {**LAB, "postgres": {"shards": 8, "members": 3}}
    without = plan(more, lock=lock)
    carriers = {m.host for g in without.placement.groups.values() for m in g.members if m.id and g.index > 2}
    assert "r1h1" not in carriers
    taken = operating.growth(without, ["r1h1"])
    assert taken.lock.given_up == ()
    refused("RS-114", lambda: operating.growth(without, ["r2h1"]))


def test_what_was_begun_is_told_as_such(plan: Planner) -> None:
    site = built(plan)
    assert operating.resumption(site.lock) is None
    asked = operating.retirement(site, standing(site), ["r2h1"])
    begun = operating.resumption(asked.lock)
    assert begun is not None
    assert begun.lock == asked.lock
    assert len(begun.lines) >= 1 + len(moving.moves(asked.lock))


def shards(count: int) -> dict[str, Any]:
    return {"redis": {"shards": count, "members": 3, "proxies": 0}}


def test_shards_that_are_asked_for_no_more_are_taken_away_by_scale_alone(plan: Planner) -> None:
    site = plan(shards(3), lock=formed(plan, 5))
    assert site.surplus == ["redis_shard4", "redis_shard5"]
    assert site.topology["changes"] == []
    assert len(site.topology["groups"]) == 5, "everybody goes on serving them"
    told = refused("RS-018", site.check_surplus)
    assert "redis_shard4, redis_shard5 beside: scale.yml takes it away. Put `shards` of redis back to 5." in told
    asked = operating.growth(site, (), standing(site))
    assert {key for key, group in asked.lock.groups.items() if all(m.leaving for m in group.members)} == {
        "redis_shard4",
        "redis_shard5",
    }
    assert "6553 slots of redis move, from 5 shards to 3, while clients are served." in asked.lines
    again = plan(shards(3), lock=asked.lock)
    assert again.surplus == []
    again.check_surplus()
    assert len(again.topology["groups"]) == 5
    assert operating.resumption(again.lock) is not None


def test_shards_are_not_taken_away_while_the_site_is_not_whole(plan: Planner) -> None:
    site = plan(shards(3), lock=formed(plan, 5))
    refused("RS-115", lambda: operating.growth(site, (), standing(site, r3h3="stopped")))


def test_masters_that_are_left_must_bear_the_loss_of_a_rack(plan: Planner) -> None:
    refused("RS-017", lambda: plan(shards(4), lock=formed(plan, 5)))


def test_growth_tells_of_the_slots_that_move(plan: Planner) -> None:
    assert "6553 slots of redis move, from 3 shards to 5, while clients are served." in operating.growth(
        plan(shards(5), lock=formed(plan, 3))
    ).lines


def formed(plan: Planner, count: int) -> Lock:
    """The lock of so many shards of Redis that were built."""
    lock = merge(Lock(), plan(shards(count)).placement)
    return replace(lock, groups={key: replace(group, formed="c") for key, group in lock.groups.items()})
