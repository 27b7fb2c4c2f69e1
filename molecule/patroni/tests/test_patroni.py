"""Asks two converged shards, then hurts them under a client that writes: what must not be lost, repaired or taken."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from putting import put
from transient import unit_name
from waiting import until

ROOT = Path(__file__).resolve().parents[3]
ADDRESSES = {"r1h1": "198.18.15.11", "r2h1": "198.18.15.21", "r3h1": "198.18.15.31"}
ALL = ",".join(ADDRESSES.values())
PORTS = {"postgres_shard1": 25432, "postgres_shard2": 25433}
REST = {"postgres_shard1": 8008, "postgres_shard2": 8009}
UNITS = {"postgres_shard1": "rackspread-postgres-shard1", "postgres_shard2": "rackspread-postgres-shard2"}
PKI = "/etc/rackspread/pki/postgres"
TLS = f"sslmode=verify-full sslrootcert={PKI}/ca.crt"
APP = "of-this-lab-alone"

Converge = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def converge(lab: Any) -> Converge:
    """Runs the role once more, with variables that win over the play's."""

    def run(check: bool = True, **variables: Any) -> subprocess.CompletedProcess[str]:
        play = ROOT / "molecule/patroni/converge.yml"
        command = ["ansible-playbook", "-i", lab.inventory, "--skip-tags=ground", "-e", json.dumps(variables), play]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@contextlib.contextmanager
def writing(client: Any) -> Iterator[dict[str, Any]]:
    """A client that writes and reads all the while, 20 times a second; afterwards what `verify` says, by shard."""
    anywhere = {"host": ALL, "load_balance_hosts": "random"}
    settings = {
        "targets": {
            shard: {
                "write": {"host": ALL, "port": port, "target_session_attrs": "read-write"},
                "read": {**anywhere, "port": port, "target_session_attrs": "prefer-standby"},
            }
            for shard, port in PORTS.items()
        },
        "connect": {
            "user": "app", "password": APP, "dbname": "app",
            "sslmode": "verify-full", "sslrootcert": f"{PKI}/ca.crt",
        },
    }  # fmt: skip
    for program in ("postgres.py", "counting.py"):
        put(client, f"/root/{program}", (ROOT / "probes" / program).read_text())
    put(client, "/root/probe.json", json.dumps(settings))
    client.check_output("rm -f /root/probe.jsonl")
    probe = "/usr/bin/python3 /root/postgres.py"
    unit = unit_name("probe")
    client.check_output(
        f"systemd-run --quiet --collect --unit={unit} {probe} run /root/probe.json /root/probe.jsonl"
    )
    seen: dict[str, Any] = {}
    try:
        until(lambda: client.run("grep -q '\"write\".*\"ok\": true' /root/probe.jsonl").rc == 0, "the first write")
        yield seen
    finally:
        client.run(f"systemctl stop {unit}")
    seen.update(json.loads(client.run(f"{probe} verify /root/probe.json /root/probe.jsonl").stdout)["targets"])


def nothing_lost(seen: dict[str, Any]) -> bool:
    return all(not each["lost"] and not each["duplicated"] and each["acknowledged"] for each in seen.values())


def psql(host: Any, where: str, statement: str, password: str = APP) -> Any:
    """What psql says, as a client on the network."""
    command = f"psql {shlex.quote(where)} -XAtc {shlex.quote(statement)}"
    return host.run(f"PGPASSWORD={shlex.quote(password)} PGCONNECT_TIMEOUT=10 {command}")


def local(host: Any, shard: str, statement: str) -> str:
    """A statement as the superuser, over the socket of the member on this host."""
    where = f"host=/run/{UNITS[shard]} port={PORTS[shard]} user=postgres"
    answer: str = host.check_output(f"psql {shlex.quote(where)} -XAtc {shlex.quote(statement)}")
    return answer


SHOW_CERTIFICATE = f"c.load_cert_chain('{PKI}/tls.crt', '{PKI}/tls.key')"


def rest(host: Any, member: str, shard: str, path: str, before: str = "", request: str = "") -> Any:
    """What a member's Patroni says to a host; with SHOW_CERTIFICATE `before`, and `request` as Request takes it."""
    script = f"""if True:
        import ssl, urllib.request
        c = ssl.create_default_context(cafile='{PKI}/ca.crt')
        {before}
        r = urllib.request.Request('https://{ADDRESSES[member]}:{REST[shard]}{path}', {request})
        print(urllib.request.urlopen(r, context=c, timeout=10).read().decode())
    """
    return host.run(f"python3 -c {shlex.quote(script)}")


