"""What a member of Kafka makes of its disk and of the answers of its cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import kafka
from ansible_collections.rackspread.ha.plugins.module_utils.driver import Found
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance

CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
OWN, OTHER = "JEXY6aqzQY-32P5TStzaFg", "MvDxzVmcRsaTz33bUuRU6A"
NOW = 1_700_000_000_000


def group(component: str, formed: str | None = CLUSTER) -> dict[str, Any]:
    members = [
        {"id": n, "host": f"r{n}h1", "rack": f"rack{n}", "address": f"192.0.2.{n}1", "leader": False,
         "ports": {"main": 9393, "peer": 9142}}
        for n in (1, 2, 3)
    ]  # fmt: skip
    return {"name": f"kafka_{component}1", "index": 1, "members": members, "formed": formed}


def member(root: Path, component: str = "controller", number: int = 1, formed: str | None = CLUSTER) -> Any:
    own = group(component, formed)
    instance = Instance.of(own["name"], number, "/srv/data", root=str(root))
    return kafka.Kafka.of(instance, own, own["members"][number - 1], {})


def formatted(folder: Path, node: int = 10001, cluster: str = CLUSTER, directory: str = OWN) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#", "#Sat Nov 21 19:50:46 UTC 2026", f"node.id={node}", f"directory.id={directory}", "version=1"]
    (folder / "meta.properties").write_text("\n".join([*lines, f"cluster.id={cluster}", ""]))


# The disk


def test_a_blank_disk_is_empty_though_a_killed_run_left_something_aside(tmp_path: Path) -> None:
    assert member(tmp_path).find() == Found("empty")
    data = tmp_path / "srv/data/kafka_controller1"
    (data / "kafka.new/__cluster_metadata-0").mkdir(parents=True)
    (data / "lost+found").mkdir()
    (data / ".rackspread.json").write_text("{}")
    assert member(tmp_path).find() == Found("empty")
    (data / "kafka").mkdir()
    assert member(tmp_path).find() == Found("empty")


def test_the_cluster_is_told_by_what_was_formatted(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka")
    assert member(tmp_path).find() == Found("data", CLUSTER)
    assert member(tmp_path, formed=None).find() == Found("data", CLUSTER)


def test_a_disk_of_another_cluster_says_so(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka", cluster="another")
    assert member(tmp_path).find().cluster_id == "another"


def test_a_disk_of_another_node_is_not_taken(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka", node=10002)
    found = member(tmp_path).find()
    assert (found.state, "node 10002" in found.detail) == ("leftovers", True)


@pytest.mark.parametrize("where", ["", "kafka"])
def test_files_that_nobody_formatted_are_left_alone(tmp_path: Path, where: str) -> None:
    folder = tmp_path / "srv/data/kafka_controller1" / where
    folder.mkdir(parents=True)
    (folder / "seat.expired-0").mkdir()
    assert member(tmp_path).find().state == "leftovers"


def test_a_controller_that_is_not_a_voter_yet_is_half_formed(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka")
    (tmp_path / "srv/data/kafka_controller1/joining").write_text("")
    assert member(tmp_path).find().state == "half_formed"


def broker(root: Path, formed: str | None = CLUSTER) -> tuple[Any, list[Path]]:
    """A broker with two log folders."""
    folders = [root / "srv/data/kafka_broker1/kafka", root / "srv/more/kafka_broker1"]
    own = member(root, "broker", formed=formed)
    version = Path(own.instance.versions, "v1")
    version.mkdir(parents=True)
    (version / kafka.FACTS).write_text(json.dumps({"log_dirs": [str(folder) for folder in folders]}))
    for link in (own.instance.current, own.instance.staged):
        Path(link).symlink_to("versions/v1")
    return own, folders


def test_every_log_folder_is_looked_at(tmp_path: Path) -> None:
    own, folders = broker(tmp_path)
    assert own.find().state == "empty"
    formatted(folders[0], node=1)
    found = own.find()
    assert found.state == "unmounted", "the other one's disk is gone"
    assert str(folders[1]) in found.detail
    formatted(folders[1], node=1, cluster="another", directory=OTHER)
    assert own.find().cluster_id == "another", "whichever is not ours is told"
    formatted(folders[1], node=1, directory=OTHER)
    assert own.find() == Found("data", CLUSTER)


def test_folders_of_which_only_some_are_formatted_are_half_formed_before_anybody_saw_them_whole(tmp_path: Path) -> None:
    own, folders = broker(tmp_path, formed=None)
    formatted(folders[1], node=1)
    assert own.find().state == "half_formed"


# The quorum


def replica(node: int, directory: str = OTHER, late: int = 0) -> dict[str, Any]:
    return {
        "id": node, "directory_id": OWN if node == 10001 and directory is OTHER else directory,
        "log_end": 7, "last_fetch": NOW, "last_caught_up": NOW - late,
    }  # fmt: skip


def state(*voters: dict[str, Any], observers: tuple[dict[str, Any], ...] = (), leader: int = 10002) -> dict[str, Any]:
    return {"leader": leader, "voters": list(voters), "observers": list(observers)}


ABOUT = {"cluster_id": CLUSTER, "controller_id": 10002}


def test_a_voter_is_joined_while_it_keeps_up(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka")
    Path(member(tmp_path).instance.versions).mkdir(parents=True)
    own = member(tmp_path)
    live = own.tell(ABOUT, state(replica(10001), replica(10002), replica(10003)))
    assert (live.cluster_id, live.role, live.healthy, live.members) == (CLUSTER, "follower", True, [1, 2, 3])
    assert live.in_sync == [1, 2, 3]
    live = own.tell(ABOUT, state(replica(10001), replica(10002), replica(10003), leader=10001))
    assert live.role == "leader"
    live = own.tell(ABOUT, state(replica(10001, late=9000), replica(10002), replica(10003)))
    assert (live.healthy, live.in_sync) == (False, [2, 3])
    assert "behind" in live.detail


def test_a_voter_on_another_disk_than_this_is_not_this_member(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka", directory=OTHER)
    own = member(tmp_path)
    Path(own.instance.data, "joining").write_text("")
    before = replica(10001, directory="what-was-lost", late=60_000)
    live = own.tell(ABOUT, state(before, replica(10002), replica(10003), observers=(replica(10001, OTHER + ""),)))
    assert (live.role, live.healthy, live.members, live.unfinished) == ("none", False, [2, 3], True)


def test_voters_that_stand_in_no_place_are_told(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka")
    live = member(tmp_path).tell(ABOUT, state(replica(10001), replica(10002), replica(10009)))
    assert "10009" in live.detail


def test_a_node_that_came_back_on_another_disk_is_not_behind() -> None:
    seen = state(replica(10002), replica(10001, "old", late=60_000), observers=(replica(10001, "new"),))
    assert kafka.behind(seen) == set()
    assert kafka.behind(state(replica(10002), observers=(replica(1, late=60_000),))) == {1}


# Brokers


def cluster(**fenced: bool) -> dict[str, Any]:
    return {"cluster_id": CLUSTER, "nodes": [{"id": int(n[1:]), "fenced": is_so} for n, is_so in fenced.items()]}


def metadata(*isr: int) -> dict[str, Any]:
    return {"topics": [{"name": "t", "partitions": [{"replicas": [1, 2, 3], "isr": list(isr)}] * 2}]}


WHOLE = state(replica(10002), observers=(replica(1), replica(2), replica(3)))


def test_a_broker_tells_whose_copies_are_complete(tmp_path: Path) -> None:
    own = member(tmp_path, "broker")
    live = own.tell(cluster(b1=False, b2=False, b3=False), metadata(1, 2, 3), WHOLE)
    assert (live.healthy, live.members, live.in_sync, live.detail) == (True, [1, 2, 3], [1, 2, 3], "")
    live = own.tell(cluster(b1=False, b2=False, b3=False), metadata(2, 3), WHOLE)
    assert (live.healthy, live.in_sync) == (True, [2, 3])
    assert "2 of its replicas" in live.detail
    late = state(replica(10002), observers=(replica(1), replica(2, late=9000), replica(3)))
    assert own.tell(cluster(b1=False, b2=False, b3=False), metadata(1, 2, 3), late).in_sync == [1, 3]


def test_a_fenced_broker_does_not_serve(tmp_path: Path) -> None:
    own = member(tmp_path, "broker")
    live = own.tell(cluster(b1=True, b2=False, b3=False, b9=False), metadata(2, 3), WHOLE)
    assert (live.healthy, live.members) == (False, [2, 3])
    assert "fenced" in live.detail
    assert "placement does not know: 9" in live.detail
    assert not own.tell(cluster(b2=False), metadata(2, 3), WHOLE).healthy


def test_no_password_goes_to_kafkas_tool() -> None:
    option, word = kafka.scram_user("admin", "a,b]c")
    assert option == "--add-scram"
    assert word.startswith("SCRAM-SHA-512=[name=admin,iterations=4096,salt=")
    assert "a,b]c" not in word
