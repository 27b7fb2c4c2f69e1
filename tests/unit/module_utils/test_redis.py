"""What a member of Redis makes of its disk and of its node's answers, taken from a real cluster of Redis 8.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import host, redis, redis_home
from ansible_collections.rackspread.ha.plugins.module_utils.driver import Driver, Live
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance
from ansible_collections.rackspread.ha.plugins.module_utils.redis import Redis
from ansible_collections.rackspread.ha.plugins.module_utils.redis_home import fields, nodes


def group(index: int, formed: str | None = None) -> dict[str, Any]:
    members = [
        {"id": n, "host": f"r{n}h1", "rack": f"rack{n}", "address": f"198.0.2.{n}", "leader": n == index,
         "ports": {"main": 16378 + index, "bus": 26378 + index}}
        for n in (1, 2, 3)
    ]  # fmt: skip
    return {"name": f"redis_shard{index}", "index": index, "members": members, "formed": formed}


def member(number: int, root: Path, formed: str | None = "s1", persistent: bool = True) -> Redis:
    """Member of the first shard, whose home is member 1."""
    own = group(1, formed)
    settings = {
        "groups": [group(index) for index in (1, 2, 3)], "user": "redis", "admin": "admin", "lag": 2,
        "persistent": persistent,
    }  # fmt: skip
    instance = Instance.of(own["name"], number, "/srv/data", root=str(root))
    return Redis(instance, own, own["members"][number - 1], settings, {"admin": "secret"})


# The disk

OWN = "n1 198.0.2.1:16379@26379,,tls-port=0,shard-id=s1 myself,{flags} {master} 0 0 1 connected {slots}"
MASTER = "n2 198.0.2.2:16379@26379,,tls-port=0,shard-id=s1 master - 0 0 1 connected 0-5461"
REPLICA = "n3 198.0.2.3:16379@26379,,tls-port=0,shard-id=s1 slave n1 0 0 1 connected"


def disk(root: Path, *lines: str, keys: bool = True) -> None:
    folder = root / "srv/data/redis_shard1/redis"
    folder.mkdir(parents=True)
    if lines:
        (folder / "nodes.conf").write_text("\n".join([*lines, "vars currentEpoch 3 lastVoteEpoch 0", ""]))
    if keys:
        (folder / "appendonlydir").mkdir()


def own(flags: str = "master", master: str = "-", slots: str = "") -> str:
    return OWN.format(flags=flags, master=master, slots=slots)


@pytest.mark.parametrize(
    ("lines", "keys", "formed", "state", "cluster"),
    [
        ([own(slots="0-5461")], True, None, "data", "s1"),
        ([own(slots="0-5461")], True, "s1", "data", "s1"),
        ([own("slave", "n2"), MASTER], True, "s1", "data", "s1"),
        ([own("slave", "n2"), MASTER.replace("shard-id=s1", "shard-id=s9")], True, "s1", "data", "s9"),
        ([own(), REPLICA], True, None, "data", "s1"),  # a shard that has no slots yet
        ([own()], True, "s1", "data", "s1"),
        ([own()], True, None, "half_formed", None),
        ([own()], False, None, "half_formed", None),
        ([], False, None, "empty", None),
        ([], True, "s1", "leftovers", None),  # keys of nobody knows what
        ([own(slots="0-5461")], False, "s1", "leftovers", None),  # a master without keys: its replicas would follow
        ([own("slave", "n2"), MASTER], False, "s1", "data", "s1"),  # a replica copies them again
    ],
)
def test_the_disk_tells_what_the_member_is(
    tmp_path: Path, lines: list[str], keys: bool, formed: str | None, state: str, cluster: str | None
) -> None:
    disk(tmp_path, *lines, keys=keys)
    found = member(1, tmp_path, formed).find()
    assert (found.state, found.cluster_id) == (state, cluster)


def test_a_master_that_keeps_no_keys_on_disk_is_not_missed_any(tmp_path: Path) -> None:
    disk(tmp_path, own(slots="0-5461"), keys=False)
    assert member(1, tmp_path, persistent=False).find().state == "data"


def test_a_look_that_is_told_nothing_goes_by_what_the_member_runs_with(tmp_path: Path) -> None:
    own = group(1, "s1")
    instance = Instance.of(own["name"], 1, "/srv/data", root=str(tmp_path))
    assert "nothing tells how to ask it" in Redis(instance, own, own["members"][0], {}).ask().detail
    folder = Path(instance.current)
    folder.mkdir(parents=True)
    runs_with = {"settings": {"admin": "boss", "groups": [own]}, "secrets": {"admin": "hidden"}}
    (folder / "cluster.json").write_text(json.dumps(runs_with))
    driver = Redis(instance, own, own["members"][0], {})
    assert (driver.settings["admin"], driver.secrets) == ("boss", {"admin": "hidden"})
    assert member(1, tmp_path).settings["admin"] == "admin", "what a run says comes first"


def test_strange_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "srv/data/redis_shard1/dump").mkdir(parents=True)
    found = member(1, tmp_path).find()
    assert found.state == "leftovers"
    assert "dump" in found.detail


# The daemon

WHOLE = "cluster_state:ok\ncluster_slots_assigned:16384"
PARTLY = "cluster_state:ok\ncluster_slots_assigned:5462"
LEADS = """role:master
connected_slaves:2
slave0:ip=198.0.2.2,port=16379,state=online,offset=28,lag=0
slave1:ip=198.0.2.3,port=16379,state=online,offset=28,lag=1"""
FOLLOWS = "role:slave\nmaster_link_status:up\nmaster_sync_in_progress:0"
COPIES = "role:slave\nmaster_link_status:down\nmaster_sync_in_progress:1"
ALONE = "role:master\nconnected_slaves:0"


def cluster(leader: int, myself: int, *more: str) -> str:
    """CLUSTER NODES of the first shard, led by one of its members, as another tells it."""
    lines = []
    for n in (1, 2, 3):
        flags = ("myself," if n == myself else "") + ("master" if n == leader else "slave")
        master, slots = ("-", "0-5461") if n == leader else (f"n{leader}", "")
        lines.append(f"n{n} 198.0.2.{n}:16379@26379 {flags} {master} 0 0 1 connected {slots}")
    return "\n".join([*lines, *more])


def told(root: Path, number: int, known: str, info: str, replication: str, formed: str | None = "s1") -> Live:
    return member(number, root, formed).tell(nodes(known), fields(info), fields(replication), "s1")


def test_a_master_with_its_replicas(tmp_path: Path) -> None:
    live = told(tmp_path, 1, cluster(1, 1), WHOLE, LEADS)
    assert (live.role, live.healthy, live.members, live.in_sync) == ("leader", True, [1, 2, 3], [1, 2, 3])
    assert (live.cluster_id, live.unfinished, live.detail) == ("s1", False, "")


@pytest.mark.parametrize("word", ["state=wait_bgsave,offset=28,lag=1", "state=online,offset=28,lag=3"])
def test_a_replica_that_copies_or_is_behind_is_not_in_sync(tmp_path: Path, word: str) -> None:
    live = told(tmp_path, 1, cluster(1, 1), WHOLE, LEADS.replace("state=online,offset=28,lag=1", word))
    assert live.in_sync == [1, 2]


def test_a_replica_in_step(tmp_path: Path) -> None:
    live = told(tmp_path, 3, cluster(2, 3), WHOLE, FOLLOWS)
    assert (live.role, live.healthy, live.members, live.cluster_id) == ("follower", True, [1, 2, 3], "s1")


def test_a_replica_that_copies_is_not_joined_and_tells_no_cluster(tmp_path: Path) -> None:
    live = told(tmp_path, 3, cluster(1, 3), WHOLE, COPIES)
    assert (live.role, live.healthy, live.cluster_id, live.unfinished) == ("follower", False, None, False)
    assert "not in step" in live.detail


def test_a_replica_of_another_shard_is_none_of_this_one(tmp_path: Path) -> None:
    known = cluster(1, 3, "m2 198.0.2.2:16380@26380 master - 0 0 2 connected 5462-10922")
    known = known.replace("myself,slave n1", "myself,slave m2")
    live = told(tmp_path, 3, known, WHOLE, FOLLOWS)
    assert (live.role, live.healthy, live.members) == ("none", False, [])
    assert "198.0.2.2:16380, which is none of redis_shard1" in live.detail


def blank(number: int, *more: str) -> str:
    return "\n".join([f"new 198.0.2.{number}:16379@26379 myself,master - 0 0 0 connected", *more])


def test_a_first_member_is_unfinished_until_all_shards_have_met(tmp_path: Path) -> None:
    mine = blank(1).replace("connected", "connected 0-5461")
    live = told(tmp_path, 1, mine, PARTLY, ALONE, formed=None)
    assert (live.role, live.healthy, live.unfinished) == ("leader", False, True)
    live = told(tmp_path, 1, mine, WHOLE, ALONE, formed=None)
    assert (live.role, live.healthy, live.unfinished) == ("leader", True, False)


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("met", [False, True])
def test_a_blank_member_of_a_formed_shard_leads_nothing_and_is_unfinished(
    tmp_path: Path, number: int, met: bool
) -> None:
    others = [line for line in cluster(2, 0).splitlines() if not line.startswith(f"n{number}")] if met else []
    own = member(number, tmp_path)
    known = nodes(blank(number, *others))
    live = own.tell(known, fields(WHOLE if met else PARTLY), fields(ALONE), "another")
    assert (live.role, live.healthy, live.unfinished, live.cluster_id) == ("none", False, True, None)


def test_a_shard_that_comes_later_is_led_without_slots_by_its_home(tmp_path: Path) -> None:
    others = "\n".join(f"m{n} 198.0.2.{n}:16380@26380 master - 0 0 2 connected {n}" for n in (1, 2))
    assert told(tmp_path, 1, blank(1, others), WHOLE, ALONE, formed=None).role == "leader"
    assert told(tmp_path, 3, blank(3, others), WHOLE, ALONE, formed=None).role == "none"


def test_a_cluster_that_is_down_is_told(tmp_path: Path) -> None:
    live = told(tmp_path, 1, cluster(1, 1), WHOLE.replace("ok", "fail"), LEADS)
    assert not live.healthy
    assert "the cluster's state is fail" in live.detail


def test_strangers_are_told_and_what_a_lost_member_left_is_none(tmp_path: Path) -> None:
    left = "n9 :0@0 master,noaddr,fail - 0 0 1 disconnected"
    assert told(tmp_path, 1, cluster(1, 1, left), WHOLE, LEADS).detail == ""
    stranger = "x1 203.0.113.5:6379@16379 master - 0 0 1 connected"
    assert "203.0.113.5:6379" in told(tmp_path, 1, cluster(1, 1, stranger), WHOLE, LEADS).detail


def test_nobody_is_reached_and_nothing_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*_words: object) -> None:
        raise redis_home.NoAnswer("198.0.2.1:16379: timed out")

    monkeypatch.setattr(redis_home.Client, "__call__", no)
    assert member(1, tmp_path).ask() == Live(detail="198.0.2.1:16379: timed out")


# What is done to a node. It is a stand-in; real ones are in molecule/redis.


class Nodes:
    """Nodes that know each other at once, and note what they are told to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.known = blank(1)
        self.keys = 0
        self.absent: set[str] = set()
        monkeypatch.setattr(redis_home.Client, "__call__", lambda own, *words: self.answer(own._where, *words))
        monkeypatch.setattr(Redis, "_start_first", lambda _own: None)
        monkeypatch.setattr(redis, "FIRM_SECONDS", 0.1)
        monkeypatch.setattr(redis, "POLL_SECONDS", 0.01)

    def answer(self, where: str, *words: Any) -> Any:
        if where in self.absent:
            raise redis_home.NoAnswer(f"{where}: timed out")
        match words:
            case ("CLUSTER", "NODES"):
                return self.known
            case ("DBSIZE",):
                return self.keys
            case ("CLUSTER", "MYID"):
                return "new"
            case ("CLUSTER", "MYSHARDID"):
                return "s1"
        self.done.append(" ".join(map(str, words)))
        if words[1] == "MEET":
            self.known += f"\nm{len(self.done)} {words[2]}:{words[3]}@{words[4]} master - 0 0 2 connected"
        return "OK"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    return Nodes(monkeypatch)


