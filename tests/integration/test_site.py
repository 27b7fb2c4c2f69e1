"""The running demo meets what happens to sites: other clones, bad settings under load, a lost rack, a lost disk.

Run after test_demo.py, on the same lab, in the order written here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live
import pytest
import yaml

Tell = Callable[[str], None]

pytestmark = pytest.mark.usefixtures("demo")

BAD = {"patroni_parameters": {"shared_preload_libraries": "no_such_library"}}
GOOD = {"patroni_parameters": {"shared_buffers": "96MB"}}
"""What the site is given from the corrected run on; a run without it would roll back to the role's own."""


def given(settings: dict[str, Any]) -> list[str]:
    return ["--extra-vars", json.dumps(settings)]


def told_once(output: str, words: str) -> bool:
    """Whether a run said something, however its output was folded."""
    return words in re.sub(r"\s+", " ", output)


def spec(inventory: Path) -> Path:
    return inventory / "services.rackspread.yml"


def change_spec(inventory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = yaml.safe_load(spec(inventory).read_text())
    change(content["services"])
    spec(inventory).write_text(yaml.safe_dump(content))


def with_state(clone: Path) -> Path:
    """The clone with a copy of the site's state."""
    shutil.copytree(live.STATE, clone / ".rackspread")
    return clone


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != "run.lock"}


def processes() -> dict[str, str]:
    """Of each member the process that its unit runs: nothing was restarted while it is the same."""
    found = {}
    for group, those in live.members("").items():
        for member in those if not group.startswith("edge") else ():
            unit = f"rackspread-{group.replace('_', '-')}"
            found[f"{group}/{member['host']}"] = live.root(
                member["host"], f"systemctl show --value --property=ExecMainPID,ExecMainStartTimestampMonotonic {unit}"
            )
    return found


def setting(name: str) -> set[str]:
    """What the members of the first shard run with."""
    (those,) = (those for shard, those in live.members("postgres_shard").items() if shard.endswith("1"))
    port = those[0]["ports"]["main"]
    ask = f"runuser -u postgres -- psql -At -h /run/rackspread-postgres-shard1 -p {port} -c 'SHOW {name}'"
    return {live.root(member["host"], ask) for member in those}


def test_check_mode_changes_nothing() -> None:
    live.play("playbooks/leaders.yml")  # they are where a drill has left them whose controller was killed
    lock, before = (live.STATE / "lock.yml").read_text(), processes()
    run = live.play("site.yml", "--check", "--diff")
    assert run.code == 0, run.output[-6000:]
    assert not run.changed
    assert (live.STATE / "lock.yml").read_text() == lock
    assert processes() == before


def test_check_mode_tells_what_would_change_and_does_not() -> None:
    run = live.play("playbooks/postgres.yml", "--check", "--diff", *given({"patroni_parameters": {"work_mem": "9MB"}}))
    assert run.code == 0, run.output[-6000:]
    assert re.search(r"^\+.*work_mem.*9MB", run.output, re.MULTILINE)
    assert len(run.changed) == 6
    assert setting("work_mem") == {"4MB"}


def test_a_clone_without_the_sites_state_is_refused(clone: Path) -> None:
    before = files(clone)
    run = live.play("site.yml", inventory=clone)
    assert run.code != 0
    assert "RS-047" in run.output
    assert not run.changed
    assert files(clone) == before


def test_a_clone_without_the_secrets_is_refused(clone: Path) -> None:
    (clone / ".rackspread").mkdir(mode=0o700)
    shutil.copy(live.STATE / "lock.yml", clone / ".rackspread")
    before = files(clone)
    run = live.play("site.yml", inventory=clone)
    assert run.code != 0
    assert "RS-040" in run.output
    assert not run.changed
    assert files(clone) == before


def test_a_lost_lock_is_rebuilt_from_the_hosts_and_the_secrets(clone: Path) -> None:
    with_state(clone)
    lock = clone / ".rackspread/lock.yml"
    before = yaml.safe_load(lock.read_text())
    lock.unlink()
    run = live.play("playbooks/relock.yml", inventory=clone)
    assert run.code == 0, run.output[-6000:]
    after = yaml.safe_load(lock.read_text())
    assert after["groups"] == before["groups"]
    assert after["site_id"] == before["site_id"]
    assert all(after["components"][name] >= index for name, index in before["components"].items())
    assert live.play("playbooks/lock.yml", inventory=clone).code == 0


