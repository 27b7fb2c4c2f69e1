"""What a probe makes of its log. That one notices a real loss is tested in molecule/patroni and molecule/etcd."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def probe() -> Any:
    path = Path(__file__).resolve().parents[3] / "probes/counting.py"
    spec = importlib.util.spec_from_file_location("counting", path)
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


class Store:
    """A store in memory that drops one acknowledged number in 1000, keeps one twice, and knows no failure."""

    kept: dict[str, dict[int, int]]

    def __init__(self, endpoint: dict[str, Any], settings: dict[str, Any], run: str) -> None:
        self.run = run

    def prepare(self) -> None:
        self.kept.setdefault(self.run, {})

    def write(self, number: int) -> int:
        if number % 1000 != 50:
            self.kept[self.run][number] = 2 if number == 60 else 1
        return number

    def read(self, number: int) -> int:
        return max(self.kept[self.run], default=0)

    def stored(self) -> dict[int, int]:
        return self.kept[self.run]

    def forget(self) -> None:
        del self.kept[self.run]

    def close(self) -> None:
        pass


def test_a_store_that_drops_one_acknowledged_number_in_a_thousand_is_found_out(probe: Any, tmp_path: Path) -> None:
    class Own(Store):
        kept: dict[str, dict[int, int]] = {}  # noqa: RUF012  # the store itself

    settings = {"targets": {"a": {"write": {}, "read": {}}}, "rate": 200}
    output = tmp_path / "log"
    before = probe.signal.getsignal(probe.signal.SIGTERM), probe.signal.getsignal(probe.signal.SIGINT)
    try:
        probe.run(Own, settings, output, 1.5)
    finally:
        for number, handler in zip((probe.signal.SIGTERM, probe.signal.SIGINT), before, strict=True):
            probe.signal.signal(number, handler)
    found = probe.verify(Own, settings, output)
    assert found["targets"]["a"]["lost"] == [50]
    assert found["targets"]["a"]["duplicated"] == [60]
    assert found["clock"].keys() == {"t", "wall"}
    assert sum(found["targets"]["a"]["counts"]["write"]["ok"]) == found["targets"]["a"]["acknowledged"] > 60
    probe.clean(Own, settings, output)
    assert Own.kept == {}


def test_what_succeeds_right_now_is_told_from_the_end_of_the_log(probe: Any, tmp_path: Path) -> None:
    now = time.monotonic()
    lines = [line("write", now - 10 + n / 20, n) for n in range(100)]  # until 5 s ago
    lines += [line("write", now - 2 + n / 20, 200 + n) for n in range(40)]
    lines += [line("read", now - 5, None, ok=False)]
    (tmp_path / "log").write_text("".join(json.dumps(each) + "\n" for each in lines) + '{"t": 1, "op": "wri')
    seen = probe.state({"targets": {"a": {"write": {}, "read": {}}}}, tmp_path / "log")
    assert seen["steady"]["a"]["write"] == pytest.approx(2, abs=0.5)
    assert seen["steady"]["a"]["read"] is None
    assert abs(seen["wall"] - time.time()) < 5


def test_a_client_that_halted_is_not_steady(probe: Any) -> None:
    lines = [line("write", 10 + n / 20, n) for n in range(100)]
    assert probe.steady(lines, 15.0) == pytest.approx(5, abs=0.1)
    assert probe.steady(lines, 16.0) == 0


def test_what_lies_behind_a_later_number_was_reordered(probe: Any) -> None:
    assert probe.overtaken([1, 2, 5, 3, 4, 6, 6]) == [3, 4]
    lines = [line("write", 10 + n, n) for n in (1, 2, 3)]
    assert probe.judge(lines, {1: 1, 3: 1, 2: 1}, 9, ordered=True)["reordered"] == [2]
    assert probe.judge(lines, {1: 1, 3: 1, 2: 1}, 9)["reordered"] == []


def test_bars_and_errors(probe: Any) -> None:
    lines = [line("write", 10.05, 1), line("write", 10.06, 2), line("write", 10.31, 3, ok=False)]
    assert probe.counts(lines, 10.0) == {"ok": [2, 0, 0, 0], "failed": [0, 0, 0, 1]}
    assert probe.errors(lines) == {"x": 1}