INTENT = {"formation_id": "f", "slots": "0-5461"}
PEER = {"member": 2, "node": "n2", "shard": "s1"}


def test_a_shard_begins_with_its_slots_and_then_meets_the_others(tmp_path: Path, world: Nodes) -> None:
    own = member(1, tmp_path, formed=None)
    own.form(INTENT)
    assert world.done == [
        "CLUSTER ADDSLOTSRANGE 0 5461",
        "CLUSTER MEET 198.0.2.2 16380 26380",
        "CLUSTER MEET 198.0.2.3 16381 26381",
    ]
    world.done.clear()
    world.known = world.known.replace("myself,master - 0 0 0 connected", "myself,master - 0 0 0 connected 0-5461")
    own.form(INTENT)
    assert world.done == [], "cut short and called again, it does nothing twice"


@pytest.mark.parametrize("act", ["form", "join"])
def test_nothing_is_made_over_a_node_that_knows_another_cluster(tmp_path: Path, world: Nodes, act: str) -> None:
    world.known = blank(1, "x1 203.0.113.5:6379@16379 master - 0 0 1 connected 0-16383")
    with pytest.raises(host.Failed, match=r"knows a cluster with 203\.0\.113\.5:6379"):
        getattr(member(1, tmp_path, formed=None), act)(INTENT if act == "form" else PEER)
    assert world.done == []


