"""The running demo is broken on purpose by the playbook `drill`. Run after test_demo.py, on the same lab."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live
import pytest

Tell = Callable[[str], None]

pytestmark = pytest.mark.usefixtures("demo")

YES = {"confirm": True}


def drill(check: bool = False, **variables: object) -> live.Run:
    """The playbook, with nobody there to be asked."""
    options = ["--extra-vars", json.dumps(variables)] + (["--check"] if check else [])
    return live.play("playbooks/drill.yml", *options)


def broken(host: str) -> str:
    """What a fault has broken on a host: a table of nftables, frozen units."""
    command = (
        "nft list tables | grep drill; systemctl show --property=FreezerState 'rackspread-*' | grep -v running | grep ."
    )
    return live.root(host, command, check=False).strip()


def going_on(host: str) -> str:
    """What of a drill is on a host: what it has broken, and its unit."""
    unit = live.root(host, "systemctl is-active rackspread-drill.service", check=False)
    return (broken(host) + unit.replace("inactive", "")).strip()


def assert_site_finds_nothing_to_do() -> None:
    """After a drill all is as it was, or as `site.yml` would have it."""
    assert live.ailments() == []
    again = live.play("site.yml")
    assert (again.code, again.changed) == (0, {}), again.output[-6000:]


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({**YES, "rackspread_drills": False}, "RS-100"),
        ({**YES, "drill_fault": "flood"}, "RS-101"),
        ({**YES, "rackspread_probe_host": "r1h1"}, "RS-104"),
        ({**YES, "drill_fault": "uplink", "rackspread_lab": ""}, "RS-103"),
        ({}, "RS-105"),
    ],
)
def test_a_drill_that_must_not_be_is_refused(variables: dict[str, object], code: str) -> None:
    run = drill(**variables)
    assert run.code != 0
    assert code in run.output
    assert not run.changed


def test_check_mode_says_what_would_be_done_and_does_nothing() -> None:
    leader = live.primaries()["postgres_shard1"]
    run = drill(check=True, drill_target="leader", drill_fault="freeze")
    assert run.code == 0, run.output[-6000:]
    assert f"all processes of rackspread-postgres-shard1 on {leader} stand still" in run.output
    assert not run.changed


def test_a_rack_is_cut(told: Tell) -> None:
    live.await_whole()
    (rack,) = live.racks_of([live.primaries()["postgres_shard1"]])
    run = drill(**YES, drill_service="postgres", drill_target=rack, drill_fault="uplink")
    assert run.code == 0, run.output[-8000:]
    (result,) = live.results(run)
    told(f"{rack} cut: {result['rto']}, lost {result['lost']}, whole {result['redundant_after']} s after the heal")
    assert (result["lost"], result["duplicated"]) == ({}, {})
    assert result["acknowledged"] > 100
    assert 5 < result["rto"]["write"] <= 45, "the rack holds a primary"
    assert result["rto"]["knock"] <= 5
    assert live.root("client", "ls -A /run/rackspread/probe") == "", "nothing is left of the probe"
    (page,) = re.findall(r"^\s+(/\S+/index\.html)$", run.output, re.MULTILINE)
    assert "served again" in Path(page).read_text()
    assert live.secret("postgres", "admin") not in run.output


def lost_little(run: live.Run, result: dict[str, Any]) -> None:
    """Redis acknowledges before it copies: the last moment may be lost, but nothing that waited; and that is told."""
    assert not result["duplicated"]
    assert not [target for target in result["lost"] if "WAIT" in target]
    assert sum(map(len, result["lost"].values())) < 20
    assert ("RS-107" in run.output) is bool(result["lost"]), run.output[-8000:]
    assert run.code == 0 or result["lost"], run.output[-8000:]


@pytest.mark.long
def test_a_rack_with_a_master_of_redis_is_cut(told: Tell) -> None:
    live.await_whole()
    master = next(member for member in live.members("redis_shard")["redis_shard1"] if member["leader"])
    run = drill(**YES, drill_service="redis", drill_target=master["rack"], drill_fault="uplink")
    (result,) = live.results(run)
    told(
        f"{master['rack']} cut: {result['rto']}, lost {result['lost']}, {result['stale']} of {result['reads']} reads"
        f" stale, whole, with its masters at home, {result['redundant_after']} s after the heal"
    )
    lost_little(run, result)
    assert result["acknowledged"] > 300
    assert 1 < result["rto"]["write"] <= 15, "the rack holds a master"
    assert live.redis()[f"redis_shard1/{master['host']}"]["role"] == "master", "it went home by itself"
    assert live.redis_ailments() == [], "and every replica is in its place"
    assert live.secret("redis", "application") not in run.output


def test_a_rack_with_the_active_controller_of_kafka_is_cut(told: Tell) -> None:
    live.await_whole()
    (rack,) = live.racks_of([live.active_controller()])
    run = drill(**YES, drill_service="kafka", drill_target=rack, drill_fault="uplink")
    assert run.code == 0, run.output[-8000:]
    (result,) = live.results(run)
    told(f"{rack} with the active controller cut: {result['rto']}, {live.outages(result)}, lost {result['lost']}")
    assert (result["lost"], result["duplicated"], result["reordered"]) == ({}, {}, {})
    assert result["acknowledged"] > 100
    assert 1 < result["rto"]["write"] <= 30, "the rack holds a broker that leads"
    assert live.kafka_ailments() == []
    assert live.secret("kafka", "admin") not in run.output


@pytest.mark.long
def test_a_leader_is_killed(told: Tell) -> None:
    before = live.primaries()["postgres_shard1"]
    run = drill(**YES, drill_service="postgres", drill_target="leader", drill_fault="kill")
    assert run.code == 0, run.output[-8000:]
    (result,) = live.results(run)
    told(f"a primary killed: {result['rto']}, lost {result['lost']}, whole {result['redundant_after']} s after")
    assert result["label"].endswith(f"on {before})")
    assert (result["lost"], result["duplicated"]) == ({}, {})
    assert result["rto"]["write"] <= 30
    assert_site_finds_nothing_to_do()


@pytest.mark.long
@pytest.mark.parametrize("service", ["etcd", "edge", "postgres", "redis", "kafka"])
@pytest.mark.parametrize("fault", ["freeze", "blackhole", "gray", "reboot", "full_disk", "host_loss"])
def test_every_fault_is_felt_or_borne_and_ends(service: str, fault: str, told: Tell) -> None:
    live.await_whole()
    target = "leader" if (service, fault) != ("edge", "full_disk") else "host"
    run = drill(**YES, drill_service=service, drill_target=target, drill_fault=fault, drill_seconds=40)
    (result,) = live.results(run)
    told(
        f"{fault} of {result['label']}: {result['rto']}, lost {result['lost']},"
        f" whole {result['redundant_after']} s after"
    )
    if service == "redis":
        lost_little(run, result)
        assert live.redis_ailments() == [], "every replica is in its place"
    else:
        assert run.code == 0, run.output[-8000:]
        assert (result["lost"], result["duplicated"]) == ({}, {})
    assert not [host for host in result["hosts"] if going_on(host)]
    assert_site_finds_nothing_to_do()


@pytest.mark.long
def test_a_disk_that_is_slow_can_not_be_made_where_the_kernel_has_no_controller_for_it() -> None:
    controllers = live.root("r1h1", "cat /sys/fs/cgroup/cgroup.controllers")
    run = drill(check=True, drill_target="leader", drill_fault="slow_disk")
    assert ("RS-103" in run.output) is ("io" not in controllers.split())


def kill_in_the_middle(output: Path, marker: Callable[[], object], **variables: object) -> None:
    """Begin a drill, and kill its controller with all its workers once something has come true."""
    options = ["--extra-vars", json.dumps({**YES, **variables})]
    with output.open("w") as file:
        run = subprocess.Popen(
            live.playbook_command("playbooks/drill.yml", *options), cwd=live.ROOT, env=live.ansible_environment(),
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        live.until(lambda: marker() or run.poll() is not None, "the fault is there", 240, 0.3)
        assert run.poll() is None, output.read_text()[-6000:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@pytest.mark.parametrize("fault", ["freeze", pytest.param("blackhole", marks=pytest.mark.long)])
def test_a_controller_killed_in_mid_drill_leaves_no_fault_behind(fault: str, tmp_path: Path) -> None:
    live.await_whole()
    host = live.members("postgres_shard")["postgres_shard1"][0]["host"]
    kill_in_the_middle(
        tmp_path / "output", lambda: broken(host), drill_target=host, drill_fault=fault, drill_seconds=10
    )
    assert broken(host)
    live.until(lambda: not going_on(host), "the fault has ended by itself", 90)
    live.await_whole()


@pytest.mark.long
def test_a_controller_killed_in_mid_drill_leaves_no_rack_cut(tmp_path: Path) -> None:
    live.await_whole()
    kill_in_the_middle(
        tmp_path / "output", lambda: "rack cut" in live.lab("status").stdout,
        drill_target="rack3", drill_fault="uplink", drill_seconds=10,
    )  # fmt: skip
    live.until(lambda: "rack cut" not in live.lab("status").stdout, "the lab has healed the rack", 90)
    live.await_whole()


@pytest.mark.long
def test_racks_are_cut_one_after_another_and_masters_of_redis_go_home_in_between(told: Tell) -> None:
    live.await_whole()
    results = live.drill(service="redis", sequence=True)
    told("; ".join(f"{each['target']}: writes out {each['rto']['write']:.2f} s" for each in results))
    assert len(results) == 3
    assert all(0 < each["rto"]["write"] <= 15 for each in results), "each rack held a master"


@pytest.mark.long
def test_without_the_unit_that_takes_masters_home_the_second_cut_stops_writes(told: Tell) -> None:
    """What the unit is there for: a failover puts two of three masters into a rack, and masters alone elect."""
    live.await_whole()
    members = {
        f"{shard}/{member['host']}": member for shard, those in live.members("redis_shard").items() for member in those
    }
    hosts = sorted({member["host"] for member in members.values()})

    def timers(verb: str) -> None:
        for host in hosts:
            live.root(host, f"systemctl {verb} rackspread-redis-home.timer")

    def masters(cut: str = "") -> list[str]:
        """The rack of each master, as those outside of a cut rack have it."""
        return sorted(members[place]["rack"] for place, each in live.redis(cut).items() if each["role"] == "master")

    def crowded() -> str:
        """The rack of two masters, once every node is back and every copy is in sync."""
        missing = live.redis_ailments()
        return max(masters(), key=masters().count) if len(missing) == 1 and "masters" in missing[0] else ""

    timers("stop")
    try:
        live.lab("cut", "rack1")
        try:
            live.until(lambda: len(masters("rack1")) == 3, "others lead", 60)
        finally:
            live.lab("heal", "rack1")
        live.until(crowded, "all is whole but for the masters", 120)
        rack = crowded()
        with live.Load("redis") as load:
            live.lab("cut", rack)
            try:
                time.sleep(20)  # four times what a cut may cost
            finally:
                live.lab("heal", rack)
            load.await_served()
        told(f"masters stay, and {rack} with two of them is cut for 20 s: writes out for {load.outage():.1f} s")
        assert load.outage() >= 20
    finally:
        timers("start")
    live.await_whole()
