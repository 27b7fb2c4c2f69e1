"""Which master goes home: the decision that hosts and playbooks share, and what it is made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import redis_home
from ansible_collections.rackspread.ha.plugins.module_utils.redis_home import (
    Place,
    Shard,
    astray,
    bearable,
    fields,
    follows,
    move,
    nodes,
    shards_of,
)


def shards(*spelled: str) -> list[Shard]:
    """A shard a word: its home's rack, and where it is led: `1` at home in rack1, `1>2` by its member in rack2.

    `1>2!` has a home that is down, `1>2~` one that is out of sync, `1>-` nobody who leads. Each has a member in each
    of the racks that are named anywhere.
    """
    racks = sorted({rack for word in spelled for rack in word if rack.isdigit()})
    found = []
    for number, word in enumerate(spelled, 1):
        home, _arrow, leader = word.rstrip("!~").partition(">")
        places = tuple(
            Place(
                int(rack), f"h{rack}", f"rack{rack}", preferred=rack == home, leads=rack == (leader or home),
                up=not (rack == home and word.endswith("!")), in_sync=not (rack == home and word.endswith("~")),
            )
            for rack in racks
        )
        found.append(Shard(f"shard{number}", places))
    return found


@pytest.mark.parametrize(
    ("spelled", "goes"),
    [
        ("1 2 3", None),  # all at home
        ("1>2 2 3", ("shard1", "rack2", "rack1")),  # after a cut of rack1
        ("1 2>1 3", ("shard2", "rack1", "rack2")),
        ("1>3 2 3", ("shard1", "rack3", "rack1")),
        ("1>2! 2 3", None),  # its home is still away
        ("1>2~ 2 3", None),  # and now it copies
        ("1>- 2 3", None),  # a failover is going on
        ("1>2 2 3>-", None),  # elsewhere, too
        ("1>2 2>3 3>1", None),  # nobody is at home, and yet no rack holds half: nothing is moved for the looks of it
        ("1>2 2>3 3", ("shard1", "rack2", "rack1")),  # rack3 holds two, and whoever can go makes room
        ("1>3 2>3 3", ("shard1", "rack3", "rack1")),  # one at a time
        ("1>2! 2>3 3", None),  # rack2 is full as long as rack1 is away
        ("1 2 3 1>2 2", ("shard4", "rack2", "rack1")),  # five masters: a rack bears two
        ("1 2 3 1>3 2", None),
        ("1>2 2 3>2 1 2", ("shard1", "rack2", "rack1")),
    ],
)  # fmt: skip
def test_a_master_goes_home_where_a_rack_holds_too_many(spelled: str, goes: tuple[str, str, str] | None) -> None:
    step = move(shards(*spelled.split()))
    assert (step and (step.shard, step.leader.rack, step.target.rack)) == goes
    if step:
        assert "masters" in str(step)


def test_moves_end_with_no_rack_that_holds_too_many() -> None:
    seen = shards("1>3", "2>3", "3", "1>3", "2")
    for _step in range(len(seen)):
        step = move(seen)
        if step is None:
            break
        seen = [
            Shard(shard.name, tuple(
                Place(each.member, each.host, each.rack, each.preferred, leads=each.member == step.target.member)
                for each in shard.places
            )) if shard.name == step.shard else shard
            for shard in seen
        ]  # fmt: skip
    racks = [shard.leader.rack for shard in seen if shard.leader]
    assert not astray(racks)


def test_the_order_of_the_shards_does_not_matter() -> None:
    seen = shards("1>3", "2>3", "3")
    assert move(seen) == move(seen[::-1])


@pytest.mark.parametrize(("masters", "bears"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)])
def test_how_many_masters_a_rack_bears(masters: int, bears: int) -> None:
    assert bearable(masters) == bears


def test_what_is_astray_is_said_with_numbers() -> None:
    assert astray(["rack1", "rack2", "rack3"]) == ""
    assert astray(["rack2", "rack2", "rack3"]) == "rack2 holds 2 of 3 masters"


NODES = """\
94d4 198.0.2.21:16379@26379 slave 9895 0 1795280869057 3 connected
aa63 198.0.2.21:16380@26380,r2h1 master - 0 1795280869057 2 connected 5462-10922
c26c 198.0.2.31:16380@26380 slave,fail aa63 0 1795280869000 2 disconnected
0dd0 :0@0 master,noaddr - 0 1795280869000 0 disconnected
beef 198.0.2.99:16380@26380 handshake - 0 0 0 connected
9895 2001:db8::11:16379@26379 myself,master - 0 0 3 connected 0-5460 5461 [5462->-aa63]
"""


def test_nodes_are_read() -> None:
    replica, master, failed, lost, met, own = nodes(NODES)
    assert (replica.address, replica.port, replica.master, replica.slots) == ("198.0.2.21", 16379, "9895", ())
    assert (master.master, master.slots, master.fails) == (None, ("5462-10922",), False)
    assert failed.fails
    assert not failed.linked
    assert (lost.address, lost.port, lost.fails) == ("", 0, True)
    assert not met.known
    assert (own.address, own.slots) == ("2001:db8::11", ("0-5460", "5461"))


def test_the_file_of_the_nodes_tells_their_shards() -> None:
    line = "eb44 198.0.2.1:7001@17001,,tls-port=0,shard-id=78cd myself,master - 0 0 1 connected 0-5461"
    assert nodes(f"{line}\nvars currentEpoch 3 lastVoteEpoch 0\n")[0].shard == "78cd"


def test_a_replica_follows_once_it_has_all() -> None:
    there = "# Replication\r\nrole:slave\r\nmaster_link_status:up\r\nmaster_sync_in_progress:0\r\n"
    assert follows(fields(there.replace("\r", "")))
    for word, other in (("link_status:up", "link_status:down"), ("progress:0", "progress:1"), ("slave", "master")):
        assert not follows(fields(there.replace("\r", "").replace(word, other)))


def place(number: int, rack: int, leads: bool) -> dict[str, Any]:
    return {
        "id": rack, "host": f"r{rack}h1", "rack": f"rack{rack}", "leader": leads,
        "address": f"198.0.2.{rack}", "ports": {"main": 16378 + number, "bus": 26378 + number},
    }  # fmt: skip


GROUPS = [
    {"name": f"redis_shard{n}", "index": n, "members": [place(n, rack, rack == n) for rack in (1, 2, 3)]}
    for n in (1, 2, 3)
]


def cluster(*leaders: int, failed: tuple[int, ...] = (), myself: tuple[int, int] = (1, 1)) -> str:
    """CLUSTER NODES of three shards, led in these racks; `failed` are racks, `myself` the shard and rack that tells."""
    lines = []
    for n, leader in enumerate(leaders, 1):
        for rack in (1, 2, 3):
            flags = ["myself"] * ((n, rack) == myself) + ["master" if rack == leader else "slave"]
            flags += ["fail"] * (rack in failed)
            master, slots = ("-", f"{n}00-{n}99") if rack == leader else (f"n{n}{leader}", "")
            link = "disconnected" if rack in failed else "connected"
            port = 16378 + n
            where = f"198.0.2.{rack}:{port}@{port + 10000}"
            lines.append(f"n{n}{rack} {where} {','.join(flags)} {master} 0 0 {n} {link} {slots}")
    return "\n".join(lines)


def test_shards_are_seen_through_one_node() -> None:
    seen = shards_of(nodes(cluster(2, 2, 3, myself=(1, 1))), GROUPS)
    step = move(seen)
    assert step
    assert (step.shard, step.target.host) == ("redis_shard1", "r1h1")
    assert move(shards_of(nodes(cluster(2, 2, 3, failed=(1,), myself=(1, 2))), GROUPS)) is None
    assert move(shards_of(nodes(cluster(2, 2, 3)), GROUPS, in_sync={"n11"})) is not None
    assert move(shards_of(nodes(cluster(2, 2, 3)), GROUPS, in_sync=set())) is None


def test_a_shard_without_slots_elects_nobody() -> None:
    text = "\n".join(line for line in cluster(1, 2, 3).splitlines() if not line.startswith("n3"))
    assert [shard.name for shard in shards_of(nodes(text), GROUPS)] == ["redis_shard1", "redis_shard2"]


class Cluster:
    """Nodes that answer what a test says, in place of connections."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.failovers: list[str] = []

    def client(self, address: str, port: int, *_more: object) -> Node:
        return Node(self, address, port)


