"""Asks three converged shards as clients do, then hurts them: who takes over, who goes home, what is never formed."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

ROOT = Path(__file__).resolve().parents[3]
ADDRESSES = {"r1h1": "198.18.16.11", "r2h1": "198.18.16.21", "r3h1": "198.18.16.31"}
PORTS = {"redis_shard1": 16379, "redis_shard2": 16380, "redis_shard3": 16381}
HOMES = {"redis_shard1": "r1h1", "redis_shard2": "r2h1", "redis_shard3": "r3h1"}
UNITS = {shard: f"rackspread-{shard.replace('_', '-')}" for shard in PORTS}
PKI = "/etc/rackspread/pki/redis"
PASSWORDS = {
    "application": "applies-in-this-lab", "admin": "rules-in-this-lab",
    "replication": "follows-in-this-lab", "exporter": "counts-in-this-lab",
}  # fmt: skip
GOOD = {"redis_settings": {"hz": 11}}
"""Variables that every run of these tests gives after the first roll, so that only one of them rolls."""

Converge = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def converge(lab: Any) -> Converge:
    """Runs the role once more, with variables that win over the play's."""

    def run(check: bool = True, **variables: Any) -> subprocess.CompletedProcess[str]:
        play = ROOT / "molecule/redis/converge.yml"
        extra = json.dumps(variables)
        command = ["ansible-playbook", "-i", lab.inventory, "--skip-tags=ground", "-e", extra, play]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module", autouse=True)
def passwords(hosts: Any) -> None:
    """Passwords for redis-cli in files: sudo logs every command line."""
    for host in hosts.values():
        for user, password in PASSWORDS.items():
            put(host, f"/root/{user}", password)


def put(host: Any, path: str, text: str) -> None:
    encoded = base64.b64encode(text.encode()).decode()
    host.check_output(f"echo {encoded} | base64 --decode | install -m 0600 /dev/stdin {path}")


def client(hosts: Any, *words: str, user: str = "application") -> Any:
    """What the client's program answers."""
    settings = {
        "nodes": [[address, port] for address in ADDRESSES.values() for port in PORTS.values()],
        "username": user, "password": PASSWORDS[user], "ssl_ca_certs": f"{PKI}/ca.crt",
    }  # fmt: skip
    put(hosts["client"], "/root/client.py", (Path(__file__).parent / "client.py").read_text())
    put(hosts["client"], "/root/client.json", json.dumps(settings))
    return json.loads(hosts["client"].check_output(f"python3 /root/client.py /root/client.json {' '.join(words)}"))


def ask(
    hosts: Any, shard: str, name: str, *words: str, user: str | None = "admin", through: str | None = None
) -> Any:
    """redis-cli on a host (the member's own, if no other is named), against a member."""
    words = ("-h", ADDRESSES[name], "-p", str(PORTS[shard]), "--tls", "--cacert", f"{PKI}/ca.crt", *words)
    login, password = (f"--user {user}", f"REDISCLI_AUTH=$(cat /root/{user})") if user else ("", "")
    return hosts[through or name].run(f"{password} timeout 10 redis-cli {login} {shlex.join(words)}")


def nodes(hosts: Any, through: str = "r1h1") -> dict[tuple[str, str], dict[str, str]]:
    """By shard and host what one node says of each node of the cluster: its flags, its master's host, its slots."""
    said = [line.split() for line in ask(hosts, "redis_shard1", through, "cluster", "nodes").stdout.splitlines()]
    names = {address: name for name, address in ADDRESSES.items()}
    shards = {str(port): shard for shard, port in PORTS.items()}
    found, places = {}, {}
    for words in said:
        address, _colon, ports = words[1].partition("@")[0].rpartition(":")
        places[words[0]] = (shards.get(ports, ports), names.get(address, address))
    for words in said:
        found[places[words[0]]] = {
            "id": words[0], "flags": words[2], "link": words[7], "slots": " ".join(words[8:]),
            "master": places[words[3]][1] if words[3] != "-" else "",
        }  # fmt: skip
    return found


def masters(hosts: Any, through: str = "r1h1") -> dict[str, str]:
    """By shard the host that leads it, as one node sees it."""
    seen = nodes(hosts, through).items()
    return {shard: name for (shard, name), each in seen if "master" in each["flags"] and "fail" not in each["flags"]}


