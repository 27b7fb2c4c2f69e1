"""Replicas that are moved, and brokers that come and go with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import host, kafka, kafka_client, kafka_moving
from ansible_collections.rackspread.ha.plugins.module_utils.driver import Driver
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance


class Brokers:
    """What a cluster's brokers know and do; also the client that asks them."""

    def __init__(self, *partitions: list[int], fenced: tuple[int, ...] = (), brokers: int = 4) -> None:
        self.replicas = dict(enumerate(partitions))
        self.in_sync = {index: [each for each in those if each not in fenced] for index, those in enumerate(partitions)}
        self.brokers = {number: f"rack{(number - 1) % 3 + 1}" for number in range(1, brokers + 1)}
        self.fenced = fenced
        self.limits: list[Any] = []

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    check = kafka_client.Client.check
    _where = "192.0.2.11:9092"

    def ask(self, api: Any, **body: Any) -> Any:
        answer = self.answers(api, body)
        self.check(answer)
        return answer

    def answers(self, api: Any, body: dict[str, Any]) -> Any:
        if api is kafka_client.METADATA:
            parts = [{"index": n, "replicas": those, "isr": self.in_sync[n]} for n, those in self.replicas.items()]
            return {"topics": [{"name": "t", "partitions": parts}]}
        if api is kafka_client.DESCRIBE_CLUSTER:
            assert body["fenced"], "those that are away are told too"
            nodes = [{"id": n, "rack": rack, "fenced": n in self.fenced} for n, rack in self.brokers.items()]
            return {"nodes": nodes}
        if api is kafka_client.ALTER_CONFIGS:
            self.limits.append(body["resources"])
            return {"results": [{"error": 0} for _each in body["resources"]]}
        if api is kafka_client.ALTER_REASSIGNMENTS:
            for topic in body["topics"]:
                for part in topic["partitions"]:
                    self.replicas[part["index"]] = self.in_sync[part["index"]] = part["replicas"]
            return {"results": []}
        if api is kafka_client.ELECT_LEADERS:
            parts = [{"index": n, "error": kafka_client.NOT_NEEDED if n else 0} for n in self.replicas]
            return {"results": [{"name": "t", "partitions": parts}]}
        if api is kafka_client.UNREGISTER_BROKER:
            known = self.brokers.pop(body["id"], None)
            return {"error": 0 if known else kafka_client.NOT_REGISTERED, "message": None}
        assert api is kafka_client.LIST_REASSIGNMENTS
        return {"topics": []}


def broker(root: Path, cluster: Brokers, monkeypatch: pytest.MonkeyPatch, number: int = 1) -> Any:
    """One that asks this cluster; its group has two log folders."""
    members = [
        {"id": n, "host": f"r{n}h1", "rack": f"rack{n}", "address": f"192.0.2.{n}1", "ports": {"main": 9092}}
        for n in (1, 2, 3, 4)
    ]
    group = {"name": "kafka_broker1", "index": 1, "members": members, "formed": "C", "gone": []}
    instance = Instance.of(group["name"], number, "/srv/data", root=str(root))
    version = Path(instance.versions, "v1")
    version.mkdir(parents=True)
    folders = [f"{instance.data}/kafka", f"{root}/srv/more/kafka_broker1"]
    (version / kafka.FACTS).write_text(json.dumps({"log_dirs": folders, "rate": 50}))
    Path(instance.current).symlink_to("versions/v1")
    own = kafka.Kafka.of(instance, group, members[number - 1], {})
    monkeypatch.setattr(own, "_client", lambda *_: cluster)
    return own


def test_a_move_is_limited_while_it_lasts_and_leaders_go_home() -> None:
    cluster = Brokers([1, 2, 3], [2, 3, 1])
    moving = kafka_moving.plan(cluster, drained=[1])  # type: ignore[arg-type]
    assert str(moving).splitlines()[0].startswith("t-0: 1,2,3 -> ")
    assert moving.copies == 2
    elected = kafka_moving.carry_out(cluster, moving, 50, 0)  # type: ignore[arg-type]
    assert elected == ["t-0"]
    assert all(sorted(those) == [2, 3, 4] for those in cluster.replicas.values())
    limited, freed = cluster.limits
    assert limited[0]["name"] == "", "for all brokers, those too that come later"
    assert {each["value"] for each in limited[0]["configs"]} == {str(50 * 2**20)}
    assert [each["name"] for each in limited[1:]] == ["t"]
    assert {each["operation"] for resource in freed for each in resource["configs"]} == {1}, "taken away"


def test_nothing_is_copied_off_a_broker_that_may_come_back() -> None:
    away = Brokers([1, 2, 3], fenced=(3,))
    with pytest.raises(ValueError, match="broker 3 is fenced"):
        kafka_moving.plan(away)  # type: ignore[arg-type]
    assert kafka_moving.plan(away, drained=[3]).copies == 1  # type: ignore[arg-type]


