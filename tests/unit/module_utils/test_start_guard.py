"""The start guard, run as systemd runs it: a script with nothing but the standard library."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import start_guard
from ansible_collections.rackspread.ha.plugins.module_utils.instance import File, Instance

SITE = "8c2e"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    """A formed member, as it is before a start."""
    instance = Instance.of("etcd_voter1", 2, "/srv/data", root=str(tmp_path))
    instance.stage([File("etcd.env", "a")])
    instance.switch(running=False)
    instance.claim(SITE, "f1")
    record(instance, {"etcd_voter1": {"member": 2, "formed": "abc", "volume": instance.volume()}})
    return instance


def record(instance: Instance, groups: dict[str, Any]) -> None:
    Path(instance.record).write_text(json.dumps({"version": 1, "site_id": SITE, "groups": groups}))


def mark(instance: Instance, **facts: Any) -> None:
    assert instance.data
    path = Path(start_guard.marker_of(instance.data))
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_a_member_on_its_own_disk_is_started_and_noted(instance: Instance) -> None:
    assert start_guard.main("etcd_voter1", instance.root) is None
    noted = instance.noted()
    assert noted is not None
    assert noted["version"] == Path(instance.current).resolve().name
    assert instance.need(running=True) == "nothing"


def test_the_umask_of_a_unit_closes_the_folder_to_nobody(instance: Instance) -> None:
    before = os.umask(0o077)
    try:
        assert start_guard.main("etcd_voter1", instance.root) is None
    finally:
        os.umask(before)
    assert Path(instance.note).parent.stat().st_mode & 0o777 == 0o755


def test_a_member_that_runs_have_forgotten_starts_and_is_guarded_all_the_same(instance: Instance) -> None:
    known = json.loads(Path(instance.record).read_text())
    Path(instance.record).write_text(json.dumps({**known, "groups": {}, "forgotten": known["groups"]}))
    assert start_guard.main("etcd_voter1", instance.root) is None
    mark(instance, member=3)
    assert "belongs to member 3" in (start_guard.main("etcd_voter1", instance.root) or "")


def test_a_blank_mount_point_is_refused(instance: Instance) -> None:
    assert instance.data
    shutil.rmtree(instance.data)
    reason = start_guard.main("etcd_voter1", instance.root)
    assert reason is not None
    assert "the disk is lost or not mounted" in reason
    assert instance.noted() is None


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"site_id": "other"}, "belongs to site_id other"),
        ({"group": "etcd_voter2"}, "belongs to group etcd_voter2"),
        ({"member": 3}, "belongs to member 3"),
    ],
)
def test_the_data_of_another_is_refused(instance: Instance, facts: dict[str, Any], sentence: str) -> None:
    mark(instance, **facts)
    reason = start_guard.main("etcd_voter1", instance.root)
    assert reason is not None
    assert sentence in reason


def test_another_volume_than_the_recorded_is_refused(instance: Instance) -> None:
    record(instance, {"etcd_voter1": {"member": 2, "formed": "abc", "volume": {"uuid": "0815", "path": "/srv/data"}}})
    reason = start_guard.main("etcd_voter1", instance.root)
    assert reason is not None
    assert "the volume 0815 must be mounted at /srv/data" in reason


@pytest.mark.parametrize("groups", [{}, {"etcd_voter1": {"member": 9}}])
def test_a_member_that_the_record_does_not_know_is_refused(instance: Instance, groups: dict[str, Any]) -> None:
    record(instance, groups)
    reason = start_guard.main("etcd_voter1", instance.root)
    assert reason is not None
    assert "knows no member 2" in reason


def test_unreadable_state_is_refused(instance: Instance) -> None:
    Path(instance.record).write_text("{")
    reason = start_guard.main("etcd_voter1", instance.root)
    assert reason is not None
    assert "can't be read" in reason


def test_a_stateless_instance_is_only_noted(tmp_path: Path) -> None:
    instance = Instance.of("edge_balancer1", 1, program="haproxy", root=str(tmp_path))
    instance.stage([File("haproxy.cfg", "a")])
    instance.switch(running=False)
    assert start_guard.main("edge_balancer1_haproxy", instance.root) is None
    assert instance.need(running=True) == "nothing"


def test_the_script_alone_says_one_sentence_and_fails(tmp_path: Path) -> None:
    script = tmp_path / "start_guard.py"
    shutil.copy(start_guard.__file__, script)
    run_it = f"import runpy, time; time.sleep = print; runpy.run_path({str(script)!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-I", "-c", run_it, "no_such1"], capture_output=True, text=True, check=False, cwd=tmp_path,
    )
    assert done.returncode == 1
    assert done.stdout == f"{start_guard.PAUSE}\n"
    assert done.stderr == (
        "rackspread: no_such1 is not started: /etc/rackspread/no_such1/current holds no manifest:"
        " this instance was never activated.\n"
    )


def test_the_volume_of_a_path_is_its_mount(tmp_path: Path) -> None:
    volume = start_guard.volume_of("/proc/self/there/is/none/yet")
    assert volume is not None
    assert volume["path"] == "/proc"