class Node:
    def __init__(self, world: Cluster, address: str, port: int) -> None:
        self.world, self.address, self.port = world, address, port

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_what: object) -> None:
        return None

    def __call__(self, *words: object) -> Any:
        own = next(each for each in nodes(self.world.text) if (each.address, each.port) == (self.address, self.port))
        if "fail" in own.flags:
            raise redis_home.NoAnswer("timed out")
        moved = own.id in self.world.failovers
        return {
            ("CLUSTER", "INFO"): "cluster_state:ok",
            ("CLUSTER", "NODES"): self.world.text.replace("myself,", "").replace(f"{own.id} ", f"{own.id} ", 1),
            ("CLUSTER", "MYID"): own.id,
            ("INFO", "replication"): f"role:{'master' if moved or not own.master else 'slave'}\n"
            "master_link_status:up\nmaster_sync_in_progress:0",
            ("CLUSTER", "FAILOVER"): self.world.failovers.append(own.id) if words[1] == "FAILOVER" else None,
        }[words]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the program of the host in a rack, once; answers the ids of the nodes that took over."""

    def once(text: str, rack: int, enabled: bool = True, held: bool = False) -> list[str]:
        world = Cluster(text)
        monkeypatch.setattr(redis_home, "Client", world.client)
        monkeypatch.setattr(redis_home, "STATE", str(tmp_path))
        paths = []
        for group in GROUPS:
            path = tmp_path / f"{group['name']}.json"
            config = {
                "home": enabled, "group": group["name"], "member": rack, "pki": "/pki",
                "settings": {"groups": GROUPS, "admin": "admin"}, "secrets": {"admin": ""},
            }  # fmt: skip
            path.write_text(json.dumps(config))
            paths.append(str(path))
            if held:
                (tmp_path / f"{group['name']}.hold").touch()
        assert redis_home.main(paths) == 0
        return world.failovers

    return once


def test_only_the_host_of_the_home_acts(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    displaced = cluster(2, 2, 3)
    assert [run(displaced, rack) for rack in (1, 2, 3)] == [["n11"], [], []]
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "<5>redis_shard1 goes home from r2h1 in rack2 to r1h1 in rack1: rack2 holds 2 of 3 masters",
        "<5>r1h1 leads redis_shard1",
    ]


def test_nobody_acts_who_was_told_not_to_or_has_just_handed_over(run: Any) -> None:
    assert run(cluster(2, 2, 3), 1, enabled=False) == []
    assert run(cluster(2, 2, 3), 1, held=True) == []


def test_nobody_acts_while_the_home_is_away_or_nothing_is_astray(run: Any) -> None:
    assert run(cluster(2, 2, 3, failed=(1,)), 2) == []
    assert run(cluster(2, 2, 3, failed=(1,)), 1) == []
    assert run(cluster(1, 2, 3), 1) == []
