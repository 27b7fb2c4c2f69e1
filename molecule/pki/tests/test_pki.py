"""Who trusts whom, asked with real TLS between hosts; and what the role refuses, tried."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from transient import unit_name

SCENARIO = Path(__file__).resolve().parents[1]
ROOT = SCENARIO.parents[1]
PKI = "/etc/rackspread/pki"
ADDRESSES = {"r1h1": "198.18.11.11", "r2h1": "198.18.11.21", "r3h1": "198.18.11.31"}
PORT = 7443
NEW = [{"service": "redis", "group": "redis", "client": True}]
"""A service that these hosts have nothing of yet."""

# Answers each client whose certificate holds with the subject that it read there.
SERVE = """
import json, socket, ssl, sys
folder, address, port = sys.argv[1:]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=f"{folder}/ca.crt")
context.load_cert_chain(f"{folder}/tls.crt", f"{folder}/tls.key")
context.verify_mode = ssl.CERT_REQUIRED
listener = socket.create_server((address, int(port)))
while True:
    plain, _ = listener.accept()
    plain.settimeout(10)
    try:
        with context.wrap_socket(plain, server_side=True) as peer:
            parts = [part for group in peer.getpeercert()["subject"] for part in group]
            peer.sendall(json.dumps(dict(parts)).encode())
    except OSError:
        pass
"""
# Prints that answer, or the reason why there is none; waits for a server that is on its way.
CALL = """
import socket, ssl, sys, time
trust, identity, address, port, name = sys.argv[1:]
context = ssl.create_default_context(cafile=f"{trust}/ca.crt")
if identity:
    context.load_cert_chain(f"{identity}/tls.crt", f"{identity}/tls.key")
deadline = time.monotonic() + 30
while True:
    try:
        plain = socket.create_connection((address, int(port)), timeout=10)
        break
    except ConnectionRefusedError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.1)
try:
    with context.wrap_socket(plain, server_hostname=name) as server:
        print(server.recv(4096).decode() or "turned away")
except ssl.SSLCertVerificationError as error:
    print("not trusted:", error.verify_message)
except (ssl.SSLError, ConnectionError) as error:
    print("turned away:", error)
"""


@contextmanager
def serving(hosts: dict[str, Any], name: str, folder: str, group: str) -> Iterator[None]:
    """A server on a host for the time of a block, as an unprivileged user of the key's group."""
    unit = unit_name("tls")
    hosts[name].check_output(
        f"systemd-run --quiet --collect --unit={unit} --property=DynamicUser=yes --property=SupplementaryGroups=%s"
        " /usr/bin/python3 -c %s %s %s %s",
        group, SERVE, f"{PKI}/{folder}", ADDRESSES[name], str(PORT),
    )  # fmt: skip
    try:
        yield
    finally:
        hosts[name].run(f"systemctl stop {unit}")


def call(host: Any, server: str, trust: str, identity: str | None, name: str | None = None) -> str:
    """What a client on a host gets from the server on another, which it calls by its address or a name."""
    words = [
        f"{PKI}/{trust}",
        identity and f"{PKI}/{identity}",
        ADDRESSES[server],
        str(PORT),
        name or ADDRESSES[server],
    ]
    told: str = host.check_output("python3 -c %s %s %s %s %s %s", CALL, *(word or "" for word in words))
    return told.strip()