def members(hosts: Any, shard: str) -> dict[str, dict[str, Any]]:
    """The members as the cluster itself sees them, by host."""
    for name in ADDRESSES:
        answer = rest(hosts[name], name, shard, "/cluster", SHOW_CERTIFICATE)
        if answer.rc == 0:
            return {each["name"]: each for each in json.loads(answer.stdout)["members"]}
    return {}


def leader(hosts: Any, shard: str) -> str:
    return next((name for name, each in members(hosts, shard).items() if each["role"] == "leader"), "")


def whole(hosts: Any) -> bool:
    """Whether each shard has a leader, and two copies in sync with it, by Patroni's word and by the leader's own."""
    for shard, port in PORTS.items():
        seen = members(hosts, shard)
        if sorted(each["role"] for each in seen.values()) != ["leader", "quorum_standby", "quorum_standby"]:
            return False
        own = next(name for name, each in seen.items() if each["role"] == "leader")
        statement = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'"
        where = f"host=/run/{UNITS[shard]} port={port} user=postgres"
        if hosts[own].run(f"psql {shlex.quote(where)} -XAtc {shlex.quote(statement)}").stdout.strip() != "2":
            return False
    return True


def started(hosts: Any, shard: str) -> dict[str, str]:
    """When each member's Postgres was started."""
    return {name: local(hosts[name], shard, "SELECT pg_postmaster_start_time()") for name in ADDRESSES}


# Asked


def test_each_member_is_in_a_rack_of_its_own_and_leaders_are_apart(hosts: Any) -> None:
    for shard in PORTS:
        racks = {each["tags"]["rack"] for each in members(hosts, shard).values()}
        assert racks == {"rack1", "rack2", "rack3"}
    assert (leader(hosts, "postgres_shard1"), leader(hosts, "postgres_shard2")) == ("r1h1", "r2h1")


def test_what_the_client_writes_to_a_leader_every_copy_gives(hosts: Any) -> None:
    for shard, port in PORTS.items():
        anywhere = f"port={port} dbname=app user=app {TLS}"
        wrote = psql(
            hosts["client"],
            f"host={ALL} target_session_attrs=read-write {anywhere}",
            f"CREATE TABLE IF NOT EXISTS t (x text); INSERT INTO t SELECT '{shard}'",
        )
        assert wrote.rc == 0, wrote.stderr
        for address in ADDRESSES.values():
            until(
                lambda where=f"host={address} {anywhere}", shard=shard: psql(
                    hosts["client"], where, "SELECT DISTINCT x FROM t"
                ).stdout.strip() == shard,
                f"{address} gives what was written to {shard}",
            )  # fmt: skip


def test_a_commit_waits_for_one_of_the_copies(hosts: Any) -> None:
    for shard in PORTS:
        own = leader(hosts, shard)
        others = ",".join(sorted(ADDRESSES.keys() - {own}))
        assert local(hosts[own], shard, "SHOW synchronous_standby_names") == f"ANY 1 ({others})"
        states = "SELECT DISTINCT sync_state, ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"
        assert local(hosts[own], shard, states) == "quorum|t"
        assert local(hosts[own], shard, "SHOW data_checksums") == "on"


def test_a_database_is_made_in_the_shards_that_it_is_meant_for(hosts: Any) -> None:
    for shard, there in (("postgres_shard1", "app|app\nfirst|app"), ("postgres_shard2", "app|app")):
        asked = "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname IN ('app', 'first') ORDER BY 1"
        assert local(hosts["r3h1"], shard, asked) == there


@pytest.mark.parametrize(
    ("where", "password", "said"),
    [
        (f"dbname=app user=app {TLS}", "wrong", "password authentication failed"),
        ("dbname=app user=app sslmode=disable", APP, "pg_hba.conf rejects"),
        (f"dbname=postgres user=postgres {TLS}", APP, "pg_hba.conf rejects"),
        (f"dbname=app user=replicator replication=1 {TLS}", "streams-of-this-lab", "no pg_hba.conf entry"),
    ],
)
def test_a_client_is_turned_away(hosts: Any, where: str, password: str, said: str) -> None:
    """With a wrong password, without TLS, as superuser, as replica."""
    answer = psql(hosts["client"], f"host=198.18.15.11 port=25432 {where}", "SELECT 1", password)
    assert answer.rc != 0
    assert said in answer.stderr