def test_a_topic_gets_more_copies_over_racks_and_never_fewer() -> None:
    cluster = Brokers([1], [2], brokers=3)
    moving = kafka_moving.plan(cluster, replicas={"t": 3, "not there": 2})  # type: ignore[arg-type]
    assert moving.copies == 4
    assert {tuple(sorted(those)) for those in moving.wanted.values()} == {(1, 2, 3)}
    assert [those[0] for those in moving.wanted.values()] == [1, 2], "who led leads on"
    with pytest.raises(ValueError, match="has 3 replicas, and none is taken away to have 2"):
        kafka_moving.plan(Brokers([1, 2, 3]), replicas={"t": 2})  # type: ignore[arg-type]


def test_a_broker_that_leaves_is_emptied_and_forgotten_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Brokers([1, 2, 3], [2, 3, 1])
    own, helper = broker(tmp_path, cluster, monkeypatch), broker(tmp_path / "2", cluster, monkeypatch, 2)
    stopped: list[object] = []
    monkeypatch.setattr(Driver, "leave", lambda self: stopped.append(self))
    with pytest.raises(host.Failed, match="still has 2 replicas"):
        own.leave()
    assert not stopped
    helper.expel({**own.member, "leaving": True})
    assert all(1 not in those for those in cluster.replicas.values())
    assert 1 in cluster.brokers, "it still serves what it has to hand over"
    own.leave()
    assert 1 not in cluster.brokers
    own.leave()  # once more, by a run that comes after a killed one
    assert stopped == [own] * 2


def test_what_a_broker_had_that_is_gone_is_copied_from_the_others_before_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Brokers([1, 2, 3], fenced=(1,))
    helper = broker(tmp_path, cluster, monkeypatch, 2)
    lost = helper.group["members"].pop(0)
    helper.group["gone"] = [lost]
    helper.expel(lost)
    assert sorted(cluster.replicas[0]) == [2, 3, 4]
    assert 1 not in cluster.brokers
    helper.expel(lost)


def test_a_broker_that_serves_is_not_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Brokers([1, 2, 3])
    helper = broker(tmp_path, cluster, monkeypatch, 2)
    helper.group["gone"] = [helper.group["members"].pop(0)]
    with pytest.raises(host.Failed, match="serves"):
        helper.expel(helper.group["gone"][0])
    assert cluster.replicas == {0: [1, 2, 3]}


def test_nothing_is_moved_for_a_broker_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Brokers([1, 2, 3], fenced=(1,))
    helper = broker(tmp_path, cluster, monkeypatch, 2)
    helper.expel(helper.group["members"][0])
    assert (cluster.replicas, cluster.limits) == ({0: [1, 2, 3]}, [])


def test_a_broker_where_too_few_are_left_keeps_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Brokers([1, 2, 3], brokers=3)
    helper = broker(tmp_path, cluster, monkeypatch, 2)
    with pytest.raises(host.Failed, match="3 replicas, and 2 brokers"):
        helper.expel({**helper.group["members"][0], "leaving": True})
    assert cluster.replicas == {0: [1, 2, 3]}


def test_a_blank_disk_is_not_let_in_where_it_had_the_last_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Brokers([1, 2, 3], [3, 2, 1], fenced=(1,))
    helper = broker(tmp_path, cluster, monkeypatch, 2)
    lost, fresh = helper.group["members"][0], helper.group["members"][3]
    assert helper.admit(lost) == {}
    cluster.in_sync[1] = [1]
    with pytest.raises(host.Failed, match=r"last complete copy of t-1: its disk is needed"):
        helper.admit(lost)
    cluster.in_sync[1] = []  # Kafka took it off the list as well: nobody has it
    with pytest.raises(host.Failed, match="last complete copy"):
        helper.admit(lost)
    assert helper.admit(fresh) == {}, "it had nothing"


def test_all_log_folders_of_a_broker_that_left_are_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = broker(tmp_path, Brokers(), monkeypatch)
    data, more = Path(own.instance.data), tmp_path / "srv/more/kafka_broker1"
    for folder in (data / "kafka", more):
        folder.mkdir(parents=True)
        (folder / "meta.properties").write_text("node.id=1\n")
    own.instance.claim("site", None)
    assert own.put_aside() == f"{data}.retired-1"
    assert Path(f"{data}.retired-1/kafka/meta.properties").exists()
    assert Path(f"{more}.retired-1/meta.properties").exists()
    assert not more.exists()
    more.mkdir()
    (more / "meta.properties").write_text("node.id=4\n")  # its successor's, on the same host
    own.put_aside()
    assert more.exists()