def whole(hosts: Any) -> bool:
    """Whether every node sees all nine, and every master has both replicas in sync."""
    for name in ADDRESSES:
        seen = nodes(hosts, name)
        if len(seen) != 9 or any("fail" in each["flags"] or each["link"] != "connected" for each in seen.values()):
            return False
    leaders = masters(hosts)
    return len(leaders) == 3 and all(
        ask(hosts, shard, name, "info", "replication").stdout.count("state=online") == 2
        for shard, name in leaders.items()
    )


def at_home(hosts: Any) -> bool:
    return masters(hosts) == HOMES


@pytest.fixture
def intact(hosts: Any, converge: Converge) -> Iterator[None]:
    """A test that hurts the cluster finds it whole and its masters at home, and it is brought back to that."""
    until(lambda: whole(hosts) and at_home(hosts), "all are in sync, and at home")
    yield
    with contextlib.suppress(AssertionError):
        until(lambda: whole(hosts) and at_home(hosts), "all are in sync, and at home", 60)
        return
    converge(**GOOD)


def pids(hosts: Any) -> dict[tuple[str, str], str]:
    show = "systemctl show --property=MainPID --value"
    return {
        (shard, name): hosts[name].check_output(f"{show} {unit}").strip()
        for shard, unit in UNITS.items() for name in ADDRESSES
    }  # fmt: skip


# Asked


def test_what_masters_take_replicas_give(hosts: Any) -> None:
    by_shard = client(hosts, "fill", "300")
    assert min(by_shard.values()) > 50, "each shard has its share"
    until(lambda: client(hosts, "read", "300") == 300, "all keys are read from replicas", 30)


def test_each_rack_has_one_master_and_a_copy_of_each_shard(hosts: Any) -> None:
    until(lambda: at_home(hosts), "the masters are at home")
    seen = nodes(hosts)
    assert {(shard, name): each["slots"] for (shard, name), each in seen.items() if each["slots"]} == {
        ("redis_shard1", "r1h1"): "0-5461",
        ("redis_shard2", "r2h1"): "5462-10922",
        ("redis_shard3", "r3h1"): "10923-16383",
    }  # fmt: skip
    for (shard, name), each in seen.items():
        assert each["master"] == ("" if name == HOMES[shard] else HOMES[shard]), "it follows its own shard's master"


def test_redis_own_check_finds_nothing(hosts: Any) -> None:
    done = ask(hosts, "redis_shard2", "r2h1", "--cluster", "check", f"{ADDRESSES['r2h1']}:{PORTS['redis_shard2']}")
    assert done.rc == 0, done.stdout
    assert "[OK] All nodes agree about slots configuration." in done.stdout
    assert "[OK] All 16384 slots covered." in done.stdout
    for trouble in ("[ERR]", "[WARNING]"):
        assert trouble not in done.stdout


def test_who_has_no_password_or_no_tls_is_turned_away(hosts: Any) -> None:
    assert "NOAUTH" in ask(hosts, "redis_shard1", "r1h1", "get", "key:1", user=None, through="client").stdout
    plain = hosts["client"].run(f"timeout 5 redis-cli -h {ADDRESSES['r1h1']} -p {PORTS['redis_shard1']} ping")
    assert "PONG" not in plain.stdout
    assert hosts["r1h1"].run("timeout 5 redis-cli -h 127.0.0.1 -p 6379 ping").rc != 0, "Debian's own does not run"
    assert hosts["r1h1"].run("systemctl is-enabled redis-server").stdout.strip() == "masked"


def test_users_may_do_what_they_are_for(hosts: Any) -> None:
    for user, words, refused in (
        ("application", ("flushall",), True),
        ("application", ("config", "get", "masterauth"), True),
        ("application", ("cluster", "failover"), True),
        ("application", ("cluster", "slots"), False),
        ("exporter", ("info",), False),
        ("exporter", ("get", "key:1"), True),
        ("exporter", ("config", "get", "*"), True),
        ("replication", ("get", "key:1"), True),
    ):
        said = ask(hosts, "redis_shard1", "r1h1", *words, user=user, through="client").stdout
        assert said.startswith("NOPERM") is refused, (user, words, said)


