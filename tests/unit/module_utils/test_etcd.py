"""What is read of a voter without its daemon, and how its cluster's members are told apart."""

import base64
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import host
from ansible_collections.rackspread.ha.plugins.module_utils.etcd import Etcd, NoAnswer, cluster_id, url
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance

# The first bytes of a write-ahead log that etcd 3.5.16 wrote as member ca6fdf42ce9e56d7... of cluster fc6819d1a280fc32.
WAL = base64.b64decode(
    "BAAAAAAAAIQIBBAAAAAAAB8AAAAAAACBCAEQ1riuSRoWCNe65LbZv++mygEQsviDlJq6hrT8AQAOAAAAAAAAgggFEPHNh6UPGgQIABAAAAB7AAAA",
)
MEMBERS = [
    {"id": each, "host": f"r{each}h1", "rack": f"rack{each}", "address": address, "ports": {"main": 2379, "peer": 2480}}
    for each, address in ((1, "198.18.12.11"), (2, "198.18.12.21"), (5, "fd00::31"))
]


@pytest.fixture
def etcd(tmp_path: Path) -> Etcd:
    instance = Instance.of("etcd_voter1", 1, "/srv/data", root=str(tmp_path))
    return Etcd(instance, {"name": "etcd_voter1", "index": 1, "members": MEMBERS}, MEMBERS[0], {})