def play(*arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """Run the scenario's play with more arguments and other variables."""
    command = [Path(sys.executable).with_name("ansible-playbook"), "--inventory", SCENARIO / "inventory", *arguments]
    return subprocess.run(
        [*command, "--extra-vars", json.dumps(variables), SCENARIO / "converge.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", "COLUMNS": "1000"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def digests(hosts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """host -> path -> digest, of every file below the PKI folder."""
    shown = {name: host.check_output(f"find {PKI} -type f -exec sha256sum {{}} +") for name, host in hosts.items()}
    return {name: {line[66:]: line[:64] for line in lines.splitlines()} for name, lines in shown.items()}


@pytest.fixture(scope="module")
def etcd_server(hosts: dict[str, Any]) -> Iterator[None]:
    with serving(hosts, "r1h1", "etcd", "etcd"):
        yield


@pytest.mark.usefixtures("etcd_server")
@pytest.mark.parametrize("name", [None, "r1h1"])
def test_members_know_each_other_by_address_and_by_name(hosts: dict[str, Any], name: str | None) -> None:
    answer = call(hosts["r2h1"], "r1h1", "etcd", "etcd", name)
    assert json.loads(answer) == {
        "organizationName": "molecule",
        "organizationalUnitName": "etcd",
        "commonName": "r2h1",
    }


@pytest.mark.usefixtures("etcd_server")
def test_a_client_of_another_service_says_who_it_is(hosts: dict[str, Any]) -> None:
    answer = json.loads(call(hosts["r3h1"], "r1h1", "patroni/etcd", "patroni/etcd"))
    assert (answer["organizationalUnitName"], answer["commonName"]) == ("patroni", "r3h1")


@pytest.mark.usefixtures("etcd_server")
@pytest.mark.parametrize("identity", [None, "postgres"])
def test_who_has_no_certificate_of_this_service_is_turned_away(hosts: dict[str, Any], identity: str | None) -> None:
    assert call(hosts["r2h1"], "r1h1", "etcd", identity).startswith("turned away")


@pytest.mark.usefixtures("etcd_server")
def test_a_server_is_trusted_under_its_own_names_and_by_its_own_ca_alone(hosts: dict[str, Any]) -> None:
    assert "not trusted: Hostname mismatch" in call(hosts["r2h1"], "r1h1", "etcd", "etcd", "r2h1")
    assert "not trusted" in call(hosts["r2h1"], "r1h1", "postgres", "etcd")


def test_a_client_does_not_pass_for_a_server(hosts: dict[str, Any]) -> None:
    with serving(hosts, "r3h1", "patroni/etcd", "postgres"):
        assert "not trusted: unsuitable certificate purpose" in call(hosts["r2h1"], "r3h1", "etcd", "etcd")


def test_keys_are_where_they_belong_and_nowhere_else(hosts: dict[str, Any], lab: Any) -> None:
    keys = {}
    for name, host in hosts.items():
        files = {
            "etcd/tls.key": "640 root etcd",
            "etcd/tls.crt": "644 root root",
            "etcd/ca.crt": "644 root root",
            "postgres/tls.key": "640 root postgres",
            "patroni/etcd/tls.key": "640 root postgres",
            "patroni/etcd/ca.crt": "644 root root",
        }
        shown = host.check_output(f"cd {PKI} && stat --format='%n: %a %U %G' " + " ".join(files))
        assert dict(line.split(": ") for line in shown.splitlines()) == files
        assert host.run(f"runuser -u nobody -- cat {PKI}/etcd/tls.key").failed
        for file in ("etcd", "postgres", "patroni/etcd"):
            keys[name, file] = host.check_output(f"cat {PKI}/{file}/tls.key")
    assert len(set(keys.values())) == 9, "each has a key of its own"
    own = [path for path in (lab.inventory / ".rackspread").rglob("*") if path.is_file()]
    assert sorted(str(path.relative_to(lab.inventory / ".rackspread/pki")) for path in own) == [
        "etcd/ca.crt", "etcd/ca.key", "postgres/ca.crt", "postgres/ca.key",
    ]  # fmt: skip
    assert not {path.read_text().strip() for path in own} & set(keys.values()), "no host's key is on the controller"


def test_a_certificate_is_valid_from_yesterday_for_two_years(hosts: dict[str, Any]) -> None:
    certificate = f"openssl x509 -noout -in {PKI}/etcd/tls.crt -dateopt iso_8601"
    dates = dict(line.split("=") for line in hosts["r1h1"].check_output(f"{certificate} -dates").splitlines())
    begins, ends = (dt.datetime.fromisoformat(dates[key]) for key in ("notBefore", "notAfter"))
    assert dt.timedelta(days=730) < ends - begins < dt.timedelta(days=732)
    assert begins < dt.datetime.now(dt.UTC) - dt.timedelta(hours=23)


def test_check_mode_tells_and_makes_nothing(hosts: dict[str, Any], lab: Any) -> None:
    before = digests(hosts)
    told = play("--check", "--diff", "--limit", "r1h1", pki_certificates=NEW)
    assert told.returncode == 0, told.stdout
    assert "changed=1" in told.stdout, told.stdout
    assert "+to be issued to r1h1" in told.stdout
    assert digests(hosts) == before
    assert not (lab.inventory / ".rackspread/pki/redis").exists()
    assert hosts["r1h1"].run("getent group redis").failed


def test_a_certificate_is_renewed_with_its_key_and_goes_on_being_trusted(hosts: dict[str, Any]) -> None:
    before = digests(hosts)
    told = play("--diff", "--limit", "r1h1,r3h1", pki_renew_days=800)
    assert told.returncode == 0, told.stdout
    after = digests(hosts)
    changed = {(name, path) for name in hosts for path in before[name] if before[name][path] != after[name][path]}
    folders = ("etcd", "postgres", "patroni/etcd")
    assert changed == {(name, f"{PKI}/{folder}/tls.crt") for name in ("r1h1", "r3h1") for folder in folders}
    assert told.stdout.count("+serial: ") == 6
    with serving(hosts, "r3h1", "etcd", "etcd"):
        assert json.loads(call(hosts["r1h1"], "r3h1", "etcd", "etcd"))["commonName"] == "r1h1"


def test_no_second_ca_is_made_for_hosts_that_have_one(hosts: dict[str, Any], lab: Any, tmp_path: Path) -> None:
    """RS-041: the controller's folder is gone, as in a fresh clone; a host remembers."""
    before = digests(hosts)
    pki, aside = lab.inventory / ".rackspread/pki", tmp_path / "pki"
    shutil.move(pki, aside)
    try:
        told = play("--limit", "r1h1")
        assert told.returncode == 2, told.stdout
        assert "RS-041: r1h1 has a CA of etcd, and this controller has none." in told.stdout
        assert not list(pki.rglob("ca.*"))
        # And where another clone made its own already, for hosts that were new to it
        subprocess.run(["cp", "-r", aside / "postgres", pki / "etcd"], check=True)
        subprocess.run(["cp", "-r", aside / "etcd", pki / "postgres"], check=True)
        told = play("--limit", "r1h1")
        assert told.returncode == 2, told.stdout
        assert f"RS-041: {PKI}/etcd/ca.crt on r1h1 is not the CA of etcd" in told.stdout
        assert digests(hosts) == before
    finally:
        shutil.rmtree(pki, ignore_errors=True)
        shutil.move(aside, pki)


def test_no_ca_is_made_for_a_service_that_a_record_calls_formed(hosts: dict[str, Any], lab: Any) -> None:
    """RS-040: hosts without certificates, of which one knows that the service lives."""
    record = "/etc/rackspread/record.yml"
    content = json.dumps({"version": 1, "groups": {"redis_shard1": {"formed": "1f2e"}}})
    hosts["r2h1"].check_output("test ! -e %s && printf %%s %s > %s", record, content, record)
    try:
        told = play("--limit", "r1h1,r2h1", pki_certificates=NEW)
        assert told.returncode == 2, told.stdout
        assert "RS-040: " in told.stdout
        assert "is not there, but r2h1 says that redis_shard1 was formed." in told.stdout
        assert not list((lab.inventory / ".rackspread/pki").glob("redis/*"))
        assert hosts["r1h1"].run(f"test -e {PKI}/redis").failed
    finally:
        hosts["r2h1"].check_output("rm %s", record)


def test_no_ca_is_made_while_a_host_can_not_be_asked(hosts: dict[str, Any], lab: Any) -> None:
    """RS-045: what r9h9 knows, nobody can say."""
    with_another = lab.inventory / "another.yml"
    with_another.write_text("all: {children: {rack3: {hosts: {r9h9: {ansible_host: host.invalid}}}}}\n")
    try:
        told = play("--limit", "r1h1,r9h9", pki_certificates=NEW)
        assert "RS-045: r9h9 could not be asked whether it has a CA of redis" in told.stdout, told.stdout
        assert not list((lab.inventory / ".rackspread/pki").glob("redis/*"))
    finally:
        with_another.unlink()
