"""The dangers of dangers.toml: each guard stands where it is said, and its test fails once it is taken out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DANGERS = tomllib.loads((ROOT / "tests/unit/dangers.toml").read_text())["danger"]
SHIPPED = ("plugins", "roles", "playbooks")


def shipped() -> dict[str, str]:
    """The texts of what runs on someone's site."""
    files = [path for folder in SHIPPED for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yml", ".j2")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in files}


def found(pattern: str) -> dict[str, str]:
    return {name: match[0] for name, text in shipped().items() if (match := re.search(pattern, text))}


def test_nothing_deletes_or_writes_keys_of_etcd() -> None:
    assert found("/v3/kv/range"), "what reads them is found"
    assert not found(r"deleterange|/kv/(put|txn)|etcdctl.* (del|put)|patronictl.* remove")


def test_patroni_removes_no_data_directory() -> None:
    template = (ROOT / "roles/patroni/templates/patroni.yml.j2").read_text()
    for reason in ("rewind_failure", "diverged_timelines"):
        assert re.search(rf"^  remove_data_directory_on_{reason}: false$", template, re.MULTILINE)
    assert not found(r"remove_data_directory_on_\w+: (true|yes|on)")


def test_nothing_rewinds_or_clones_but_patroni() -> None:
    assert re.search(r"^    use_pg_rewind: true$", (ROOT / "roles/patroni/vars/main.yml").read_text(), re.MULTILINE)
    assert not found(r"""["'](?:[^"' ]*/)?pg_(rewind|basebackup)\b["']|patronictl.* reinit|/reinitialize""")


def test_nothing_creates_or_fixes_a_cluster_of_redis_or_forces_a_failover() -> None:
    assert found(r"ADDSLOTSRANGE"), "the one way in which slots are given"
    words = r"--cluster\W+(create|fix|call|del-node)|[\"'](TAKEOVER|FORCE|FLUSHALL|FLUSHDB)[\"']|CLUSTER[\"', ]+RESET"
    assert not found(words)
    template = (ROOT / "roles/redis/templates/redis.conf.j2").read_text()
    assert "'cluster-allow-replica-migration': 'no'" in template, "replicas stay where the placement has them"


def test_kafka_elects_no_leader_that_lacks_writes_and_adds_no_disk_by_itself() -> None:
    template = (ROOT / "roles/kafka/templates/server.properties.j2").read_text()
    for name in ("unclean.leader.election.enable", "controller.quorum.auto.join.enable", "auto.create.topics.enable"):
        assert f"'{name}': 'false'" in template


@pytest.mark.parametrize("danger", DANGERS, ids=lambda danger: danger["what"])
def test_a_guard_stands_where_it_is_said_and_its_test_is_named_in_the_docs(danger: dict[str, str]) -> None:
    assert (ROOT / danger["file"]).read_text().count(danger["guard"]) == 1
    file, _colons, name = danger["test"].partition("::")
    assert f"def {name}(" in (ROOT / file).read_text()
    assert f"`{name}`" in (ROOT / "docs/testing.md").read_text()


@pytest.mark.parametrize("danger", DANGERS, ids=lambda danger: danger["what"])
def test_without_its_guard_the_test_of_a_danger_fails(danger: dict[str, str], tmp_path: Path) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")
    for name in names:
        if name.startswith((*SHIPPED, "tests/", "probes/", "pyproject.toml")) and (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    collection = tmp_path / ".collections/ansible_collections/rackspread"
    collection.mkdir(parents=True)
    (collection / "ha").symlink_to(tmp_path)
    file = tmp_path / danger["file"]
    file.write_text(file.read_text().replace(danger["guard"], danger["without"]))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", danger["test"]],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-2000:]
    assert re.search(r"^\d+ failed", done.stdout, re.MULTILINE), done.stdout[-3000:]
