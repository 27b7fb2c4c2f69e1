"""What the probe of Postgres makes of its log; that it notices a real loss is tested in molecule/patroni."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def probe() -> Any:
    path = Path(__file__).resolve().parents[3] / "probes/postgres.py"
    spec = importlib.util.spec_from_file_location("postgres_probe", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def line(op: str, t: float, n: int | None, ok: bool = True, took: float = 0.01) -> dict[str, Any]:
    return {"op": op, "t": t, "n": n, "ok": ok, "took": took, "error": None if ok else "x", "target": "a"}


def test_lost_duplicated_and_unacknowledged(probe: Any) -> None:
    lines = [line("write", 0.05 * n, n, ok=n != 3) for n in range(1, 6)]
    seen = probe.judge(lines, {1: 1, 3: 1, 4: 2, 5: 1}, 0.0)
    assert seen["acknowledged"] == 4
    assert seen["failed"] == 1
    assert seen["lost"] == [2]
    assert seen["duplicated"] == [4]
    assert seen["unacknowledged_but_there"] == 1


def test_a_read_is_stale_if_more_was_acknowledged_when_it_began(probe: Any) -> None:
    writes = [line("write", float(n), n) for n in range(1, 6)]
    reads = [line("read", 3.5, 3), line("read", 4.5, 2), line("read", 5.005, 4), line("read", 6.0, None, ok=False)]
    seen = probe.judge(writes + reads, dict.fromkeys(range(1, 6), 1), 0.0)
    assert (seen["reads"], seen["reads_failed"]) == (3, 1)
    assert (seen["stale"], seen["behind"]) == (1, 2)


def test_gaps_from_the_beginning_and_to_the_end(probe: Any) -> None:
    lines = [line("write", 1.0, 1), line("write", 1.1, 2), line("write", 4.1, 3), line("write", 9.0, 4, ok=False)]
    assert probe.gaps(lines, 0.5) == [
        {"t": 0.5, "seconds": 0.5},
        {"t": 1.1, "seconds": 3.0},
        {"t": 4.1, "seconds": 4.9},
    ]
    assert probe.gaps([], 0.0) == []


def test_the_pace_is_kept_and_an_outage_not_made_up_for(probe: Any) -> None:
    ended = threading.Event()
    numbers = []
    for number in probe.pace(1000, ended):
        numbers.append(number)
        if number == 20:
            ended.set()
    assert numbers == list(range(1, 21))
