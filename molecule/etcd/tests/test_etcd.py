"""Asks the voters of a converged lab, and then hurts them: what a run must repair, and what it must refuse."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from putting import put
from waiting import until

ROOT = Path(__file__).resolve().parents[3]
ADDRESSES = {"r1h1": "198.18.12.11", "r2h1": "198.18.12.21", "r3h1": "198.18.12.31"}
UNIT = "rackspread-etcd-voter1"
DATA = "/srv/data/etcd_voter1"
PKI = "/etc/rackspread/pki/etcd"
TLS = f"--cacert={PKI}/ca.crt --cert={PKI}/tls.crt --key={PKI}/tls.key"

GOOD = 20000
"""A setting that every run of these tests gives, so that only one of them rolls."""

Converge = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def converge(lab: Any) -> Converge:
    """Runs the role once more, with a setting of etcd's."""

    def run(check: bool = True, snapshot_count: Any = GOOD) -> subprocess.CompletedProcess[str]:
        settings = json.dumps({"etcd_settings": {"snapshot-count": snapshot_count}})
        play = ROOT / "molecule/etcd/converge.yml"
        command = ["ansible-playbook", "-i", lab.inventory, "--skip-tags=pki", f"--extra-vars={settings}", play]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def whole(hosts: Any, converge: Converge) -> Any:
    """A test that hurts the group finds it whole, and it is brought back to that afterwards."""
    assert healthy(hosts)
    yield
    if not healthy(hosts):
        converge()


def etcdctl(host: Any, command: str) -> str:
    """Run etcdctl as a client with the service's certificate, against the host's own voter."""
    own = ADDRESSES[host.backend.host.name]
    output: str = host.check_output(f"etcdctl {TLS} --endpoints=https://{own}:2379 {command}")
    return output


def member_ids(host: Any) -> dict[str, int]:
    """etcd's own ids of the voters, by name."""
    answer = json.loads(etcdctl(host, "member list --write-out=json"))
    return {member["name"]: member["ID"] for member in answer["members"]}


def cluster(host: Any) -> int:
    """The id of the cluster that a host's voter is in."""
    answer: int = json.loads(etcdctl(host, "member list --write-out=json"))["header"]["cluster_id"]
    return answer


def healthy(hosts: Any) -> bool:
    """Whether every voter serves."""
    return all(
        host.run(f"etcdctl {TLS} --endpoints=https://{ADDRESSES[name]}:2379 endpoint health").rc == 0
        for name, host in hosts.items()
    )


def pid(host: Any) -> str:
    """The main process of the voter."""
    shown: str = host.check_output(f"systemctl show --property=MainPID --value {UNIT}")
    return shown.strip()


def settings(host: Any) -> str:
    """What the voter's next start reads."""
    text: str = host.file("/etc/rackspread/etcd_voter1/current/etcd.env").content_string
    return text


def blank(host: Any, folder: str = DATA) -> None:
    """Stop a voter and take its data away, as a file system does that lost it. It is kept in /srv/data/aside."""
    host.check_output(f"systemctl stop {UNIT}")
    host.check_output(f"rm -rf /srv/data/aside && mv {folder} /srv/data/aside")


def reboot(lab: Any, name: str) -> None:
    lab("power-off", name)
    lab("power-on", name)


def unit_is_down(host: Any, sentence: str) -> bool:
    """Whether the voter does not run and the journal of this boot says why."""
    said = host.run(f"journalctl --boot --no-pager --output=cat --unit={UNIT}.service").stdout
    return pid(host) == "0" and sentence in said


def test_what_one_voter_takes_every_other_gives(hosts: Any) -> None:
    etcdctl(hosts["r1h1"], "put /test/written-on r1h1")
    for host in hosts.values():
        assert etcdctl(host, "get --print-value-only /test/written-on") == "r1h1"


def test_each_rack_has_one_voter(hosts: Any) -> None:
    answer = json.loads(etcdctl(hosts["r2h1"], "member list --write-out=json"))
    assert sorted(member["peerURLs"][0] for member in answer["members"]) == [
        f"https://198.18.12.{rack}1:2480" for rack in (1, 2, 3)
    ]
    assert not any(member.get("isLearner") for member in answer["members"])