def put(etcd: Etcd, path: str, content: bytes = b"") -> None:
    file = Path(etcd.instance.data or "", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def test_a_blank_disk_is_empty(etcd: Etcd) -> None:
    assert etcd.find().state == "empty"
    etcd.instance.claim("site", "formation")
    assert etcd.find().state == "empty", "a marker alone is no data"
    put(etcd, "lost+found/x")
    Path(etcd.instance.data or "", "etcd").mkdir()
    assert etcd.find().state == "empty"


def test_foreign_files_are_leftovers(etcd: Etcd) -> None:
    put(etcd, "PG_VERSION")
    assert (etcd.find().state, "PG_VERSION" in etcd.find().detail) == ("leftovers", True)


def test_a_first_start_that_was_cut_short_is_half_formed(etcd: Etcd) -> None:
    put(etcd, "etcd/member/snap/db")
    assert etcd.find().state == "half_formed"
    put(etcd, "etcd/member/wal.tmp/0.wal", WAL)
    assert etcd.find().state == "half_formed"
    put(etcd, "etcd/member/wal/0000000000000000-0000000000000000.wal")
    assert etcd.find().state == "half_formed", "a log without its head"


def test_the_cluster_id_is_read_from_the_log(etcd: Etcd) -> None:
    put(etcd, "etcd/member/wal/0000000000000000-0000000000000000.wal", WAL + bytes(4096))
    found = etcd.find()
    assert (found.state, found.cluster_id) == ("data", "fc6819d1a280fc32")


@pytest.mark.parametrize("head", [b"", b"\0" * 64, WAL[:20], b"\xff" * 64])
def test_what_is_no_log_has_no_cluster_id(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "0.wal").write_bytes(head)
    assert cluster_id(str(tmp_path)) is None


def counted(etcd: Etcd, *members: dict[str, Any], own: str = "11") -> list[int]:
    return sorted(etcd._counted(list(members), own))


def test_members_are_told_apart_by_their_peer_url(etcd: Etcd) -> None:
    first = {"ID": "11", "name": "etcd_voter1-1", "peerURLs": ["https://198.18.12.11:2480"]}
    unstarted = {"ID": "22", "peerURLs": ["https://198.18.12.21:2480"]}
    fifth = {"ID": "55", "name": "etcd_voter1-5", "peerURLs": ["https://[fd00::31]:2480"]}
    stranger = {"ID": "66", "name": "who", "peerURLs": ["https://198.18.12.66:2480"]}
    assert counted(etcd, first, unstarted, fifth, stranger) == [1, 2, 5]
    assert counted(etcd, first, own="12") == [], "the cluster counts the one that this was before it lost its disk"
    assert list(etcd._listed([first, unstarted, fifth])) == [
        "etcd_voter1-1=https://198.18.12.11:2480",
        "etcd_voter1-2=https://198.18.12.21:2480",
        "etcd_voter1-5=https://[fd00::31]:2480",
    ]


@pytest.fixture
def first_start(etcd: Etcd, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What only the next first start is told; nothing is started."""
    told: dict[str, str] = {}

    def start() -> None:
        lines = Path(etcd.instance.first_start).read_text().splitlines()
        told.update(line.split("=", 1) for line in lines)

    monkeypatch.setattr(etcd, "start", start)
    monkeypatch.setattr(host, "own", lambda *_: None)  # there is no user etcd in here
    return told


def test_only_a_formation_is_told_of_a_new_cluster(etcd: Etcd, first_start: dict[str, str]) -> None:
    etcd.form({"formation_id": "first"})
    assert first_start["ETCD_INITIAL_CLUSTER_STATE"] == "new"
    assert first_start["ETCD_INITIAL_CLUSTER"].count("=https://") == len(MEMBERS)


def test_who_joins_is_told_of_the_existing_cluster_as_it_is(etcd: Etcd, first_start: dict[str, str]) -> None:
    etcd.join({"initial_cluster": "a=https://192.0.2.1:2480"})
    assert first_start["ETCD_INITIAL_CLUSTER_STATE"] == "existing"
    assert first_start["ETCD_INITIAL_CLUSTER"] == "a=https://192.0.2.1:2480"
    assert not Path(etcd.instance.first_start).exists(), "no later start reads it"


class Cluster:
    """Answers of a cluster that counts all members; what it is asked to do is noted."""

    def __init__(self, alive: bool) -> None:
        self.alive = alive
        self.asked: list[str] = []

    def members(self, certain: bool = False, seconds: float = 0) -> list[dict[str, Any]]:
        return [{"ID": str(each["id"]), "peerURLs": [url(each, "peer")]} for each in MEMBERS]

    def call(self, path: str, body: dict[str, Any] | None = None, seconds: float = 0) -> dict[str, Any]:
        self.asked.append(path)
        if not self.alive and path.endswith("status"):
            raise NoAnswer("dead")
        return {}


@pytest.mark.parametrize("alive", [True, False])
def test_a_voter_that_answers_has_not_lost_its_disk_and_is_not_removed(
    etcd: Etcd, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    cluster = Cluster(alive)
    monkeypatch.setattr(etcd, "_client_of", lambda _member: cluster)
    if alive:
        with pytest.raises(host.Failed, match="member 2 on r2h1 answers: it is not removed"):
            etcd.expel(MEMBERS[1])
    else:
        etcd.expel(MEMBERS[1])
    assert ("/v3/cluster/member/remove" in cluster.asked) is not alive


class Peers:
    """What a living voter is asked and told, in the place of its JSON gateway."""

    def __init__(self, *members: dict[str, Any]) -> None:
        self.listed = list(members)
        self.removed: list[str] = []

    def members(self, **_how: Any) -> list[dict[str, Any]]:
        return self.listed

    def call(self, path: str, body: dict[str, Any], _seconds: float = 2) -> dict[str, Any]:
        assert path == "/v3/cluster/member/remove"
        self.removed.append(body["ID"])
        return {}


def expelled(etcd: Etcd, target: dict[str, Any], *members: dict[str, Any], answers: bool = False) -> list[str]:
    peers = Peers(*members)
    etcd.__class__ = type("Told", (Etcd,), {"_client": peers, "_answers": lambda *_: answers})
    etcd.expel(target)
    return peers.removed


SECOND = {"ID": "22", "name": "etcd_voter1-2", "peerURLs": ["https://198.18.12.21:2480"]}


def test_a_voter_that_leaves_is_removed_while_it_runs(etcd: Etcd) -> None:
    assert expelled(etcd, {**MEMBERS[1], "leaving": True}, SECOND, answers=True) == ["22"]
    assert expelled(etcd, {**MEMBERS[1], "leaving": True}) == [], "once more, by the run after one that was killed"


def test_a_lost_voter_is_removed_and_not_its_successor_at_the_same_address(etcd: Etcd) -> None:
    successor = {**MEMBERS[1], "id": 6}
    etcd.group["members"] = [MEMBERS[0], successor, MEMBERS[2]]
    assert expelled(etcd, MEMBERS[1], SECOND) == ["22"]
    for name in ({"name": "etcd_voter1-6"}, {}):  # running, and expected but not started yet
        assert expelled(etcd, MEMBERS[1], {"ID": "66", "peerURLs": SECOND["peerURLs"], **name}) == []


def test_a_lost_voter_that_never_started_is_removed(etcd: Etcd) -> None:
    etcd.group["members"] = [MEMBERS[0], MEMBERS[2]]
    assert expelled(etcd, MEMBERS[1], {"ID": "22", "peerURLs": SECOND["peerURLs"]}) == ["22"]
