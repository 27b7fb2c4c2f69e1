"""The runner of the tests ends what it starts, and says what failed."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    loader = SourceFileLoader("suite", str(ROOT / "tools/suite"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("suite", loader))
    sys.modules["suite"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def test_a_part_fails_with_its_first_failing_command(suite: ModuleType) -> None:
    outcome = suite.run(suite.Part("x", "echo before; false | cat; echo after"), dict(os.environ))
    assert outcome.code == 1
    assert outcome.last == ["before", ""]


def test_only_the_last_lines_are_kept(suite: ModuleType) -> None:
    outcome = suite.run(suite.Part("x", "seq 1000"), dict(os.environ))
    assert outcome.code == 0
    assert outcome.last[-3:] == ["999", "1000", ""]
    assert len(outcome.last) == suite.LAST_LINES + 1


def test_a_process_left_behind_holds_nothing_up(suite: ModuleType) -> None:
    start = time.monotonic()
    outcome = suite.run(suite.Part("x", "sleep 10 & echo done"), dict(os.environ))
    assert outcome.code == 0
    assert "done" in outcome.last
    assert time.monotonic() - start < 8


def test_a_part_past_its_limit_is_ended_with_all_its_processes(suite: ModuleType, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    command = f"sleep 600 & echo $! > {pids}; sleep 600"
    outcome = suite.run(suite.Part("x", command, minutes=0.01), dict(os.environ))
    assert outcome.code == 124
    assert "after its limit" in outcome.last[-1]
    child = int(pids.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        if " Z " in Path(f"/proc/{child}/stat").read_text():
            break  # ended; whether somebody reaps it is not our matter
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}").exists()


def test_lists_and_prefixes_select_parts(suite: ModuleType) -> None:
    names = [part.name for part in suite.select(["test"])]
    assert names[:2] == ["lint", "unit"]
    assert [part.name for part in suite.select(["molecule"])] == [n for n in names if n.startswith("molecule:")]
    with pytest.raises(KeyError):
        suite.select(["nothing-of-that-name"])


def test_the_table_names_what_failed_and_what_was_not_run(suite: ModuleType) -> None:
    passed, failed, left = suite.Part("a", ""), suite.Part("b", ""), suite.Part("c", "")
    rows = suite.table([suite.Outcome(passed, 0, 1.5, []), suite.Outcome(failed, 3, 2, [])], [left]).splitlines()
    assert [row.split() for row in rows] == [
        ["a", "1.5", "s", "passed"],
        ["b", "2.0", "s", "FAILED"],
        ["c", "not", "run"],
        ["3.5", "s"],
    ]