def test_the_bus_asks_for_a_certificate(hosts: Any) -> None:
    asked = f"timeout 20 openssl s_client -tls1_2 -connect {ADDRESSES['r1h1']}:26379 -CAfile {PKI}/ca.crt"
    without = hosts["r2h1"].run(f"{asked} </dev/null")
    assert without.rc != 0
    assert "alert" in without.stderr
    assert hosts["r2h1"].run(f"{asked} -cert {PKI}/tls.crt -key {PKI}/tls.key </dev/null").rc == 0


def test_memory_is_shared_by_the_members_of_a_host(hosts: Any) -> None:
    for shard in PORTS:
        said = ask(hosts, shard, "r3h1", "config", "get", "maxmemory").stdout.split()
        assert said == ["maxmemory", str(192 * 2**20 * 3 // 4 // 3)]


def test_no_password_is_in_a_log_or_a_process_list(hosts: Any) -> None:
    for name in ADDRESSES:
        said = hosts[name].check_output("journalctl --no-pager --output=cat; ps -eo args")
        for secret in PASSWORDS.values():
            assert secret not in said
        asked = "stat -c '%a %U' /etc/rackspread/redis_shard1/current/cluster.json"
        assert hosts[name].check_output(asked) == "600 root"


# Hurt


def freeze(lab: Any, hosts: Any, shard: str) -> None:
    """Stop a master's process where it stands, until another one leads its shard."""
    own = masters(hosts)[shard]
    lab("freeze", own, UNITS[shard])
    until(lambda: masters(hosts).get(shard) not in (None, own), "another leads", 30)


@pytest.mark.usefixtures("intact")
def test_a_silent_master_is_replaced_and_goes_home_by_itself(hosts: Any, lab: Any) -> None:
    shard, own = "redis_shard2", HOMES["redis_shard2"]
    try:
        freeze(lab, hosts, shard)
        heir = masters(hosts)[shard]
        seen = client(hosts, "write", "2")
    finally:
        lab("thaw", own, UNITS[shard])
    assert all(not lost for lost in seen["lost"].values()), seen
    assert all(seen["acknowledged"].values()), seen
    until(lambda: at_home(hosts), "the master is at home again", 60)
    said = hosts[own].check_output("journalctl --unit=rackspread-redis-home --output=cat --no-pager")
    rack = f"rack{heir[1]}"
    assert f"{shard} goes home from {heir} in {rack} to {own} in rack2: {rack} holds 2 of 3 masters" in said


@pytest.mark.usefixtures("intact")
def test_without_the_unit_a_master_stays_where_it_went(hosts: Any, lab: Any) -> None:
    for name in ADDRESSES:
        hosts[name].check_output("systemctl stop rackspread-redis-home.timer")
    try:
        try:
            freeze(lab, hosts, "redis_shard2")
        finally:
            lab("thaw", "r2h1", UNITS["redis_shard2"])
        until(lambda: whole(hosts), "it is back in sync")
        time.sleep(20)  # twice the unit's period
        assert not at_home(hosts)
    finally:
        for name in ADDRESSES:
            hosts[name].check_output("systemctl start rackspread-redis-home.timer")
    until(lambda: at_home(hosts), "the master is at home again", 60)


@pytest.mark.usefixtures("intact")
def test_a_killed_process_comes_back_by_itself_with_its_keys(hosts: Any) -> None:
    before = pids(hosts)
    client(hosts, "fill", "300")
    hosts["r1h1"].check_output(f"systemctl kill --signal=KILL --kill-whom=main {UNITS['redis_shard1']}")
    until(lambda: pids(hosts)["redis_shard1", "r1h1"] not in ("0", before["redis_shard1", "r1h1"]), "it runs again")
    until(lambda: whole(hosts), "all are in sync")
    assert client(hosts, "read", "300") == 300


@pytest.mark.usefixtures("intact")
def test_a_bad_setting_meets_one_member_and_a_good_one_all_with_no_key_lost(hosts: Any, converge: Converge) -> None:
    before = pids(hosts)
    done = converge(check=False, redis_settings={"hz": "many"})
    assert done.returncode != 0
    assert "RS-081" in done.stdout
    assert len([key for key, pid in pids(hosts).items() if pid != before[key]]) == 1
    until(lambda: whole(hosts), "all are in sync")

    command = "python3 /root/client.py /root/client.json write 600 >/root/seen.json"
    client(hosts, "fill", "1")  # the program is there
    hosts["client"].check_output(f"rm -f /root/stop; systemd-run --quiet --unit=writer sh -c {shlex.quote(command)}")
    told = converge(**GOOD).stdout
    hosts["client"].check_output("touch /root/stop")
    assert told.count("restart member") == 9
    assert at_home(hosts), "the run itself leaves masters where they belong"
    assert whole(hosts)
    until(lambda: hosts["client"].run("systemctl is-active writer").stdout.strip() != "active", "the client ends")
    hosts["client"].check_output("rm -f /root/stop")
    seen = json.loads(hosts["client"].check_output("cat /root/seen.json"))
    assert all(seen["acknowledged"].values()), seen
    assert all(not lost for lost in seen["lost"].values()), seen
    assert max(seen["longest"].values()) < 10, seen


@pytest.mark.usefixtures("intact")
def test_a_changed_password_and_memory_are_taken_without_a_restart(hosts: Any, converge: Converge) -> None:
    before = pids(hosts)
    done = converge(**GOOD, redis_memory=240).stdout
    assert done.count("reload member") == 9
    assert pids(hosts) == before
    assert ask(hosts, "redis_shard1", "r2h1", "config", "get", "maxmemory").stdout.split()[1] == str(240 * 2**20 // 4)
    converge(**GOOD)


@pytest.mark.usefixtures("intact")
def test_a_blank_disk_comes_back_in_its_place_and_nothing_is_formed_anew(
    hosts: Any, lab: Any, converge: Converge
) -> None:
    client(hosts, "fill", "300")
    before = {key: each["id"] for key, each in nodes(hosts).items()}
    host, shard = hosts["r1h1"], "redis_shard1"
    aside = f"rm -rf /srv/data/aside && mv /srv/data/{shard} /srv/data/aside"
    host.check_output(f"systemctl stop {UNITS[shard]} && {aside}")
    assert host.run(f"systemctl start {UNITS[shard]}").rc != 0
    assert "the disk is lost or not mounted" in host.check_output(f"journalctl --no-pager --unit={UNITS[shard]} -n 30")
    until(lambda: masters(hosts, "r2h1").get(shard) in ("r2h1", "r3h1"), "another leads")

    done = converge(**GOOD).stdout
    assert f"{shard}: repair (member 1" in done
    assert ": form" not in done
    host.check_output("rm -rf /srv/data/aside")
    until(lambda: whole(hosts), "all are in sync")
    assert at_home(hosts)
    after = {key: each["id"] for key, each in nodes(hosts).items()}
    assert after.keys() == before.keys(), "the same places, and what it was before is forgotten"
    assert [key for key in before if before[key] != after[key]] == [(shard, "r1h1")]
    assert client(hosts, "read", "300") == 300


@pytest.mark.usefixtures("intact")
def test_a_master_whose_keys_are_gone_does_not_start(hosts: Any, converge: Converge) -> None:
    client(hosts, "fill", "300")
    host, shard = hosts["r1h1"], "redis_shard1"
    folder = f"/srv/data/{shard}/redis"
    # All in one breath, so that it would come back before anybody takes over.
    aside = f"rm -rf /srv/data/aside && mv {folder}/appendonlydir /srv/data/aside"
    host.check_output(f"systemctl stop {UNITS[shard]} && {aside}")
    try:
        assert host.run(f"systemctl start {UNITS[shard]}").rc != 0
        said = host.check_output(f"journalctl --no-pager --unit={UNITS[shard]} -n 30")
        assert "are gone, and it knows its cluster" in said
        done = converge(check=False, **GOOD)
        assert done.returncode != 0
        assert "RS-063" in done.stdout
    finally:
        host.check_output(f"mv /srv/data/aside {folder}/appendonlydir")
    until(lambda: whole(hosts), "with its keys back it starts, and is in sync")
    assert client(hosts, "read", "300") == 300


@pytest.mark.usefixtures("intact")
def test_while_a_rack_is_away_a_run_forms_and_restarts_nothing(hosts: Any, lab: Any, converge: Converge) -> None:
    before = pids(hosts)
    lab("cut", "rack2")
    try:
        until(lambda: masters(hosts).get("redis_shard2") in ("r1h1", "r3h1"), "another leads", 30)
        done = converge(check=False, redis_settings={"hz": 12})
    finally:
        lab("heal")
    assert done.returncode == 4, done.stdout
    assert "RS-061: redis_shard1: member 2 on r2h1 can't be reached" in done.stdout
    for step in ("form", "join", "repair", "restart"):
        assert f": {step} " not in done.stdout
    assert pids(hosts) == before


@pytest.mark.usefixtures("intact")
def test_a_node_that_knows_another_cluster_is_refused(hosts: Any, converge: Converge) -> None:
    shard, host = "redis_shard2", hosts["r3h1"]
    file = f"/srv/data/{shard}/redis/nodes.conf"
    host.check_output(f"systemctl stop {UNITS[shard]} && cp -p {file} /root/nodes.conf")
    try:
        host.check_output(f"sed -i -E 's/shard-id=.{{8}}/shard-id=00000000/' {file}")
        done = converge(check=False, **GOOD)
        assert done.returncode != 0
        assert "RS-060" in done.stdout
        assert "r3h1" in done.stdout
        assert pids(hosts)[shard, "r3h1"] == "0"
    finally:
        host.check_output(f"cp -p /root/nodes.conf {file}")
    assert f"{shard}: start (member 3" in converge(**GOOD).stdout


def shard(index: int) -> dict[str, Any]:
    """A shard more, as the placement would name it."""
    return {
        "name": f"redis_shard{index}", "index": index, "members": [
            {"id": n, "host": name, "rack": f"rack{n}", "address": address, "leader": n == 1 + (index - 1) % 3,
             "ports": {"main": 16378 + index, "bus": 26378 + index}}
            for n, (name, address) in enumerate(ADDRESSES.items(), 1)
        ],
    }  # fmt: skip


@pytest.mark.usefixtures("intact")
def test_shards_are_not_added_beside_foreign_data_nor_where_a_rack_would_hold_half(
    hosts: Any, converge: Converge
) -> None:
    four = converge(check=False, **GOOD, scenario_shards=[shard(index) for index in range(1, 5)])
    assert four.returncode != 0
    assert "RS-017" in four.stdout
    two = converge(check=False, **GOOD, scenario_shards=[shard(7), shard(8)])
    assert two.returncode != 0
    assert "RS-072: redis_shard7: 2 masters are too few" in two.stdout
    hosts["r2h1"].check_output("mkdir -p /srv/data/redis_shard5/redis/appendonlydir")
    try:
        five = converge(check=False, **GOOD, scenario_shards=[shard(index) for index in range(1, 6)])
        assert five.returncode != 0
        assert "RS-063: redis_shard5" in five.stdout
        assert "RS-071: redis_shard4" in five.stdout
    finally:
        hosts["r2h1"].check_output("rm -rf /srv/data/redis_shard5")
    for name, index in itertools.product(ADDRESSES, (4, 7)):
        assert not hosts[name].file(f"/srv/data/redis_shard{index}/redis").exists
    assert len(nodes(hosts)) == 9
    converge(**GOOD)


@pytest.mark.usefixtures("intact")
def test_when_all_disks_of_a_shard_are_blank_nothing_is_formed(hosts: Any, converge: Converge) -> None:
    shard = "redis_shard3"
    for name in ADDRESSES:
        hosts[name].check_output(f"systemctl stop {UNITS[shard]}")
        hosts[name].check_output(f"rm -rf /srv/data/aside && mv /srv/data/{shard} /srv/data/aside")
    try:
        done = converge(check=False, **GOOD)
        assert done.returncode != 0
        assert "RS-066" in done.stdout
        for name in ADDRESSES:
            assert not hosts[name].file(f"/srv/data/{shard}").exists
    finally:
        for name in ADDRESSES:
            hosts[name].check_output(f"mv /srv/data/aside /srv/data/{shard}")
    converge(**GOOD)
    until(lambda: whole(hosts), "with the disks back all is as it was")
