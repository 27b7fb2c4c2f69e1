# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import NAME, alone


def test_a_second_run_is_told_and_refused(tmp_path: Path) -> None:
    said: list[str] = []
    with alone(tmp_path, said.append), pytest.raises(Refusal, match="RS-031"), alone(tmp_path, said.append, 0.6):
        pass
    assert len(said) == 1


def test_a_run_goes_on_when_the_other_has_ended(tmp_path: Path) -> None:
    with alone(tmp_path / "state", print):
        pass
    with alone(tmp_path / "state", print, 0):
        pass


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    hold = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / NAME)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(Refusal), alone(tmp_path, print, 0):
            pass
        other.kill()
        other.wait()
    with alone(tmp_path, print, 0):
        pass