def test_patroni_answers_to_certificates_and_obeys_passwords(hosts: Any) -> None:
    without = rest(hosts["client"], "r1h1", "postgres_shard1", "/cluster")
    assert without.rc != 0
    # With TLS 1.3 the alert may be overtaken by the reset of the connection.
    assert "SSL" in without.stderr or "Connection reset" in without.stderr, without.stderr
    assert rest(hosts["client"], "r1h1", "postgres_shard1", "/cluster", SHOW_CERTIFICATE).rc == 0
    patch = "data=b'{\"ttl\": 300}', method='PATCH'"
    refused = rest(hosts["client"], "r1h1", "postgres_shard1", "/config", SHOW_CERTIFICATE, patch)
    assert "401" in refused.stderr
    config = json.loads(rest(hosts["client"], "r1h1", "postgres_shard1", "/config", SHOW_CERTIFICATE).stdout)
    wanted = {"ttl": 20, "loop_wait": 2, "retry_timeout": 5, "failsafe_mode": True, "synchronous_mode": "quorum"}
    assert wanted.items() <= config.items()


def test_no_password_is_in_a_log_or_a_process_list(hosts: Any) -> None:
    for name in ADDRESSES:
        said = hosts[name].check_output("journalctl --no-pager --output=cat; ps -eo args")
        for secret in ("streams-of-this-lab", "rewinds-of-this-lab", "changes-of-this-lab", APP):
            assert secret not in said


# Hurt


def test_a_killed_leader_leaves_no_postmaster_and_loses_nothing(hosts: Any) -> None:
    own = leader(hosts, "postgres_shard1")
    before = hosts[own].check_output("head -1 /srv/data/postgres_shard1/pgdata/postmaster.pid")
    with writing(hosts["client"]) as seen:
        hosts[own].check_output(f"systemctl kill --signal=KILL --kill-whom=main {UNITS['postgres_shard1']}")
        until(lambda: hosts[own].run(f"test -e /proc/{before}").rc != 0, "its postmaster is gone", 15)
        until(lambda: leader(hosts, "postgres_shard1") not in ("", own), "another one leads")
        until(lambda: whole(hosts), "the killed one is back in sync")
    assert nothing_lost(seen), seen
    outages = [gap["seconds"] for gap in seen["postgres_shard1"]["gaps"]["write"]]
    assert outages, "its clients did not go unhurt"
    assert max(outages) < 20, "sooner than its key in etcd could expire"


def test_a_bad_setting_meets_one_member_and_is_taken_back(hosts: Any, converge: Converge) -> None:
    before = {shard: started(hosts, shard) for shard in PORTS}
    with writing(hosts["client"]) as seen:
        done = converge(check=False, patroni_parameters={"shared_preload_libraries": "no_such_library"})
        assert done.returncode != 0
        said = " ".join(done.stdout.split())
        assert "RS-081" in said
        assert "could not access file" in said, f"Postgres' own words say why, and here it is {said}"
        until(lambda: whole(hosts), "all are in sync")
    assert nothing_lost(seen), seen
    after = {shard: started(hosts, shard) for shard in PORTS}
    touched = [(shard, name) for shard in PORTS for name in ADDRESSES if before[shard][name] != after[shard][name]]
    assert len(touched) == 1
    for shard in PORTS:
        for name in ADDRESSES:
            assert local(hosts[name], shard, "SHOW shared_preload_libraries") == ""
    converge()  # the corrected run: nothing is left to be done
    assert {shard: started(hosts, shard) for shard in PORTS} == after


def test_a_host_that_was_off_comes_back_by_itself(hosts: Any, lab: Any) -> None:
    name = next(iter(sorted(ADDRESSES.keys() - {leader(hosts, shard) for shard in PORTS})))
    with writing(hosts["client"]) as seen:
        lab("power-off", name)
        lab("power-on", name)
        until(lambda: whole(hosts), "its members are in sync again")
    assert nothing_lost(seen), seen


def test_a_lost_copy_is_not_started_on_its_blank_disk_and_is_repaired_by_a_run(hosts: Any, converge: Converge) -> None:
    host = hosts["r3h1"]
    until(lambda: whole(hosts), "all are in sync")
    with writing(hosts["client"]) as seen:
        host.check_output(f"systemctl stop {' '.join(UNITS.values())}")
        host.check_output("mkdir /srv/data/aside && mv /srv/data/postgres_* /srv/data/aside/")
        for unit in UNITS.values():
            assert host.run(f"systemctl start {unit}").rc != 0
            assert "the disk is lost or not mounted" in host.check_output(f"journalctl --no-pager --unit={unit} -n 30")
        done = converge().stdout
        assert "postgres_shard1: repair" in done
        assert "postgres_shard2: repair" in done
        until(lambda: whole(hosts), "all are in sync")
    host.check_output("rm -rf /srv/data/aside")
    assert nothing_lost(seen), seen


