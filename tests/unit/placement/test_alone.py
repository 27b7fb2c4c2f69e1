"""The engine without Ansible and without a package: `python -m` on a JSON file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
ASKED: dict[str, Any] = {
    "racks": {"rack1": ["a1", "a2"], "rack2": {"b1": 4, "b2": None}, "rack3": ["c1"]},
    "groups": {"redis": {"groups": 3, "members": 3, "leaders_vote": True}, "etcd": {"members": 3, "votes": True}},
}


def run(asked: object, *more: str) -> subprocess.CompletedProcess[str]:
    # -S: no site-packages, so neither Ansible nor PyYAML.
    command = [sys.executable, "-S", "-m", "plugins.plugin_utils.placement", "-", *more]
    return subprocess.run(command, cwd=ROOT, input=json.dumps(asked), capture_output=True, text=True, check=False)


def test_a_site_is_placed_and_shown(tmp_path: Path) -> None:
    done = run(ASKED, "--page", str(tmp_path / "site.html"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert sorted(found["groups"]) == ["etcd1", "redis1", "redis2", "redis3"]
    assert [[m["rack"] for m in group["members"]] for group in found["groups"].values()] == [
        ["rack1", "rack2", "rack3"]
    ] * 4
    assert found["survival"]["rack"]["survives"]
    assert all(row["optimal"] is not False for row in found["bounds"])
    assert (tmp_path / "site.html").read_text().startswith("<!doctype html>")
    again = json.loads(run({**ASKED, "lock": found["lock"]}).stdout)
    assert again == found


def test_growth_loss_and_moves() -> None:
    first = json.loads(run(ASKED).stdout)
    grown = {**ASKED, "racks": {**ASKED["racks"], "rack3": ["c1", "c2", "c3"]}, "lock": first["lock"]}
    assert json.loads(run(grown).stdout)["groups"] == first["groups"]
    moved = json.loads(run({**grown, "moves": None}).stdout)
    assert moved["moves"]["redis"]["made"] == moved["moves"]["redis"]["least"] == 2
    lost = json.loads(run({**grown, "lost": ["c1"]}).stdout)
    assert "c1" not in {member["host"] for group in lost["groups"].values() for member in group["members"]}


def test_what_can_t_be_placed_and_what_is_no_file_of_this_kind() -> None:
    done = run({**ASKED, "racks": {"rack1": ["a1", "a2", "a3"], "rack2": ["b1"]}})
    assert done.returncode == 1
    assert done.stderr.startswith("RS-012: etcd1 needs 3 hosts")
    for wrong in ([], {}, {"racks": 3, "groups": {}}, {"racks": {"r": ["a"]}, "groups": {"x": {}}}):
        done = run(wrong)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is not as --help describes it" in done.stderr