@pytest.mark.parametrize("port", [2379, 2480])
def test_who_has_no_certificate_is_turned_away(hosts: Any, port: int) -> None:
    # With TLS 1.2 the handshake itself fails, and not, a moment later, what follows it.
    asked = f"timeout 20 openssl s_client -tls1_2 -connect 198.18.12.11:{port} -CAfile {PKI}/ca.crt"
    without = hosts["r2h1"].run(f"{asked} </dev/null")
    assert without.rc != 0
    assert "alert bad certificate" in without.stderr
    with_it = hosts["r2h1"].run(f"{asked} -cert {PKI}/tls.crt -key {PKI}/tls.key </dev/null")
    assert with_it.rc == 0, with_it.stderr


def test_debians_own_etcd_is_masked(hosts: Any) -> None:
    for host in hosts.values():
        assert host.run("systemctl is-enabled etcd.service").stdout.strip() == "masked"
        assert host.run("ls -A /var/lib/etcd").stdout.strip() == ""


def test_the_unit_is_confined(hosts: Any) -> None:
    shown = hosts["r1h1"].check_output(f"systemctl show {UNIT}")
    wanted = {"User=etcd", "NoNewPrivileges=yes", "ProtectSystem=strict", "LimitNOFILE=65536", "OOMScoreAdjust=-900"}
    assert wanted <= set(shown.splitlines())


def test_what_only_a_first_start_reads_is_gone(hosts: Any) -> None:
    for host in hosts.values():
        assert not host.file("/run/rackspread/etcd_voter1.first_start.env").exists
        assert "ETCD_INITIAL_CLUSTER_STATE=existing" in settings(host)


def test_the_probe_sees_a_store_that_forgets_an_acknowledged_key_and_one_that_was_written_twice(hosts: Any) -> None:
    host = hosts["r1h1"]
    endpoints = {"endpoints": [f"https://{address}:2379" for address in ADDRESSES.values()]}
    settings = {
        "targets": {"etcd_voter1": {"write": endpoints, "read": endpoints}},
        "ca": f"{PKI}/ca.crt", "certificate": f"{PKI}/tls.crt", "key": f"{PKI}/tls.key",
    }  # fmt: skip
    for program in ("etcd.py", "counting.py"):
        put(host, f"/root/{program}", (ROOT / "probes" / program).read_text())
    put(host, "/root/probe.json", json.dumps(settings))
    probe = "python3 /root/etcd.py {} /root/probe.json /root/probe.jsonl"
    host.check_output(f"{probe.format('run')} --seconds 5")
    keys = etcdctl(host, "get --prefix --keys-only rackspread_probe/").split()
    assert len(keys) > 30
    etcdctl(host, f"del {keys[9]}")
    etcdctl(host, f"put {keys[19]} twice")
    done = host.run(probe.format("verify"))
    seen = json.loads(done.stdout)["targets"]["etcd_voter1"]
    assert (done.rc, seen["lost"], seen["duplicated"], seen["stale"]) == (1, [10], [20], 0)
    assert seen["reads"] > 30
    host.check_output(probe.format("clean"))
    assert etcdctl(host, "get --prefix --keys-only rackspread_probe/") == ""


def test_a_killed_voter_comes_back_by_itself(hosts: Any) -> None:
    before = pid(hosts["r2h1"])
    hosts["r2h1"].check_output(f"systemctl kill --signal=KILL --kill-whom=main {UNIT}")
    until(lambda: pid(hosts["r2h1"]) not in ("0", before) and healthy(hosts), "the voter serves again")


@pytest.mark.usefixtures("whole")
def test_a_bad_setting_meets_one_voter_and_is_taken_back(hosts: Any, converge: Converge) -> None:
    before = {name: pid(host) for name, host in hosts.items()}
    done = converge(check=False, snapshot_count="many")
    assert done.returncode != 0
    assert "RS-081" in done.stdout
    assert 'invalid value "many" for ETCD_SNAPSHOT_COUNT' in " ".join(done.stdout.split()), "its own words say why"
    assert healthy(hosts)
    assert len([name for name, host in hosts.items() if pid(host) != before[name]]) == 1
    for host in hosts.values():
        assert "SNAPSHOT" not in settings(host)

    assert "restart member" in converge().stdout
    for name, host in hosts.items():
        assert pid(host) != before[name]
        assert f"ETCD_SNAPSHOT_COUNT={GOOD}" in host.check_output(f"tr '\\0' '\\n' </proc/{pid(host)}/environ")
    assert healthy(hosts)


