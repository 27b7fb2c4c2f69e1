"""What a member of Kafka makes of its disk and of the answers of its cluster."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import kafka, kafka_client
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
        "log_end": 7, "last_fetch": NOW - late, "last_caught_up": NOW - late,
    }  # fmt: skip


def state(*voters: dict[str, Any], observers: tuple[dict[str, Any], ...] = (), leader: int = 10002) -> dict[str, Any]:
    return {"leader": leader, "voters": list(voters), "observers": list(observers)}


ABOUT = {"cluster_id": CLUSTER, "controller_id": 10002}


def test_a_voter_is_joined_while_it_keeps_up(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka")
    Path(member(tmp_path).instance.versions).mkdir(parents=True)
    own = member(tmp_path)
    live = own.tell(ABOUT, state(replica(10001), replica(10002), replica(10003)), OWN)
    assert (live.cluster_id, live.role, live.healthy, live.members) == (CLUSTER, "follower", True, [1, 2, 3])
    assert live.in_sync == [1, 2, 3]
    live = own.tell(ABOUT, state(replica(10001), replica(10002), replica(10003), leader=10001), OWN)
    assert live.role == "leader"
    live = own.tell(ABOUT, state(replica(10001, late=9000), replica(10002), replica(10003)), OWN)
    assert (live.healthy, live.in_sync) == (False, [2, 3])
    assert "behind" in live.detail


def test_a_voter_on_another_disk_than_this_is_not_this_member(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka", directory=OTHER)
    own = member(tmp_path)
    Path(own.instance.data, "joining").write_text("")
    before = replica(10001, directory="what-was-lost", late=60_000)
    seen = state(before, replica(10002), replica(10003), observers=(replica(10001, OTHER + ""),))
    live = own.tell(ABOUT, seen, OTHER)
    assert (live.role, live.healthy, live.members, live.unfinished) == ("none", False, [2, 3], True)


def test_voters_that_stand_in_no_place_are_told(tmp_path: Path) -> None:
    formatted(tmp_path / "srv/data/kafka_controller1/kafka")
    live = member(tmp_path).tell(ABOUT, state(replica(10001), replica(10002), replica(10009)), OWN)
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


@pytest.mark.parametrize(("code", "taken"), [(None, True), (0, True), (kafka_client.WRONG_PASSWORD, False)])
def test_a_broker_does_not_take_passwords_that_kafka_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int | None, taken: bool
) -> None:
    own, folders = broker(tmp_path)
    facts = {"log_dirs": [str(folder) for folder in folders], "passwords": {"admin": "a", "broker": "b"}}
    Path(own.instance.staged, kafka.FACTS).write_text(json.dumps(facts))
    came, activated = [], []

    def client(*where: Any) -> Any:
        came.append(where[3])
        if code is not None and where[3][0] == "broker":
            raise kafka.NoAnswer("it says so", code)
        return type("Client", (), {"close": lambda _self: None})()

    monkeypatch.setattr(kafka, "Client", client)
    monkeypatch.setattr(kafka.Driver, "activate", lambda _self: activated.append(True))
    with contextlib.nullcontext() if taken else pytest.raises(kafka.host.Failed, match="password of broker"):
        own.activate()
    assert came == [("admin", "a"), ("broker", "b")]
    assert bool(activated) is taken


@pytest.mark.parametrize(("pids", "listens_at", "said"), [
    ([7, 7, 7], 2, None),  # it takes its time
    ([7, 7, 0], 9, "ended as it began: no number"),  # it waits to be started again
    ([7, 7, 8], 9, "ended as it began"),  # it was
    ([7] * 99, 99, None),  # it reads its logs again: the run waits for that
])  # fmt: skip
def test_who_ends_at_its_settings_has_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pids: list[int], listens_at: int, said: str | None
) -> None:
    own, looks, tries = member(tmp_path), iter(pids), iter(range(99))

    def connect(_place: Any, _seconds: float) -> Any:
        if next(tries) < listens_at:
            raise ConnectionRefusedError
        return type("Socket", (), {"close": lambda _self: None})()

    def unit(_name: str) -> Any:
        pid = next(looks)
        return type("Unit", (), {"pid": pid, "running": pid > 0})

    clock = iter(range(99))
    monkeypatch.setattr(kafka.Driver, "_systemctl", lambda _self, _verb: None)
    monkeypatch.setattr(kafka.host, "unit", unit)
    monkeypatch.setattr(kafka.socket, "create_connection", connect)
    monkeypatch.setattr(kafka.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(kafka.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(own, "last_words", lambda: "no number")
    with pytest.raises(kafka.host.Failed, match=said) if said else contextlib.nullcontext():
        own.restart()


# How members come and go


class Cluster:
    """What a quorum of Kafka knows and does: voters are pairs of a node and a directory."""

    def __init__(self, *voters: tuple[int, str], silent: tuple[int, ...] = ()) -> None:
        self.voters = list(voters)
        self.observers: list[tuple[int, str]] = []
        self.silent = silent
        self.asked: list[Any] = []

    def client(self, place: dict[str, Any], _seconds: float = 0) -> Any:
        if place["id"] + 10000 in self.silent:
            raise kafka.NoAnswer("nobody is there")
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass

    def check(self, _answer: Any) -> None:
        pass

    def ask(self, api: Any, **body: Any) -> Any:
        self.asked.append((api, body))
        pair = (body.get("id"), body.get("directory_id"))
        if api is kafka.REMOVE_RAFT_VOTER:
            self.voters.remove(pair)  # type: ignore[arg-type]
        elif api is kafka.ADD_RAFT_VOTER:
            assert pair in self.observers, "it has caught up before it votes"
            self.voters.append(pair)  # type: ignore[arg-type]
        elif api is kafka.DESCRIBE_CLUSTER:
            return {**ABOUT, "controller_id": 10002}
        elif api is kafka_client.DESCRIBE_QUORUM:
            voters = [
                {**replica(node, late=60_000 * (node in self.silent)), "directory_id": directory}
                for node, directory in self.voters
            ]
            observers = tuple({**replica(node), "directory_id": directory} for node, directory in self.observers)
            return {"topics": [{"partitions": [{**state(*voters, observers=observers), "error": 0}]}]}
        return {}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Kafka's own tool and systemd as they would be; the words that the tool was given."""
    calls: list[list[str]] = []

    def run(command: list[str], **_more: Any) -> Any:
        assert len(command) == 2, "nothing but the name of a file"
        words = Path(command[1].removeprefix("@")).read_text().splitlines()
        calls.append(words)
        settings = dict(line.split("=", 1) for line in Path(words[2]).read_text().splitlines())
        voters = words[words.index("--initial-controllers") + 1] if "--initial-controllers" in words else ""
        directory = next((each.rpartition(":")[2] for each in voters.split(",") if each.startswith("10001@")), OTHER)
        for folder in settings["log.dirs"].split(","):
            formatted(Path(folder), int(settings["node.id"]), words[4], directory)
        return type("Done", (), {"returncode": 0, "stdout": "", "stderr": ""})

    monkeypatch.setattr(kafka.host, "run", run)
    monkeypatch.setattr(kafka.host, "own", lambda *_: None)
    monkeypatch.setattr(kafka.host, "unit", lambda _name: type("Unit", (), {"running": False}))
    monkeypatch.setattr(kafka.Kafka, "start", lambda _self: None)
    monkeypatch.setattr(kafka, "RUN", str(tmp_path))
    monkeypatch.setattr(kafka, "CATCH_UP_SECONDS", 0)
    return calls