def test_a_lock_is_not_rebuilt_without_the_secrets(clone: Path) -> None:
    run = live.play("playbooks/relock.yml", inventory=clone)
    assert run.code != 0
    assert "RS-049" in run.output
    assert not (clone / ".rackspread/lock.yml").exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda services: services["postgres"].update(shards=1), "RS-018"),
        (lambda services: services["postgres"].update(members=2), "RS-018"),
        (lambda services: services.update(etcd={"voters": 4}), "RS-005"),
        (lambda services: services["postgres"].update(members=10), "RS-011"),
        (lambda services: services["edge"].update(vips=["10.0.0.1/24"]), "RS-014"),
        (lambda services: services["edge"].update(vips=["198.18.0.31/24"]), "RS-021"),
        (lambda services: services.update(mongodb={}), "RS-023"),
    ],
)
def test_a_spec_that_does_not_fit_the_site_is_refused_before_any_connection(
    clone: Path, change: Callable[[dict[str, Any]], None], code: str
) -> None:
    change_spec(with_state(clone), change)
    run = live.play("site.yml", inventory=clone)
    assert run.code != 0
    assert code in run.output
    assert set(run.recap) <= {"localhost"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda own, other, name: own.pop(name), "RS-019"),
        (lambda own, other, name: other.update({name: own.pop(name)}), "RS-020"),
        (lambda own, other, name: own[name].update(next(own[near] for near in own if near != name)), "RS-010"),
    ],
)
def test_an_inventory_that_does_not_fit_the_site_is_refused_before_any_connection(
    clone: Path, change: Callable[[dict[str, Any], dict[str, Any], str], None], code: str
) -> None:
    file = with_state(clone) / "hosts.yml"
    content = yaml.safe_load(file.read_text())
    racks = content["all"]["children"]
    member, elsewhere = live.members("postgres_shard")["postgres_shard1"][:2]
    change(racks[member["rack"]]["hosts"], racks[elsewhere["rack"]]["hosts"], member["host"])
    file.write_text(yaml.safe_dump(content))
    run = live.play("site.yml", inventory=clone)
    assert run.code != 0
    assert code in run.output
    assert set(run.recap) <= {"localhost"}


def test_hosts_where_a_new_member_has_no_place_are_refused_before_anything_is_changed(clone: Path) -> None:
    change_spec(with_state(clone), lambda services: services["postgres"].update(shards=3, weight=99999))
    plan = live.play("playbooks/plan.yml", inventory=clone).output
    (row,) = re.findall(r"^postgres_shard3 +(\S+) (\S+) (\S+)", plan, re.MULTILINE)
    host, other = (name.rstrip("*") for name in row[:2])
    port = "25434"
    try:
        live.root(host, "mkdir -p /srv/data/postgres_shard3 && touch /srv/data/postgres_shard3/PG_VERSION")
        live.root(other, f"systemd-run --quiet --unit=squatter python3 -m http.server {port}")
        live.until(lambda: port in live.root(other, "ss -ltnH"), "the squatter listens", 30)
        run = live.play("site.yml", inventory=clone)
    finally:
        live.root(host, "rm -rf /srv/data/postgres_shard3", check=False)
        live.root(other, "systemctl stop squatter", check=False)
    assert run.code == 2
    assert {"RS-052", "RS-053", "RS-056"} <= set(re.findall(r"RS-\d+", run.output))
    assert not run.changed
    assert yaml.safe_load((clone / ".rackspread/lock.yml").read_text()) == yaml.safe_load(
        (live.STATE / "lock.yml").read_text()
    )


def test_a_setting_that_keeps_postgres_from_starting_meets_one_member(told: Tell) -> None:
    live.await_whole()
    before = processes()
    with live.Load() as load:
        run = live.play("site.yml", *given(BAD))
        live.await_whole()
    assert run.code != 0
    assert "RS-081" in run.output
    assert told_once(run.output, "could not access file"), run.output[-6000:]
    restarted = {name for name, process in processes().items() if process != before[name]}
    assert len(restarted) == 1
    told(f"a bad setting: {restarted.pop()} met it, clients were without writes for {load.outage():.1f} s at most")
    assert load.lost == 0
    assert load.outage() < 10