@pytest.mark.usefixtures("whole")
def test_a_voter_that_lost_its_disk_stays_down_and_is_repaired_by_a_run(
    hosts: Any, lab: Any, converge: Converge,
) -> None:
    etcdctl(hosts["r1h1"], "put /test/kept yes")
    ids, formed = member_ids(hosts["r1h1"]), cluster(hosts["r1h1"])
    blank(hosts["r3h1"])
    reboot(lab, "r3h1")
    until(lambda: unit_is_down(hosts["r3h1"], "the disk is lost or not mounted"), "the guard refuses to start it")

    assert "repair (member 3" in converge().stdout
    assert healthy(hosts)
    assert etcdctl(hosts["r3h1"], "get --print-value-only /test/kept") == "yes"
    after = member_ids(hosts["r1h1"])
    assert after.keys() == ids.keys(), "the same places"
    assert [name for name in ids if ids[name] != after[name]] == ["etcd_voter1-3"], "it lost its vote: a new id"
    assert {cluster(host) for host in hosts.values()} == {formed}


@pytest.mark.usefixtures("whole")
def test_two_stopped_with_data_and_one_blank_are_started_and_repaired_never_formed_anew(
    hosts: Any, converge: Converge,
) -> None:
    etcdctl(hosts["r1h1"], "put /test/kept still")
    formed = cluster(hosts["r1h1"])
    blank(hosts["r2h1"], f"{DATA}/etcd")
    hosts["r2h1"].check_output(f"install -d -o etcd -g etcd -m 700 {DATA}/etcd")
    assert hosts["r2h1"].run(f"systemctl start {UNIT}").rc != 0, "with a marker and no data it forms and joins nothing"
    hosts["r2h1"].check_output(f"systemctl stop {UNIT}")
    assert not hosts["r2h1"].file(f"{DATA}/etcd/member/wal").exists
    hosts["r2h1"].check_output(f"rm -rf {DATA}/etcd")
    for name in ("r1h1", "r3h1"):
        hosts[name].check_output(f"systemctl stop {UNIT}")

    done = converge().stdout
    assert "start (member 1" in done
    assert "repair (member 2" in done
    assert ": form" not in done
    assert {cluster(host) for host in hosts.values()} == {formed}
    assert etcdctl(hosts["r2h1"], "get --print-value-only /test/kept") == "still"


@pytest.mark.usefixtures("whole")
def test_a_voter_without_its_volume_stays_down_and_is_refused(hosts: Any, lab: Any, converge: Converge) -> None:
    lab("power-off", "r2h1")
    lab("volume", "r2h1", "detach", "data")
    lab("power-on", "r2h1")
    try:
        assert pid(hosts["r2h1"]) == "0"
        done = converge(check=False)
        assert done.returncode != 0
        assert "RS-062" in done.stdout
        assert "r2h1" in done.stdout
        assert pid(hosts["r2h1"]) == "0"
        assert not hosts["r2h1"].file(DATA).exists
    finally:
        lab("volume", "r2h1", "attach", "data")
    assert "start (member 2" in converge().stdout
    assert healthy(hosts)


@pytest.mark.usefixtures("whole")
def test_when_all_disks_are_blank_nothing_is_formed(hosts: Any, converge: Converge) -> None:
    formed = cluster(hosts["r1h1"])
    for host in hosts.values():
        blank(host)
    try:
        done = converge(check=False)
        assert done.returncode != 0
        assert "RS-066" in done.stdout
        for host in hosts.values():
            assert not host.file(DATA).exists
            assert pid(host) == "0"
    finally:
        for host in hosts.values():
            host.check_output(f"mv /srv/data/aside {DATA}")
    converge()
    assert {cluster(host) for host in hosts.values()} == {formed}, "with the disks back all is as it was"