def staged(root: Path, formed: str | None = CLUSTER) -> Any:
    own = member(root, formed=formed)
    version = Path(own.instance.versions, "v1")
    version.mkdir(parents=True)
    folder = f"{own.instance.data}/kafka"
    facts = {"software": "/opt/kafka", "jvm": "", "user": "kafka", "admin": "admin", "log_dirs": [folder]}
    (version / kafka.FACTS).write_text(json.dumps({**facts, "passwords": {"admin": "a", "broker": "b"}}))
    (version / kafka.SETTINGS).write_text(f"node.id=10001\nlog.dirs={folder}\nmetadata.log.dir={folder}\n")
    for link in (own.instance.current, own.instance.staged):
        Path(link).symlink_to("versions/v1")
    Path(own.instance.data).mkdir(parents=True, exist_ok=True)
    return own


INTENT = {"formation_id": "f", "cluster_id": CLUSTER, "directory_ids": {"1": OWN, "2": "D2", "3": "D3"}}


def test_the_first_voters_are_formatted_with_one_list_and_their_own_ids(tmp_path: Path, tool: Any) -> None:
    own = staged(tmp_path, formed=None)
    own.form(INTENT)
    [words] = tool
    assert words[3:5] == ["--cluster-id", CLUSTER]
    assert words[words.index("--initial-controllers") + 1] == (
        f"10001@192.0.2.11:9393:{OWN},10002@192.0.2.21:9393:D2,10003@192.0.2.31:9393:D3"
    )
    assert words.count("--add-scram") == 2
    assert own.find() == Found("data", CLUSTER)


