"""Entries of certificates, what a host lacks of them, and what it needs for the members that it carries."""

from __future__ import annotations

import datetime as dt
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils import pki, state
from ansible_collections.rackspread.ha.plugins.plugin_utils.certificates import (
    Held,
    for_host,
    read_entries,
    remedy,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.pki import Authority
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

YEAR, MONTH = dt.timedelta(days=365), dt.timedelta(days=30)
SERVER = {"service": "etcd", "group": "etcd", "names": ["R1H1"], "addresses": ["2001:db8:0::11"], "client": True}
CLIENT = {"service": "etcd", "folder": "patroni/etcd", "group": "postgres", "client": True}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    pki.ensure_ca(tmp_path, ["etcd"], {}, "harbour")
    made = pki.load(tmp_path, "etcd")
    assert made
    return made


@pytest.fixture
def public_key() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def test_entries_lie_in_folders_of_their_own() -> None:
    server, client = read_entries([SERVER, CLIENT], "r1h1")
    assert server.folder == PurePosixPath("/etc/rackspread/pki/etcd")
    assert client.folder == PurePosixPath("/etc/rackspread/pki/patroni/etcd")
    assert (server.identity.unit, server.identity.name, server.identity.dns) == ("etcd", "r1h1", {"r1h1"})
    assert (client.identity.unit, client.identity.name, client.identity.dns) == ("patroni", "r1h1", frozenset())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"folder": "../etcd"}, "relative path"),
        ({"folder": "/etc/etcd"}, "relative path"),
        ({"name": "x" * 65}, "at most 64 letters"),
        ({"names": ["r1h1:2379"]}, "no host name"),
        ({"addresses": ["r1h1"]}, "does not appear to be an IPv4 or IPv6 address"),
        ({"names": [], "addresses": [], "client": False}, "of no use"),
    ],
)
def test_an_entry_that_can_not_be_meant_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_entries([{**SERVER, **change}], "r1h1")


def test_two_entries_in_one_folder_are_refused() -> None:
    with pytest.raises(ValueError, match="two certificates would lie in /etc/rackspread/pki/etcd"):
        read_entries([SERVER, SERVER], "r1h1")


def test_a_host_gets_what_it_lacks_and_no_more(authority: Authority, public_key: str) -> None:
    [entry] = read_entries([SERVER], "r1h1")

    bare = remedy(entry, Held(public_key=public_key), authority, "r1h1", YEAR, MONTH)
    assert bare
    assert bare.ca == authority.pem
    assert bare.certificate
    assert "names: r1h1, 2001:db8::11" in bare.diff()["after"]

    whole = Held(bare.ca, bare.certificate, public_key)
    assert remedy(entry, whole, authority, "r1h1", YEAR, MONTH) is None

    old = remedy(entry, whole, authority, "r1h1", YEAR, left=YEAR * 2)
    assert old
    assert old.ca is None
    assert old.certificate
    assert old.reason
    assert "it ends on" in old.reason
    assert old.diff()["before"] == pki.describe(bare.certificate)

    bare_ca = remedy(entry, Held(None, bare.certificate, public_key), authority, "r1h1", YEAR, MONTH)
    assert bare_ca
    assert (bare_ca.reason, bare_ca.ca, bare_ca.certificate) == (None, authority.pem, None)


def test_check_mode_on_a_bare_host_tells_and_issues_nothing(authority: Authority) -> None:
    [entry] = read_entries([SERVER], "r1h1")
    for known in (authority, None):
        found = remedy(entry, Held(), known, "r1h1", YEAR, MONTH)
        assert found
        assert found.certificate is None
        assert found.diff()["after"] == "to be issued to r1h1\n"


def test_a_host_that_trusts_another_ca_is_refused(authority: Authority, public_key: str, tmp_path: Path) -> None:
    [entry] = read_entries([SERVER], "r1h1")
    second = tmp_path / "clone"
    second.mkdir()
    pki.ensure_ca(second, ["etcd"], {}, "harbour")
    other = pki.load(second, "etcd")
    assert other
    held = Held(other.pem, other.issue(public_key, entry.identity, YEAR), public_key)
    with pytest.raises(Refusal, match=r"RS-041: /etc/rackspread/pki/etcd/ca\.crt on r1h1 is not the CA of etcd in "):
        remedy(entry, held, authority, "r1h1", YEAR, MONTH)


def test_a_host_needs_what_its_members_and_their_clients_need() -> None:
    def member(host: str, address: str) -> dict[str, Any]:
        return {"id": 1, "host": host, "address": address}

    own = {
        "host": "r1h1",
        "instances": [{"group": "postgres_shard1"}, {"group": "postgres_shard2"}, {"group": "edge_balancer1"}],
        "groups": {
            "postgres_shard1": {
                "service": "postgres",
                "members": [member("r1h1", "192.0.2.11"), member("r2h1", "192.0.2.21")],
            },
            "postgres_shard2": {"service": "postgres", "members": [member("r1h1", "192.0.2.11")]},
            "edge_balancer1": {"service": "edge", "members": [member("r1h1", "192.0.2.11")]},
        },
    }
    settings: dict[str, dict[str, Any]] = {
        "etcd": {},
        "postgres": {},
        "edge": {"vips": ["192.0.2.100/24", "2001:db8::100/64"]},
    }
    published = ["192.0.2.11", "192.0.2.100", "2001:db8::100"]
    wanted = for_host(own, settings, ["db.example.org"])
    assert wanted == [
        {
            "service": "postgres",
            "group": "postgres",
            "names": ["r1h1", "db.example.org"],
            "addresses": published,
            "client": True,
        },
        {"service": "etcd", "folder": "patroni/etcd", "group": "postgres", "client": True},
        {
            "service": "edge",
            "group": "haproxy",
            "names": ["r1h1", "db.example.org"],
            "addresses": published,
            "client": True,
        },
        {"service": "postgres", "folder": "edge/postgres", "group": "haproxy", "client": True},
    ]
    assert len(read_entries(wanted, "r1h1")) == 4
    assert for_host({"host": "r9h9", "instances": [], "groups": {}}, settings) == []


def test_state_lies_beside_the_inventory_of_the_host(tmp_path: Path) -> None:
    assert state.inventory_of({"inventory_dir": str(tmp_path)}) == str(tmp_path)
    with pytest.raises(Refusal, match="RS-046"):
        state.inventory_of({"inventory_dir": None})
