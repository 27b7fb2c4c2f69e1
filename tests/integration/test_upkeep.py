"""The upkeep of the running demo: how it stands, patches and reboots, certificates, what leaves management.

Run after test_drill.py, on the same lab. What takes long is run by `make test-long`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import live
import pytest

Tell = Callable[[str], None]

pytestmark = pytest.mark.usefixtures("demo")

OUT = float(os.environ.get("RACKSPREAD_OUT", "3"))
"""Seconds that writes may be out; more where the machine has other work as well."""
LOOSE = 15
"""The same in tests that every run makes, on whatever machine."""

BOOT = "cat /proc/sys/kernel/random/boot_id"


def play(playbook: str, *options: str, **variables: object) -> live.Run:
    """A playbook, confirmed but where told otherwise."""
    given = json.dumps({"confirm": True, **variables})
    return live.play(f"playbooks/{playbook}.yml", "--extra-vars", given, *options, seconds=3000)


def options(**variables: object) -> tuple[str, str]:
    return "--extra-vars", json.dumps({"confirm": True, **variables})


def boots() -> dict[str, str]:
    """By host with a member the id of its boot."""
    hosts = sorted({member["host"] for those in live.members("").values() for member in those})
    return {host: live.root(host, BOOT) for host in hosts}


# How it stands


def test_the_site_is_shown_on_one_screen() -> None:
    live.await_whole()
    run = play("status")
    assert run.code == 0, run.output[-6000:]
    row = re.compile(r"(etcd|postgres|redis|kafka|edge)_\w+\d ")
    shown = {line.split()[0]: line for line in run.output.splitlines() if row.match(line)}
    assert set(shown) == set(live.groups())
    for shard, host in live.primaries().items():
        assert f"{host} leader" in shown[shard]
    (holder,) = live.holders()
    assert f"{holder} VIP" in shown["edge_balancer1"]
    assert all(line.rstrip().endswith(" nothing") for line in shown.values()), shown
    days = ", ".join(rf"{service} 7\d\d" for service in ("edge", "etcd", "kafka", "postgres", "redis"))
    assert re.search(rf"Days left, certificates: {days}; CAs: edge 36\d\d,", run.output)
    for rack in ("rack1", "rack2", "rack3"):
        assert f"{rack}: its loss would be survived" in run.output
    assert not run.changed


def test_a_host_says_whether_it_may_reboot_and_what_it_carries() -> None:
    live.await_whole()
    (first, one), (_second, other), (_third, third) = (
        (member["id"], member["host"]) for member in live.members("etcd_voter")["etcd_voter1"]
    )
    ask = "/usr/local/sbin/rackspread-can-reboot; echo $?"
    assert live.root(other, ask).splitlines()[-1] == "0", live.root(other, ask)
    assert "rackspread-etcd-voter1" in live.root(other, "run-parts /etc/update-motd.d")
    live.root(one, "systemctl stop rackspread-etcd-voter1")
    try:
        said, code = live.root(other, ask).splitlines()
        assert code == "1"
        assert said.startswith(f"No: member {first} on {one} of etcd_voter1 not joined (")
        assert live.root(one, ask).splitlines()[-1] == "0", "who does not serve has nothing to lose"
    finally:
        live.root(one, "systemctl start rackspread-etcd-voter1")
    live.until(lambda: live.root(third, ask).splitlines()[-1] == "0", "all voters are back", 60)
    refused = live.lab("ssh", other, "/usr/local/sbin/rackspread-can-reboot", check=False)
    assert refused.returncode == 2, "only root can read what the host remembers"


# Patches


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"rackspread_maintenance": "the switch of rack2 is replaced"}, "RS-120"),
        pytest.param({"confirm": False}, "RS-113", marks=pytest.mark.long),
    ],
)
def test_nothing_is_patched_unasked(variables: dict[str, object], code: str) -> None:
    live.await_whole()
    before = boots()
    run = play("patch", patch_reboot="always", **variables)
    assert run.code != 0
    assert code in run.output
    assert boots() == before


def test_nothing_is_patched_while_patroni_is_paused() -> None:
    shard, member = next((key, those[0]) for key, those in live.members("postgres_shard").items())
    url = f"https://{member['address']}:{member['ports']['rest']}/config"
    login = f"rackspread:{live.secret('postgres', 'rest')}"

    def pause(value: bool | None) -> None:
        status, text = live.fetch(member["host"], url, "postgres", body={"pause": value}, method="PATCH", login=login)
        assert status == 200, text

    pause(True)
    try:
        live.until(lambda: (live.cluster(member) or {}).get("pause"), "Patroni is paused", 60)
        run = play("patch", patch_reboot="always")
        assert run.code != 0
        assert f"RS-121: Patroni of {shard} is paused" in run.output
        assert "PAUSED" in play("status").output
    finally:
        pause(None)
    live.await_whole()


def test_a_host_where_nothing_is_due_is_left_alone() -> None:
    before = boots()
    run = play("patch", "--check")
    assert run.code == 0, run.output[-6000:]
    assert "hosts (reboots: needed)." in run.output or "updates of" in run.output
    assert "localhost" not in run.changed  # on another host, a leader may stand where the end of the run would move it
    assert boots() == before


def test_the_host_of_a_primary_reboots_under_load(told: Tell) -> None:
    live.await_whole()
    host = live.primaries()["postgres_shard1"]
    before = boots()
    with live.Load() as load:
        run = play("patch", patch_reboot="always", patch_hosts=host)
        assert run.code == 0, run.output[-8000:]
        live.await_whole()
        load.await_served()
    told(f"the host of a primary rebooted: writes out for {load.outage():.2f} s, {load.lost} lost")
    assert load.lost == 0
    assert load.outage() <= LOOSE
    assert {name for name, boot in boots().items() if boot != before[name]} == {host}
    assert live.primaries()["postgres_shard1"] != host


@pytest.mark.long
def test_all_hosts_reboot_and_no_shard_is_out_for_more_than_3_s(told: Tell) -> None:
    live.await_whole()
    before = boots()
    with live.Load() as load:
        run = play("patch", patch_reboot="always")
        assert run.code == 0, run.output[-8000:]
        live.await_whole()
        load.await_served()
    told(f"{len(before)} hosts rebooted in {run.seconds:.0f} s: writes out for {load.outage():.2f} s, {load.lost} lost")
    assert load.lost == 0
    assert load.outage() <= OUT
    assert not [name for name, boot in boots().items() if boot == before[name]]


@pytest.mark.long
def test_a_round_that_is_killed_is_ended_by_the_next(tmp_path: Path, told: Tell) -> None:
    live.await_whole()
    before = boots()
    with live.Load() as load:
        live.kill_at("is handed over to", tmp_path / "first", "playbooks/patch.yml", *options(patch_reboot="always"))
        live.kill_at("  reboot (", tmp_path / "second", "playbooks/patch.yml", *options(patch_reboot="always"))
        run = play("patch", patch_reboot="always")
        assert run.code == 0, run.output[-8000:]
        live.await_whole()
        load.await_served()
    assert "This goes on with the round that began" in run.output
    told(f"a round killed twice: writes out for {load.outage():.2f} s, {load.lost} lost")
    assert load.lost == 0
    assert load.outage() <= OUT
    after = boots()
    assert not [name for name, boot in after.items() if boot == before[name]]
    assert not (live.STATE / "patch.json").exists()


# Certificates


def fingerprints(service: str) -> set[str]:
    """Of the CA files that the hosts of a service trust."""
    hosts = {member["host"] for those in live.members(service).values() for member in those}
    return {live.root(host, f"sha256sum </etc/rackspread/pki/{service}/ca.crt") for host in hosts}


def test_a_ca_is_not_changed_while_a_member_is_away() -> None:
    host = live.members("etcd_voter")["etcd_voter1"][2]["host"]
    live.root(host, "systemctl stop rackspread-etcd-voter1")
    try:
        run = play("certificates", certificates_new_ca="etcd")
        assert run.code != 0
        assert "RS-125" in run.output
        assert not (live.STATE / "pki/etcd/phase").exists()
    finally:
        live.root(host, "systemctl start rackspread-etcd-voter1")
    live.await_whole()


@pytest.mark.long
def test_cas_are_changed_in_phases_and_no_client_fails(told: Tell, tmp_path: Path) -> None:
    live.await_whole()
    services = ["etcd", "postgres", "redis", "kafka", "edge"]
    before = {service: fingerprints(service) for service in services}
    for phase in ("trust", "present", "drop"):
        with live.Load("postgres", "edge") as load:
            if phase == "present":
                for point in ("pki : Give the host its certificates", "etcd : Stage the voters"):
                    arguments = options(certificates_new_ca=services)
                    live.kill_at(point, tmp_path / point[:3], "playbooks/certificates.yml", *arguments)
            run = play("certificates", certificates_new_ca=services)
            assert run.code == 0, run.output[-8000:]
            for service in services:
                assert f"CA of {service}, phase {phase}" in run.output
            live.await_whole()
            load.await_served()
        told(
            f"CAs, {phase}: {run.seconds:.0f} s, writes out for {load.outage():.2f} s, {load.lost} lost,"
            f" new connections for {load.outage('knock'):.2f} s"
        )
        assert load.lost == 0
        assert max(load.outage(), load.outage("knock")) <= OUT
        assert all(len(fingerprints(service)) == 1 for service in services)
    for service in services:
        assert fingerprints(service) != before[service]
        assert not (live.STATE / "pki" / service / "phase").exists()
    with live.Load():
        pass  # who has the new CA's file alone is served
    again = live.play("site.yml")
    assert (again.code, again.changed) == (0, {}), again.output[-6000:]


# Passwords


def knows(service: str, name: str, word: str) -> bool:
    """Whether members still let somebody in with a password: Redis its users, Patroni who changes something."""
    (member, *_others) = next(iter(live.members("redis_shard" if service == "redis" else "postgres_shard").values()))
    if service == "redis":
        where = f"-h {member['address']} -p {member['ports']['main']}"
        command = f"redis-cli --user {name} --tls --cacert /etc/rackspread/pki/redis/ca.crt {where} PING"
        return "PONG" in live.root(member["host"], f"REDISCLI_AUTH={word} {command} 2>&1 || true")
    url = f"https://{member['address']}:{member['ports']['rest']}/config"
    status, _text = live.fetch(
        member["host"], url, "postgres", body={"pause": None}, method="PATCH", login=f"rackspread:{word}"
    )
    return status == 200


@pytest.mark.long
def test_passwords_are_changed_in_phases_and_no_client_fails(told: Tell, tmp_path: Path) -> None:
    live.await_whole()
    services = ["postgres", "redis", "edge"]
    used = (("redis", "application"), ("redis", "admin"), ("postgres", "rest"))
    before = {each: live.secret(*each) for each in used}
    for phase in ("trust", "present", "drop"):
        with live.Load("postgres", "redis") as load:
            if phase == "present":
                for number, point in enumerate(("patroni : Form, join", "redis : Form, join")):
                    output = tmp_path / str(number)
                    live.kill_at(point, output, "playbooks/passwords.yml", *options(new_passwords=services))
            run = play("passwords", new_passwords=services)
            assert run.code == 0, run.output[-8000:]
            for service in services:
                assert f"Passwords of {service}, phase {phase}" in run.output
            live.await_whole()
            load.await_served()
        told(f"passwords, {phase}: {run.seconds:.0f} s, writes out for {load.outage():.2f} s, {load.lost} lost")
        assert load.lost == 0
        assert load.outage() <= OUT
        both = all(knows(*each, word) for each, word in before.items() if each[0] == "redis")
        assert both == (phase != "drop")
        secrets = {word for each in used for word in (before[each], live.secret(*each))}
        assert not [word for word in secrets if word in run.output], "a password was shown"
    for each, word in before.items():
        assert live.secret(*each) != word
        assert knows(*each, live.secret(*each))
        assert not knows(*each, word)
    again = live.play("site.yml")
    assert (again.code, again.changed) == (0, {}), again.output[-6000:]
    assert live.play("tools/client.yml").code == 0


@pytest.mark.long
def test_passwords_are_not_changed_while_a_member_is_away() -> None:
    host = live.members("redis_shard")["redis_shard1"][2]["host"]
    live.root(host, "systemctl stop rackspread-redis-shard1")
    try:
        run = play("passwords", new_passwords="redis")
        assert run.code != 0
        assert "RS-125" in run.output
    finally:
        live.root(host, "systemctl start rackspread-redis-shard1")
    live.await_whole()


# What leaves management


def test_what_others_stand_on_is_not_forgotten() -> None:
    before = (live.STATE / "lock.yml").read_text()
    run = play("forget", forget="postgres_shard1/1")
    assert run.code != 0
    assert "RS-130" in run.output
    assert (live.STATE / "lock.yml").read_text() == before


def test_nothing_is_adopted() -> None:
    run = play("adopt", adopt="a cluster")
    assert run.code != 0
    assert "RS-129: a cluster can't be adopted." in run.output


@pytest.mark.long
def test_a_shard_is_forgotten_and_keeps_its_data_and_runs_on(told: Tell, tmp_path: Path) -> None:
    live.await_whole()
    shards = live.members("postgres_shard")
    host = live.primaries()["postgres_shard2"]
    hosts = [member["host"] for member in shards["postgres_shard2"]]
    unit = "rackspread-postgres-shard2"
    with live.Load() as load:
        for point in (f"{hosts[0]} forgets", f"{hosts[1]} forgets"):
            live.kill_at(point, tmp_path / hosts[0], "playbooks/forget.yml", *options(forget="postgres_shard2"))
        run = play("forget", forget="postgres_shard2")
        assert run.code == 0, run.output[-6000:]
        assert "Nothing of it is stopped or removed" in run.output
        load.await_served()
    told(f"a shard forgotten: writes out for {load.outage():.2f} s, {load.lost} lost")
    assert (load.lost, load.outage()) == (0, 0)
    assert "postgres_shard2" not in live.groups()
    assert live.root(host, f"systemctl is-active {unit}") == "active"
    live.root(host, f"systemctl restart {unit}")
    live.until(lambda: live.root(host, f"systemctl is-active {unit}") == "active", "it starts as it did", 60)
    assert "forgotten" in live.root(host, "run-parts /etc/update-motd.d")