@pytest.mark.parametrize("act", ["form", "join"])
def test_nothing_is_made_over_a_node_that_holds_keys(tmp_path: Path, world: Nodes, act: str) -> None:
    world.keys = 7
    with pytest.raises(host.Failed, match="holds 7 keys"):
        getattr(member(1, tmp_path, formed=None), act)(INTENT if act == "form" else PEER)
    assert world.done == []


def test_a_node_with_slots_becomes_nobodys_replica_and_takes_no_others(tmp_path: Path, world: Nodes) -> None:
    world.known = blank(1).replace("connected", "connected 0-100")
    with pytest.raises(host.Failed, match="has slots"):
        member(1, tmp_path, formed=None).join(PEER)
    with pytest.raises(host.Failed, match="has the slots 0-100"):
        member(1, tmp_path, formed=None).form(INTENT)
    assert world.done == []


def test_a_replica_is_attached_to_the_master_that_the_placement_names(tmp_path: Path, world: Nodes) -> None:
    world.known = blank(3, "n2 198.0.2.2:16379@26379 master - 0 0 1 connected 0-5461")
    member(3, tmp_path).join(PEER)
    assert world.done == ["CLUSTER REPLICATE n2"]


def test_a_member_that_answers_has_not_lost_its_disk_and_is_not_forgotten(tmp_path: Path, world: Nodes) -> None:
    world.known = cluster(2, 2)
    own = member(2, tmp_path)
    with pytest.raises(host.Failed, match="answers: it is not forgotten"):
        own.expel(own.group["members"][0])
    assert world.done == []
    world.absent = {"198.0.2.1:16379"}
    own.expel(own.group["members"][0])
    assert set(world.done) == {"CLUSTER FORGET n1"}