def test_a_formatted_folder_is_not_formatted_again(tmp_path: Path, tool: Any) -> None:
    own = staged(tmp_path, formed=None)
    own.form(INTENT)
    own.form(INTENT)
    assert len(tool) == 1
    with pytest.raises(kafka.host.Failed, match="was to have"):
        own.form({**INTENT, "directory_ids": {"1": OTHER, "2": "D2", "3": "D3"}})


def test_a_blank_controller_is_never_the_start_of_a_cluster(
    tmp_path: Path, tool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, cluster = staged(tmp_path), Cluster((10002, "D2"), (10003, "D3"))
    monkeypatch.setattr(own, "_client", cluster.client)
    cluster.observers = [(10001, OTHER)]
    own.join({})
    [words] = tool
    assert words[3:] == ["--cluster-id", CLUSTER, "--no-initial-controllers"]
    assert (10001, OTHER) in cluster.voters
    assert own.find().state == "data", "nothing says any more that it is joining"


def test_who_was_killed_while_it_joined_goes_on(tmp_path: Path, tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    own, cluster = staged(tmp_path), Cluster((10002, "D2"), (10003, "D3"))
    monkeypatch.setattr(own, "_client", cluster.client)
    monkeypatch.setattr(own, "last_words", lambda: "")
    with pytest.raises(kafka.host.Failed, match="did not catch up"):
        own.join({})
    assert own.find().state == "half_formed"
    cluster.observers = [(10001, OTHER)]
    own.join({})
    own.join({})
    assert len(tool) == 1
    assert cluster.voters.count((10001, OTHER)) == 1


def test_a_lost_voter_is_removed_under_the_id_that_its_disk_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = staged(tmp_path)
    cluster = Cluster((10001, OWN), (10002, "D2"), (10003, "D3"), silent=(10003,))
    monkeypatch.setattr(own, "_client", cluster.client)
    own.expel(own.group["members"][2])
    assert cluster.voters == [(10001, OWN), (10002, "D2")]
    own.expel(own.group["members"][2])  # once more, by a run that comes after a killed one


def test_a_controller_that_answers_has_not_lost_its_disk_and_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, cluster = staged(tmp_path), Cluster((10001, OWN), (10002, "D2"), (10003, "D3"))
    monkeypatch.setattr(own, "_client", cluster.client)
    monkeypatch.setattr(kafka, "SILENCE_SECONDS", 0)
    for target in own.group["members"]:  # the active controller, which fetches from nobody, is one of them
        with pytest.raises(kafka.host.Failed, match="serves"):
            own.expel(target)
    assert len(cluster.voters) == 3


def test_one_that_leaves_is_removed_while_it_still_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, cluster = staged(tmp_path), Cluster((10001, OWN), (10002, "D2"), (10003, "D3"))
    monkeypatch.setattr(own, "_client", cluster.client)
    own.expel({**own.group["members"][2], "leaving": True})
    assert cluster.voters == [(10001, OWN), (10002, "D2")]


def test_a_lost_voters_successor_on_the_same_host_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = staged(tmp_path)
    cluster = Cluster((10001, OWN), (10002, "D2"), (10003, "D3"), silent=(10003,))
    monkeypatch.setattr(own, "_client", lambda place, *_: cluster.client({**place, "id": 1}))  # somebody answers
    lost = own.group["members"].pop()
    own.group |= {"gone": [lost], "members": [*own.group["members"], {**lost, "id": 4}]}
    own.expel(lost)
    assert cluster.voters == [(10001, OWN), (10002, "D2")]


def test_another_controller_is_seen_without_knowing_its_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, cluster = staged(tmp_path), Cluster((10001, OWN), (10002, "D2"), (10003, "D3"))
    formatted(tmp_path / "srv/data/kafka_controller1/kafka")
    monkeypatch.setattr(kafka.Controller, "_client", lambda _self, place, *_: cluster.client(place))
    for number in (2, 3):
        live = own.overlook(own.group["members"][number - 1])
        assert (live.healthy, live.members, live.detail) == (True, [1, 2, 3], "")
    assert own.ask().healthy
    cluster.silent = (10003,)
    assert not own.overlook(own.group["members"][2]).healthy