def test_a_shard_that_etcd_knows_is_not_formed_over(hosts: Any, converge: Converge) -> None:
    shard = {
        "name": "postgres_shard3", "index": 3, "members": [
            {"id": number, "host": name, "rack": f"rack{number}", "address": address,
             "ports": {"main": 25434, "rest": 8010}, "leader": number == 1}
            for number, (name, address) in enumerate(ADDRESSES.items(), 1)
        ],
    }  # fmt: skip
    own = "/etc/rackspread/pki/patroni/etcd"
    tls = f"--cacert={own}/ca.crt --cert={own}/tls.crt --key={own}/tls.key"
    etcdctl = f"etcdctl {tls} --endpoints=https://198.18.15.11:2379"
    key = "/rackspread/molecule/postgres_shard3/initialize"
    hosts["r1h1"].check_output(f"{etcdctl} put {key} 7000000000000000001")
    done = converge(check=False, scenario_shards=[shard])
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "etcd knows the cluster 7000000000000000001" in said
    assert "nothing is formed over it" in said
    for name in ADDRESSES:
        assert not hosts[name].file("/srv/data/postgres_shard3/pgdata").exists
    assert "7000000000000000001" in hosts["r1h1"].check_output(f"{etcdctl} get {key}"), "the key is not removed either"


def test_the_probe_sees_a_store_that_drops_an_acknowledged_row(hosts: Any) -> None:
    own = hosts[leader(hosts, "postgres_shard2")]
    where = f"host=/run/{UNITS['postgres_shard2']} port={PORTS['postgres_shard2']} user=postgres dbname=app"
    statements = """
        CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN DELETE FROM rackspread_probe WHERE run = NEW.run AND n = NEW.n; RETURN NULL; END';
        CREATE TRIGGER forget AFTER INSERT ON rackspread_probe
        FOR EACH ROW WHEN (NEW.n % 1000 = 50) EXECUTE FUNCTION forget();
    """
    run = f"psql {shlex.quote(where)} -v ON_ERROR_STOP=1 -Xc"
    with writing(hosts["client"]):
        pass  # so that the table is there
    own.check_output(f"{run} {shlex.quote(statements)}")
    try:
        with writing(hosts["client"]) as seen:
            reached = "grep -q '\"write\", \"n\": 60,.*postgres_shard2' /root/probe.jsonl"
            until(lambda: hosts["client"].run(reached).rc == 0, "60 writes")
    finally:
        own.check_output(f"{run} 'DROP FUNCTION forget CASCADE'")
    assert seen["postgres_shard2"]["lost"] == [50]
    assert seen["postgres_shard1"]["lost"] == []


@pytest.mark.long
def test_a_leaders_rack_is_cut(hosts: Any, lab: Any) -> None:
    until(lambda: whole(hosts), "all are in sync")
    own = leader(hosts, "postgres_shard1")
    with writing(hosts["client"]) as seen:
        lab("cut", f"rack{own[1]}")
        try:
            time.sleep(30)  # the cut itself is what lasts
        finally:
            lab("heal")
        until(lambda: whole(hosts), "the one that was cut off is back in sync")
    assert nothing_lost(seen), seen


@pytest.mark.long
def test_more_and_fewer_connections_reach_members_in_the_right_order(hosts: Any, converge: Converge) -> None:
    for wanted in (140, 70, 100):
        until(lambda: whole(hosts), "all are in sync")
        with writing(hosts["client"]) as seen:
            converge(patroni_parameters={"max_connections": wanted})
            until(lambda: whole(hosts), "all are in sync")
        assert nothing_lost(seen), seen
        for shard in PORTS:
            for name in ADDRESSES:
                assert local(hosts[name], shard, "SHOW max_connections") == str(wanted)


@pytest.mark.long
def test_what_a_shard_can_not_start_with_is_taken_back_from_all(hosts: Any, converge: Converge) -> None:
    # Terabytes of locks: refused by the kernel at once, before any of it is touched.
    until(lambda: whole(hosts), "all are in sync")
    with writing(hosts["client"]) as seen:
        done = converge(check=False, patroni_parameters={"max_locks_per_transaction": 100000000})
        assert done.returncode != 0
        until(lambda: whole(hosts), "all are in sync")
    assert nothing_lost(seen), seen
    for name in ADDRESSES:
        assert local(hosts[name], "postgres_shard1", "SHOW max_locks_per_transaction") == "64"
    converge()
