# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that do not answer are told, and never taken for another host.

Real runs of ansible-playbook against a port where nobody listens. Hosts that do answer are a matter of Molecule's
scenarios.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
MEMBERS = [
    {"id": n, "host": f"h{n}", "rack": f"rack{n}", "address": f"192.0.2.{n}", "leader": False} for n in (1, 2, 3)
]
CONVERGE = {
    "service": "etcd",
    "groups": [{"name": "etcd_voter1", "index": 1, "members": MEMBERS}],
    "data_root": "/nowhere",
}


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def play(folder: Path, port: int, task: dict[str, Any], **keywords: Any) -> tuple[int, dict[str, Any]]:
    """Run one task for a site of three hosts that do not answer. Returns the exit code and the task's result."""
    hosts = {
        f"rack{n}": {"hosts": {f"h{n}": {"ansible_host": "127.0.0.1", "rackspread_address": f"192.0.2.{n}"}}}
        for n in (1, 2, 3)
    }
    inventory = {"all": {"vars": {"ansible_port": port, "ansible_user": "nobody"}, "children": hosts}}
    (folder / "inventory").mkdir()
    (folder / "inventory/hosts.yml").write_text(yaml.safe_dump(inventory))
    spec = {"plugin": "rackspread.ha.placement", "racks": "rack*", "services": {"etcd": {"voters": 3}}}
    (folder / "inventory/services.rackspread.yml").write_text(yaml.safe_dump(spec))
    book = [{"hosts": "h1", "gather_facts": False, "tasks": [{"name": "Try", **task}], **keywords}]
    (folder / "play.yml").write_text(yaml.safe_dump(book))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
    }
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "-i", str(folder / "inventory"), str(folder / "play.yml")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    said = done.stdout[done.stdout.index("{") :]
    result: dict[str, Any] = json.loads(said)["plays"][0]["tasks"][0]["hosts"]["h1"]
    return done.returncode, result


def test_groups_of_hosts_that_do_not_answer_are_left_alone(tmp_path: Path, closed_port: int) -> None:
    code, result = play(tmp_path, closed_port, {"rackspread.ha.converge": CONVERGE})
    assert code == 0
    assert not result["changed"]
    [sentence] = result["unconverged"]
    assert sentence.startswith("RS-061: etcd_voter1: member 1 on h1 and member 2 on h2 and member 3 on h3")
    assert "refused" in sentence
    assert [each["state"] for each in result["groups"]["etcd_voter1"]] == ["unreachable"] * 3
    assert not (tmp_path / "inventory/.rackspread/lock.yml").exists()


def test_no_lock_is_made_before_every_host_was_asked(tmp_path: Path, closed_port: int) -> None:
    code, result = play(tmp_path, closed_port, {"rackspread.ha.site": {}})
    assert code == 2
    assert "RS-033" in result["msg"]
    assert not (tmp_path / "inventory/.rackspread/lock.yml").exists()


def test_a_play_on_this_machine_does_not_take_it_for_the_hosts(tmp_path: Path, closed_port: int) -> None:
    code, result = play(tmp_path, closed_port, {"rackspread.ha.site": {"rebuild": True}}, connection="local")
    assert code == 2
    assert "RS-033" in result["msg"]
