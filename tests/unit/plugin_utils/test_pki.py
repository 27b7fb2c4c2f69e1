"""Authorities and what they issue, judged with cryptography's own verifier and with openssl."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock, pki
from ansible_collections.rackspread.ha.plugins.plugin_utils.pki import Authority, Identity
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.verification import PolicyBuilder, Store

YEAR = dt.timedelta(days=365)
MONTH = dt.timedelta(days=30)
MEMBER = Identity(
    "etcd",
    "r1h1",
    frozenset({"r1h1"}),
    frozenset(map(ipaddress.ip_address, ["192.0.2.11", "2001:db8::11"])),
    client=True,
)
CLIENT = Identity("patroni", "r1h1", client=True)
FORMED = {"r1h1": {"groups": {"etcd_voter1": {"formed": "1f2e"}}}, "r2h1": None}


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    folder = tmp_path / "inventory"
    folder.mkdir()
    return folder


@pytest.fixture
def authority(inventory: Path) -> Authority:
    assert pki.ensure_ca(inventory, ["etcd"], {}, "harbour") == ["etcd"]
    made = pki.load(inventory, "etcd")
    assert made
    return made


@pytest.fixture
def strict_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def new_key() -> str:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.usefixtures("strict_umask")
def test_an_authority_lies_beside_the_inventory_and_is_private(authority: Authority, inventory: Path) -> None:
    folder = inventory / ".rackspread/pki/etcd"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}
    assert modes == {"etcd": 0o700, "ca.key": 0o600, "ca.crt": 0o644}
    assert authority.path == folder


def test_an_authority_says_whose_it_is_and_signs_no_other_authority(authority: Authority) -> None:
    certificate = authority.certificate
    assert certificate.subject.rfc4514_string() == "CN=etcd CA,OU=etcd,O=harbour"
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    now = dt.datetime.now(dt.UTC)
    assert certificate.not_valid_before_utc <= now - dt.timedelta(hours=23)
    assert 3650 <= (certificate.not_valid_after_utc - now).days <= 3653


def test_a_certificate_is_accepted_as_server_and_as_client(authority: Authority) -> None:
    store = PolicyBuilder().store(Store([authority.certificate]))
    certificate = x509.load_pem_x509_certificate(authority.issue(new_key(), MEMBER, YEAR).encode())
    store.build_server_verifier(x509.DNSName("r1h1")).verify(certificate, [])
    for address in MEMBER.addresses:
        store.build_server_verifier(x509.IPAddress(address)).verify(certificate, [])
    store.build_client_verifier().verify(certificate, [])
    assert certificate.subject.rfc4514_string() == "CN=r1h1,OU=etcd,O=harbour"
    assert certificate.not_valid_before_utc <= dt.datetime.now(dt.UTC) - dt.timedelta(hours=23)


def test_openssl_verifies_a_chain_and_tells_the_two_uses_apart(authority: Authority, tmp_path: Path) -> None:
    def verify(identity: Identity, purpose: str) -> int:
        file = tmp_path / "tls.crt"
        file.write_text(authority.issue(new_key(), identity, YEAR))
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", authority.path / "ca.crt", file]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert verify(MEMBER, "sslserver") == verify(MEMBER, "sslclient") == verify(CLIENT, "sslclient") == 0
    assert verify(CLIENT, "sslserver") != 0


def test_a_certificate_never_outlives_its_authority(authority: Authority) -> None:
    late = authority.certificate.not_valid_after_utc - MONTH
    issued = authority.issue(key := new_key(), MEMBER, YEAR, late)
    assert (
        x509.load_pem_x509_certificate(issued.encode()).not_valid_after_utc == authority.certificate.not_valid_after_utc
    )
    # Its successor would end no later: to ask for one in every run would change nothing but the file.
    assert authority.fault(issued, key, MEMBER, MONTH * 2, late) is None
    with pytest.raises(Refusal, match="RS-044"):
        authority.issue(key, MEMBER, YEAR, late + MONTH)


def test_what_is_wrong_with_a_certificate_is_said(authority: Authority, tmp_path: Path) -> None:
    key = new_key()
    issued = authority.issue(key, MEMBER, YEAR)
    assert authority.fault(issued, key, MEMBER, MONTH) is None

    assert authority.fault(None, key, MEMBER, MONTH) == "there is none"
    assert authority.fault("no certificate", key, MEMBER, MONTH) == "it can't be read, or is another CA's"
    assert authority.fault(issued, new_key(), MEMBER, MONTH) == "it is not this key's"
    assert authority.fault(issued, None, MEMBER, MONTH) == "it is not this key's"
    assert authority.fault(issued, key, CLIENT, MONTH) == "it is for CN=r1h1,OU=etcd,O=harbour"
    moved = Identity("etcd", "r1h1", MEMBER.dns, frozenset([ipaddress.ip_address("192.0.2.12")]), client=True)
    assert authority.fault(issued, key, moved, MONTH) == "its names or addresses are others"
    server = Identity("etcd", "r1h1", MEMBER.dns, MEMBER.addresses)
    assert authority.fault(issued, key, server, MONTH) == "it is for another use"

    for services in (["postgres"], ["etcd"]):  # another service's, and a second one of the same name
        pki.ensure_ca(tmp_path, services, {}, "harbour")
        other = pki.load(tmp_path, services[0])
        assert other
        foreign = other.issue(key, MEMBER, YEAR)
        assert authority.fault(foreign, key, MEMBER, MONTH) in (
            "it is another CA's",
            "it can't be read, or is another CA's",
        )


def test_a_certificate_is_renewed_before_it_ends(authority: Authority) -> None:
    key, now = new_key(), dt.datetime.now(dt.UTC)
    issued = authority.issue(key, MEMBER, YEAR, now)
    assert authority.fault(issued, key, MEMBER, MONTH, now + dt.timedelta(days=334)) is None
    reason = authority.fault(issued, key, MEMBER, MONTH, now + dt.timedelta(days=336))
    assert reason == f"it ends on {now + YEAR:%Y-%m-%d}"


def test_an_authority_is_made_once(authority: Authority, inventory: Path) -> None:
    assert pki.ensure_ca(inventory, ["etcd"], FORMED, "another name") == []
    again = pki.load(inventory, "etcd")
    assert again
    assert again.pem == authority.pem


def test_a_key_without_a_certificate_was_never_used_and_is_taken_up_again(
    authority: Authority, inventory: Path
) -> None:
    key = (authority.path / "ca.key").read_bytes()
    (authority.path / "ca.crt").unlink()
    assert pki.ensure_ca(inventory, ["etcd"], {}, "harbour") == ["etcd"]
    assert (authority.path / "ca.key").read_bytes() == key


def test_no_second_authority_is_made_over_a_living_service(inventory: Path) -> None:
    with pytest.raises(Refusal, match=r"RS-040: .*pki/etcd is not there, but r1h1 says that etcd_voter1 was formed"):
        pki.ensure_ca(inventory, ["etcd"], FORMED, "harbour")
    assert not (inventory / ".rackspread").exists()
    assert pki.ensure_ca(inventory, ["postgres"], FORMED, "harbour") == ["postgres"], "another service's, not formed"


def test_the_lock_is_a_witness_as_well(inventory: Path) -> None:
    group = lock.LockedGroup(index=1, next_id=4, members=(), formed="1f2e")
    lock.write(lock.path_for(inventory), lock.Lock(site_id="a", groups={"etcd_voter1": group}))
    with pytest.raises(Refusal, match=r"RS-040: .* the lock says that etcd_voter1 was formed"):
        pki.ensure_ca(inventory, ["etcd"], {}, "harbour")


def test_check_mode_makes_nothing(inventory: Path) -> None:
    assert pki.ensure_ca(inventory, ["etcd"], {}, "harbour", dry=True) == ["etcd"]
    assert not (inventory / ".rackspread").exists()


def test_an_authority_whose_key_is_kept_elsewhere_judges_and_issues_nothing(
    authority: Authority, inventory: Path
) -> None:
    key = new_key()
    issued = authority.issue(key, MEMBER, YEAR)
    (authority.path / "ca.key").unlink()
    keyless = pki.load(inventory, "etcd")
    assert keyless
    assert keyless.fault(issued, key, MEMBER, MONTH) is None
    with pytest.raises(Refusal, match=r"RS-044: .*ca\.key is not there"):
        keyless.issue(key, MEMBER, YEAR)


@pytest.mark.parametrize("file", ["ca.key", "ca.crt"])
def test_a_damaged_authority_is_neither_used_nor_replaced(authority: Authority, inventory: Path, file: str) -> None:
    (authority.path / file).write_text("$ANSIBLE_VAULT;1.1;AES256\n")
    with pytest.raises(Refusal, match="RS-042"):
        pki.ensure_ca(inventory, ["etcd"], {}, "harbour")
    assert (authority.path / file).read_text().startswith("$ANSIBLE_VAULT")


def test_a_key_of_another_authority_is_refused(authority: Authority, inventory: Path, tmp_path: Path) -> None:
    pki.ensure_ca(tmp_path, ["etcd"], {}, "harbour")
    (authority.path / "ca.key").write_bytes((tmp_path / ".rackspread/pki/etcd/ca.key").read_bytes())
    with pytest.raises(Refusal, match=r"RS-042: .* is not the key of"):
        pki.load(inventory, "etcd")
