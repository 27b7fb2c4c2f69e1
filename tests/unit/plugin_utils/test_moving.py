"""Members that come and go: what may be done when, and what a plan writes into the lock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES, Service
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Action, Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup, read, write
from ansible_collections.rackspread.ha.plugins.plugin_utils.moving import check_ended, intend, moves, step, under_way
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.engine import place
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.kept import dissolves, with_leaving
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Demand, Host, Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

ETCD, POSTGRES, HAPROXY = SERVICES["etcd"], SERVICES["postgres"], SERVICES["haproxy"]
CONTROLLER, BROKER = SERVICES["kafka_controller"], SERVICES["kafka_broker"]


def seen(number: int, state: str, rack: str = "", leaving: bool = False, leads: bool = False) -> Observation:
    joined = state == "joined"
    live = {"healthy": True, "role": "leader" if leads else "follower"} if joined else None
    return Observation(
        number, f"h{number}", running=joined, live=live, rack=rack or f"rack{number}", leaving=leaving,
        state=State(state), staged="v1",
    )  # fmt: skip


def counting(*those: Observation, in_sync: tuple[int, ...] | None = None) -> list[Observation]:
    """All that are joined count each other, and the first that is not leaving leads where nobody does."""
    joined = [each.member for each in those if each.state is State.JOINED]
    found = []
    for each in those:
        told = {"members": joined, "in_sync": joined if in_sync is None else in_sync}
        found.append(replace(each, live={**each.live, **told} if each.live else None))
    if not any(each.leads for each in found):
        first = next(each for each in found if each.live)
        found[found.index(first)] = replace(first, live={**first.live, "role": "leader"})
    return found


def told(service: Service, *those: Observation, gone: tuple[Member, ...] = (), **more: tuple[int, ...]) -> str:
    decision = step("g1", counting(*those, **more), True, service, gone)
    return f"{decision.action.value} {','.join(map(str, decision.members))}".strip()


MOVE = (seen(1, "joined"), seen(2, "joined", leaving=True), seen(3, "joined"))


@pytest.mark.parametrize("service", [ETCD, POSTGRES])
def test_one_comes_before_another_goes(service: Service) -> None:
    assert told(service, *MOVE, seen(4, "empty", "rack2")) == "join 4"
    assert told(service, *MOVE, seen(4, "formed", "rack2")) == "wait 4"
    assert told(service, *MOVE, seen(4, "joined", "rack2")) == "retire 2"


def test_nobody_goes_before_the_copy_is_complete() -> None:
    assert told(POSTGRES, *MOVE, seen(4, "joined", "rack2"), in_sync=(1, 2, 3)) == "wait 1,3,4"


def test_nobody_goes_while_another_is_away_or_ill() -> None:
    away = (seen(1, "unreachable"), *MOVE[1:], seen(4, "joined", "rack2"))
    assert told(ETCD, *away) == "refuse 1"
    assert told(ETCD, seen(1, "stopped"), *MOVE[1:], seen(4, "joined", "rack2")) == "start 1"


def test_one_that_leaves_and_can_not_be_reached_stops_the_move() -> None:
    those = (seen(1, "joined"), seen(2, "unreachable", leaving=True), seen(3, "joined"), seen(4, "empty"))
    assert step("g1", counting(*those), True, ETCD).code == "RS-061"


@pytest.mark.parametrize("state", ["stopped", "lost", "unmounted", "formed"])
def test_one_that_leaves_and_does_not_serve_is_not_brought_back(state: str) -> None:
    those = (seen(1, "joined"), seen(2, state, leaving=True), seen(3, "joined"))
    assert told(ETCD, *those, seen(4, "empty")) == "join 4"
    assert told(ETCD, *those, seen(4, "joined")) == "retire 2"


@pytest.mark.parametrize("service", [ETCD, POSTGRES])
def test_two_moves_of_a_group_are_made_one_after_the_other(service: Service) -> None:
    old = [seen(1, "joined"), seen(2, "joined", leaving=True), seen(3, "joined", leaving=True)]
    assert told(service, *old, seen(4, "empty", "rack2"), seen(5, "empty", "rack3")) == "join 4"
    assert told(service, *old, seen(4, "joined", "rack2"), seen(5, "empty", "rack3")) == "retire 2"
    left = [old[0], old[2]]
    assert told(service, *left, seen(4, "joined", "rack2"), seen(5, "empty", "rack3")) == "join 5"
    assert told(service, *left, seen(4, "joined", "rack2"), seen(5, "joined", "rack3")) == "retire 3"


def test_who_leads_goes_last() -> None:
    those = [seen(1, "joined", leaving=True, leads=True), seen(2, "joined", leaving=True), seen(3, "joined")]
    assert told(ETCD, *those, seen(4, "joined"), seen(5, "joined")) == "retire 2"


def test_a_group_may_shrink_where_nobody_comes() -> None:
    assert told(ETCD, *MOVE) == "retire 2"


def test_balancers_start_before_another_stops() -> None:
    those = (seen(1, "joined"), seen(2, "joined", leaving=True))
    assert told(HAPROXY, *those, seen(3, "stopped")) == "start 3"
    assert told(HAPROXY, *those, seen(3, "joined")) == "retire 2"


def test_a_program_stays_while_another_stands_on_it() -> None:
    old = [replace(seen(number, "joined", leaving=True), bearing=True) for number in (1, 2)]
    new = [seen(3, "joined"), seen(4, "joined")]
    assert told(HAPROXY, *old, *new) == "nothing"
    assert told(HAPROXY, old[0], replace(old[1], bearing=False), *new) == "retire 2"
    assert told(HAPROXY, *old, new[0], seen(4, "stopped")) == "start 4"


GONE = Member(2, "h2", "rack2")


@pytest.mark.parametrize("service", [ETCD, POSTGRES])
def test_what_is_lost_is_forgotten_before_another_takes_its_place(service: Service) -> None:
    left = (seen(1, "joined"), seen(3, "joined"))
    assert told(service, *left, seen(4, "empty"), gone=(GONE,)) == "expel 2"
    assert told(service, *left, seen(4, "empty")) == "join 4"


def test_a_broker_that_is_lost_is_forgotten_when_another_can_take_its_copies() -> None:
    left = (seen(1, "joined"), seen(3, "joined"))
    assert told(CONTROLLER, *left, seen(4, "empty"), gone=(GONE,)) == "expel 2"
    assert told(BROKER, *left, seen(4, "empty"), gone=(GONE,)) == "join 4"
    assert told(BROKER, *left, replace(seen(4, "empty"), host="h2"), gone=(GONE,)) == "join 4"
    assert told(BROKER, *left, seen(4, "formed"), gone=(GONE,)) == "wait 4"
    assert told(BROKER, *left, seen(4, "joined"), gone=(GONE,)) == "expel 2"


def test_what_is_lost_is_forgotten_though_its_successor_stands_on_the_same_host() -> None:
    same = replace(seen(4, "unmounted"), host="h2")
    assert told(ETCD, seen(1, "joined"), seen(3, "joined"), same, gone=(GONE,)) == "expel 2"


def test_nothing_is_forgotten_while_another_is_away() -> None:
    assert told(ETCD, seen(1, "joined"), seen(3, "unreachable"), seen(4, "empty"), gone=(GONE,)) == "refuse 3"
    assert told(ETCD, seen(1, "joined"), seen(3, "formed"), seen(4, "empty"), gone=(GONE,)) == "wait 3"


def test_a_group_that_stays_as_it_is_goes_the_ordinary_way() -> None:
    assert told(ETCD, seen(1, "joined"), seen(2, "joined"), seen(3, "joined")) == "nothing"
    assert step("g1", [seen(1, "empty"), seen(2, "empty")], False, ETCD).action is Action.FORM


# The lock

HOSTS = [Host(f"r{rack}h{number}", f"rack{rack}", f"192.0.2.{rack}{number}") for rack in (1, 2, 3) for number in (1, 2)]
NAMES = tuple(host.name for host in HOSTS)
SHARDS = Demand("postgres_shard", 2, 3, NAMES, leads=True, rack_limit=2, ports={"main": (5432, 500)})


def formed() -> Lock:
    """Two formed shards on six hosts."""
    lock = intend(Lock(), place([SHARDS], HOSTS, Lock()))
    return replace(lock, groups={key: replace(group, formed="c") for key, group in lock.groups.items()})


def carriers(lock: Lock) -> dict[str, set[str]]:
    return {key: {m.host for m in group.members if not m.leaving} for key, group in lock.groups.items()}


def test_a_lost_host_is_gone_and_another_is_named() -> None:
    lock = formed()
    host = lock.groups["postgres_shard1"].members[0].host
    lost = {(key, m.id) for key, group in lock.groups.items() for m in group.members if m.host == host}
    after = intend(lock, place([SHARDS], HOSTS, lock, lost={host}), lost, [host])
    assert [(m.id, m.host) for m in after.groups["postgres_shard1"].gone] == [(1, host)]
    assert host not in set.union(*carriers(after).values())
    assert after.given_up == (host,)
    assert after.groups["postgres_shard2"] == lock.groups["postgres_shard2"]
    (move,) = moves(after, lock)
    assert (move.old.host, move.new.id, move.gone) == (host, 4, True)
    assert moves(after) == [move]
    assert under_way(after)
    assert not under_way(lock)


def test_a_host_that_is_emptied_keeps_its_members_until_others_have_come() -> None:
    lock = formed()
    host = lock.groups["postgres_shard1"].members[0].host
    after = intend(lock, place([SHARDS], HOSTS, lock, lost={host}), (), [host])
    leaving = [m for m in after.groups["postgres_shard1"].members if m.leaving]
    assert [(m.id, m.host, m.leader) for m in leaving] == [(1, host, False)]
    assert len(after.groups["postgres_shard1"].members) == 4
    assert sum(m.leader for m in after.groups["postgres_shard1"].members) == 1
    assert [str(move) for move in moves(after)] == [
        f"postgres_shard1: member 1 on {host} (rack1) -> member 4 on {moves(after)[0].new.host} (rack1); "
        "its data is copied from the others"
    ]


def test_a_placement_beside_members_that_leave_counts_them_for_nothing_and_shows_them() -> None:
    lock = formed()
    host = lock.groups["postgres_shard1"].members[0].host
    after = intend(lock, place([SHARDS], HOSTS, lock, lost={host}), (), [host])
    again = place([replace(SHARDS, hosts=tuple(name for name in NAMES if name != host))], HOSTS, after)
    assert {key: len(group.members) for key, group in again.groups.items()} == {
        "postgres_shard1": 3,
        "postgres_shard2": 3,
    }
    shown = with_leaving(again, {each.name: each for each in HOSTS}, after)
    assert shown.groups["postgres_shard1"].members == after.groups["postgres_shard1"].members
    assert intend(after, shown) == after


def test_a_rebalance_moves_as_many_members_as_the_placement_says() -> None:
    lock = formed()
    more = [*HOSTS, Host("r4h1", "rack4", "192.0.2.41"), Host("r4h2", "rack4", "192.0.2.42")]
    wider = replace(SHARDS, hosts=(*NAMES, "r4h1", "r4h2"))
    placement = place([wider], more, lock, moves=None)
    made, _least = placement.moves["postgres_shard"]
    assert made > 0
    assert len(moves(intend(lock, placement))) == made


def test_a_group_that_was_never_begun_is_just_placed_anew() -> None:
    lock = intend(Lock(), place([SHARDS], HOSTS, Lock()))
    host = lock.groups["postgres_shard1"].members[0].host
    after = intend(lock, place([SHARDS], HOSTS, lock, lost={host}))
    assert not under_way(after)
    assert host not in carriers(after)["postgres_shard1"]


def test_the_file_keeps_what_moves(tmp_path) -> None:  # noqa: ANN001
    lock = formed()
    host = lock.groups["postgres_shard1"].members[0].host
    other = lock.groups["postgres_shard2"].members[0].host
    after = intend(lock, place([SHARDS], HOSTS, lock, lost={host, other}), {("postgres_shard1", 1)}, [host, other])
    path = tmp_path / "lock.yml"
    written = write(path, after)
    assert read(path) == written
    assert moves(read(path)) == moves(after)


def test_a_lock_of_before_is_read_as_it_is() -> None:
    shape = {"index": 1, "next_id": 2, "members": [], "intent": None, "formed": None}
    assert LockedGroup.from_dict(shape).to_dict() == shape


# Groups that are to be no more

REDIS = Demand(
    "redis_shard", 5, 3, NAMES, leads=True, leaders_vote=True, shrinks=True, rack_limit=2, ports={"main": (16379, 500)}
)


def five() -> Lock:
    """Five formed shards of Redis on six hosts."""
    lock = intend(Lock(), place([REDIS], HOSTS, Lock()))
    return replace(lock, groups={key: replace(group, formed="c") for key, group in lock.groups.items()})


def test_shards_beyond_those_asked_for_are_placed_nowhere_and_leave_when_that_is_intended() -> None:
    lock, three = five(), replace(REDIS, groups=3)
    placement = place([three], HOSTS, lock)
    assert list(placement.groups) == ["redis_shard1", "redis_shard2", "redis_shard3"]
    shown = with_leaving(placement, {each.name: each for each in HOSTS}, lock)
    assert {key: group.members for key, group in shown.groups.items()} == {
        key: group.members for key, group in lock.groups.items()
    }
    after = intend(lock, placement)
    assert {key for key, group in after.groups.items() if dissolves(group)} == {"redis_shard4", "redis_shard5"}
    assert not any(m.leader for m in after.groups["redis_shard4"].members)
    assert {str(move).rpartition(" ")[2] for move in moves(after)} == {"leaves"}
    assert under_way(after)
    assert intend(after, place([three], HOSTS, after)) == after


def test_shards_asked_for_anew_while_others_leave_get_indices_of_their_own() -> None:
    lock = intend(five(), place([replace(REDIS, groups=3)], HOSTS, five()))
    again = place([REDIS], HOSTS, lock)
    assert sorted(again.groups) == ["redis_shard1", "redis_shard2", "redis_shard3", "redis_shard6", "redis_shard7"]


def test_a_shard_that_was_never_begun_is_just_not_asked_for() -> None:
    lock = five()
    lock = lock.with_group("redis_shard5", formed=None)
    after = intend(lock, place([replace(REDIS, groups=4, leaders_vote=False)], HOSTS, lock))
    assert list(after.groups) == ["redis_shard1", "redis_shard2", "redis_shard3", "redis_shard4"]
    assert not under_way(after)


def test_a_group_that_dissolves_goes_on_as_it_is_until_it_is_put_away() -> None:
    those = (seen(1, "joined", leaving=True), seen(2, "joined", leaving=True))
    assert told(SERVICES["redis"], *those) == "nothing"
    assert told(SERVICES["redis"], *those, seen(3, "stopped", leaving=True)) == "start 3"
    assert step("g1", [], True, SERVICES["redis"]).action is Action.NOTHING


def test_nothing_else_is_done_before_moves_that_were_begun_are_ended() -> None:
    check_ended(Lock())
    old, new = Member(1, "r1h1", "rack1", leaving=True), Member(2, "r1h2", "rack1")
    begun = Lock(groups={"etcd_voter1": LockedGroup(1, 3, (old, new), formed="c")})
    with pytest.raises(Refusal, match=r"RS-131: .*etcd_voter1: member 1 on r1h1 \(rack1\) -> member 2 on r1h2"):
        check_ended(begun)
    with pytest.raises(Refusal, match="RS-131"):
        check_ended(Lock(groups={"etcd_voter1": LockedGroup(1, 3, (new,), formed="c", gone=(old,))}))
