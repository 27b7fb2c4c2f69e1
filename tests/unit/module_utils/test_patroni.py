"""How Patroni's answers are read. They were recorded from a living cluster of Patroni 4.0.7 and Postgres 17."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import patroni
from ansible_collections.rackspread.ha.plugins.plugin_utils import pki
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

MEMBERS = [{"id": number, "host": f"r{number}h1"} for number in (1, 2, 3)]


def recorded(name: str) -> Any:
    return json.loads((Path(__file__).parent / f"patroni_answers/{name}.json").read_text())


@pytest.mark.parametrize(
    ("name", "counted", "in_sync", "detail"),
    [
        ("cluster", [1, 2, 3], [1, 2, 3], ""),
        ("cluster_pending", [1, 2, 3], [1, 2, 3], ""),
        ("cluster_paused", [1, 2, 3], [], "Patroni is paused (patronictl resume ends that)"),
        ("cluster_stopped", [1, 2], [1, 2], "r3h1 is stopped and does not stream from the leader"),
        ("cluster_start_failed", [1, 2], [1, 2], "r3h1 is start failed and does not stream from the leader"),
        ("cluster_cloning", [1, 2], [1, 2], "r3h1 is creating replica and does not stream from the leader"),
        ("cluster_cloned", [1, 2, 3], [1, 2], ""),  # it streams, and is not among the voters of /sync yet
    ],
)
def test_what_the_cluster_counts_on(name: str, counted: list[int], in_sync: list[int], detail: str) -> None:
    seen = patroni.view(recorded(name), MEMBERS)
    assert (seen.leader, seen.counted, seen.in_sync, seen.detail) == (1, counted, in_sync, detail)


def test_who_waits_for_a_restart() -> None:
    assert patroni.view(recorded("cluster_pending"), MEMBERS).pending == [1, 2, 3]
    assert patroni.view(recorded("cluster"), MEMBERS).pending == []


def test_without_a_leader_nobody_counts() -> None:
    answer = recorded("cluster")
    for each in answer["members"]:
        each["role"] = "replica"
    seen = patroni.view(answer, MEMBERS)
    assert (seen.leader, seen.counted, seen.in_sync) == (None, [], [])
    assert "nobody leads" in seen.detail


def test_a_copy_on_another_timeline_does_not_count() -> None:
    answer = recorded("cluster")
    answer["members"][2]["timeline"] = 7
    seen = patroni.view(answer, MEMBERS)
    assert seen.counted == [1, 2]
    assert seen.detail == "r3h1 is on timeline 7, the leader on 8"


def test_members_of_no_place_are_passed_over() -> None:
    assert patroni.view(recorded("cluster"), MEMBERS[:2]).counted == [1, 2]


def test_every_copy_is_believed_where_the_cluster_is_asynchronous_by_choice() -> None:
    assert patroni.view(recorded("cluster_cloned"), MEMBERS, synchronous=False).in_sync == [1, 2, 3]


@pytest.mark.parametrize(
    ("mode", "answer"),
    [("quorum", True), ("on", True), (True, True), ("off", False), (False, False), (None, False)],
)
def test_synchronous(mode: Any, answer: bool) -> None:
    assert patroni.synchronous({"synchronous_mode": mode}) is answer


def test_the_leader_comes_first_where_a_parameter_is_lowered() -> None:
    assert patroni.lowered(recorded("leader_pending")["pending_restart_reason"])


@pytest.mark.parametrize(
    "reason",
    [
        {},
        {"max_connections": {"old_value": "60", "new_value": "80"}},
        {"shared_buffers": {"old_value": "32MB", "new_value": "16MB"}},
        {"max_connections": {"old_value": "60", "new_value": "?"}},
    ],
)
def test_else_it_comes_last(reason: dict[str, dict[str, str]]) -> None:
    assert not patroni.lowered(reason)


def test_a_configuration_as_wanted_needs_no_patch() -> None:
    config = recorded("config")
    assert patroni.difference(config, config) == {}
    assert patroni.difference(config, {"ttl": "20", "failsafe_mode": "on"}) == {}, "as text it is the same"
    assert patroni.difference({**config, "somebody_elses": 1}, config) == {}


def test_a_patch_and_the_one_that_takes_it_back() -> None:
    config = recorded("config")
    wanted = {
        **config,
        "ttl": 30,
        "standby_cluster": {"host": "192.0.2.1"},
        "postgresql": {**config["postgresql"], "parameters": {"max_connections": 50, "max_wal_senders": 10}},
    }
    patch = patroni.difference(config, wanted)
    assert patch == {
        "ttl": 30,
        "standby_cluster": {"host": "192.0.2.1"},
        "postgresql": {"parameters": {"max_connections": 50, "max_replication_slots": None}},
    }
    assert patroni.inverse(config, patch) == {
        "ttl": 20,
        "standby_cluster": None,
        "postgresql": {"parameters": {"max_connections": 80, "max_replication_slots": 10}},
    }


def test_what_was_first_is_what_is_put_back() -> None:
    first = {"postgresql": {"parameters": {"a": 1}}}
    second = {"ttl": 30, "postgresql": {"parameters": {"a": 2, "b": 1}}}
    assert patroni.merged(second, first) == {"ttl": 30, "postgresql": {"parameters": {"a": 1, "b": 1}}}


def test_who_does_not_answer_is_named() -> None:
    with pytest.raises(patroni.NoAnswer, match="no certificate in /nowhere"):
        patroni.Rest("127.0.0.1", 1, "/nowhere").get("/health")
    with pytest.raises(patroni.NoAnswer, match="etcd does not answer"):
        patroni.keys([{"address": "127.0.0.1", "port": 1}], "/nowhere", "/rackspread/x/y/")


class Obeys(http.server.BaseHTTPRequestHandler):
    """A Patroni that obeys one password."""

    def do_POST(self) -> None:
        known = f"Basic {base64.b64encode(b'rackspread:the new one').decode()}"
        self.send_response(200 if self.headers["Authorization"] == known else 401)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Not on the screen."""


@pytest.fixture(scope="module")
def obeying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """Its port, and the folder of the certificates by which it is called."""
    folder = tmp_path_factory.mktemp("pki")
    pki.ensure_ca(folder, ["postgres"], {}, "harbour")
    authority = pki.load(folder, "postgres")
    assert authority
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip
    identity = pki.Identity("postgres", "r1h1", addresses=frozenset({ip_address("127.0.0.1")}), client=True)
    (folder / "ca.crt").write_text(authority.trusted)
    (folder / "tls.crt").write_text(authority.issue(public, identity, timedelta(days=1)))
    (folder / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with http.server.HTTPServer(("127.0.0.1", 0), Obeys) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, str(folder)
        server.shutdown()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["the new one"], 200), (["the old one", "the new one"], 200), (["the new one", "the old one"], 200),
        (["the old one"], 401), ([], 401),
    ],
)  # fmt: skip
def test_while_its_password_is_changed_both_are_tried(
    obeying: tuple[int, str], words: list[str], status: int
) -> None:
    port, folder = obeying
    assert patroni.Rest("127.0.0.1", port, folder, "rackspread", words).call("POST", "/switchover", {})[0] == status