def test_the_corrected_run_goes_through_and_a_run_beside_it_does_not(told: Tell, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with live.Load() as load:
        with output.open("w") as file:
            first = subprocess.Popen(
                live.playbook_command("site.yml", *given(GOOD)), cwd=live.ROOT, env=live.ansible_environment(),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            live.until(
                lambda: first.poll() is not None or "postgres_shard1: restart" in output.read_text(), "it rolls", 300
            )
            second = live.play("playbooks/postgres.yml", *given(GOOD))
            code = first.wait(600)
        finally:
            if first.poll() is None:
                first.kill()
        live.await_whole()
    assert code == 0, output.read_text()[-6000:]
    assert told_once(second.output, "Another run holds"), second.output[-3000:]
    assert second.code == 0 or "RS-031" in second.output
    assert setting("shared_buffers") == {"96MB"}
    told(f"six members restarted one by one: clients were without writes for {load.outage():.1f} s at most")
    assert load.lost == 0
    assert load.outage() < 15


def test_a_rack_is_lost_under_load_while_a_run_is_tried(told: Tell) -> None:
    live.await_whole()
    before = processes()
    with live.Load() as load:
        try:
            live.lab("cut", "rack1")
            load.await_served()
            run = live.play("site.yml", *given(GOOD))
        finally:
            live.lab("heal", "rack1")
        live.await_whole()
        load.await_served()
    told(
        f"rack1 cut: without writes for {load.outage():.1f} s, {load.lost} rows lost;"
        f" site.yml meanwhile took {run.seconds:.0f} s"
    )
    assert load.lost == 0
    assert load.outage() <= 45
    assert run.code == 4, run.output[-6000:]
    assert {host for host, row in run.recap.items() if row["unreachable"]} == {"r1h1", "r1h2", "r1h3"}
    assert not run.changed
    assert told_once(run.output, "r1h1 can't be reached")
    again = processes()
    assert {name for name in before if again[name] != before[name] and "r1h" not in name} == set()


def test_an_emptied_disk_is_not_started_on_and_repaired_only_once_it_is_the_members_own(told: Tell) -> None:
    live.await_whole()
    hosts = [member["host"] for member in live.members("postgres_shard")["postgres_shard1"]]
    host = next(name for name in reversed(hosts) if name not in live.primaries().values())
    unit, data = "rackspread-postgres-shard1", "/srv/data"
    record = json.loads(live.root(host, "cat /etc/rackspread/record.yml"))
    volume = record["groups"]["postgres_shard1"]["volume"]["uuid"]

    live.lab("power-off", host)
    live.lab("volume", host, "empty", "data")
    live.lab("power-on", host)
    refused = f"journalctl --boot --unit={unit} --grep='(?i)volume|mounted' --quiet --no-pager"
    live.until(lambda: live.root(host, refused, check=False), "the guard speaks", 60)
    assert live.root(host, f"systemctl is-active {unit}", check=False) != "active"
    assert live.root(host, f"ls -A {data}") == "lost+found"

    run = live.play("playbooks/postgres.yml", *given(GOOD))
    assert run.code == 2
    assert "RS-062" in run.output
    assert host in run.output
    assert live.root(host, f"ls -A {data}") in ("lost+found", "lost+found\npostgres_shard1")

    device = live.root(host, f"findmnt --noheadings --output=SOURCE {data}")
    own = [group for group, those in live.members("").items() if host in [member["host"] for member in those]]
    units = " ".join(f"rackspread-{group.replace('_', '-')}" for group in own)
    live.root(host, f"systemctl stop {units} && umount {data}")
    for command in (["e2fsck", "-fp", device], ["tune2fs", "-U", volume, device]):  # on the machine, as hosts lack them
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": "/usr/sbin:/sbin"})
    live.root(host, f"mount {device} {data}")
    run = live.play("site.yml", *given(GOOD))
    assert run.code == 0, run.output[-6000:]
    told(f"{host} was cloned anew by site.yml, which took {run.seconds:.0f} s")
    live.await_whole()