def test_a_master_hands_over_to_a_replica_in_sync_by_a_failover_that_it_agrees_to(
    tmp_path: Path, world: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [LEADS.replace("state=online", "state=send_bulk", 1), "role:slave"]
    answer = world.answer

    def replication(where: str, *words: Any) -> Any:
        if words == ("INFO", "replication"):
            return said.pop(0) if len(said) > 1 else said[0]
        if words[1] == "FAILOVER":
            world.done.append(f"at {where}")
        return answer(where, *words)

    monkeypatch.setattr(world, "answer", replication)
    (tmp_path / "run/rackspread").mkdir(parents=True)
    member(1, tmp_path).step_down(None)
    assert world.done == ["at 198.0.2.3:16379", "CLUSTER FAILOVER"]


# How a member leaves


def test_who_leaves_is_stopped_and_then_forgotten_by_all(
    tmp_path: Path, world: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(tmp_path, own("slave", "n2"), MASTER)
    monkeypatch.setattr(Driver, "leave", lambda _own: world.done.append("stopped"))
    world.known = cluster(2, 2)
    member(1, tmp_path).leave()
    assert world.done[0] == "stopped"
    assert set(world.done[1:]) == {"CLUSTER FORGET n1"}
    assert len(world.done) == 1 + 9, "every node of every shard is told"


def test_a_master_with_slots_is_not_stopped_for_good(
    tmp_path: Path, world: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(tmp_path, own(slots="0-5461"))
    monkeypatch.setattr(Driver, "leave", lambda _own: world.done.append("stopped"))
    with pytest.raises(host.Failed, match="leads 5462 slots"):
        member(1, tmp_path).leave()
    assert world.done == []


def test_who_leaves_is_not_forgotten_while_it_serves(tmp_path: Path, world: Nodes) -> None:
    own = member(2, tmp_path)
    own.expel({**own.group["members"][0], "leaving": True})
    assert world.done == []


def test_a_master_tells_which_slots_its_shard_has(tmp_path: Path) -> None:
    assert told(tmp_path, 1, cluster(1, 1), WHOLE, LEADS).slots == ["0-5461"]
    assert told(tmp_path, 3, cluster(2, 3), WHOLE, FOLLOWS).slots is None


def test_slots_that_can_not_move_now_are_told(tmp_path: Path, world: Nodes) -> None:
    with pytest.raises(host.Failed, match="slots do not move: fewer than three masters"):
        member(1, tmp_path).share(["redis_shard3"])
