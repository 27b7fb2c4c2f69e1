# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all probes share: a paced client that counts, its log, and what is made of it. A service brings a Client.

    SERVICE.py run SETTINGS OUTPUT [--seconds S]   until S, SIGTERM or SIGINT; a JSON line each operation
    SERVICE.py state SETTINGS OUTPUT               what succeeds right now, from the log's end
    SERVICE.py verify SETTINGS OUTPUT              reads each acknowledged number back; exit status 1 where one is lost
    SERVICE.py clean SETTINGS OUTPUT               takes away what the run left in the service

SETTINGS is a JSON file (0600, it may hold a password):

    {"targets": {"postgres_shard1": {"write": {…}, "read": {…}}}, "rate": 20, "timeout": 2, "workers": 1, …}

A target has an endpoint for each kind of operation; what an endpoint is the service says. `rate` is operations a second
and kind, shared by so many `workers`; `timeout` the seconds that one may take. A client that verifies or cleans is also
told the `last` number that was tried on its target.

OUTPUT has lines {"t", "op", "n", "ok", "error", "took", "target"}: when the answer came (seconds of the monotonic
clock), `write`, `read` or `knock`, the number written or the highest one read, how it ended, how long it took. The
first line, `start`, names the run and has the wall clock's time, so that times of other hosts can be laid beside it.

Each number is written once and never again, whatever came of it: what was not acknowledged may or may not be there.
Needs nothing but Python's standard library, and what the service's client needs.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO

GAP = 0.2
"""Seconds between two successes from which on they are an outage worth naming."""
HALT = 0.5
"""Seconds without a success from which on a client does not work, for one who looks at it while it runs."""
STEP = 0.1
"""Seconds of one bar in the picture of a run."""
TAIL = 1 << 17
"""Bytes at a log's end that tell what succeeds right now."""

Line = dict[str, Any]
Settings = dict[str, Any]


class Client(Protocol):
    """One well-kept client of one endpoint: connects when needed, never waits longer than `timeout`.

    Its methods raise whatever went wrong. A probe has those that its operations name.
    """

    def prepare(self) -> None:
        """Make what the numbers are kept in; before the run, harmless where it is there."""

    def write(self, number: int) -> int:
        """Write a number, once."""

    def read(self, number: int) -> int:
        """The highest number of the run that is there."""

    def knock(self, number: int) -> int:
        """Only see whether somebody answers."""

    def stored(self) -> dict[int, int]:
        """How often each number of the run is there."""

    def forget(self) -> None:
        """Take away the numbers of the run."""

    def close(self) -> None:
        """Throw the connection away."""


Connect = Callable[[dict[str, Any], Settings, str], Any]
"""Makes a Client of an endpoint, the settings and the run's name."""


class Log:
    """The output: a line an operation, from several threads."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def write(self, **line: Any) -> None:
        """Write one line, whole."""
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()


def pace(rate: float, ended: threading.Event) -> Iterator[int]:
    """Count from 1, `rate` times a second. What an outage swallowed is not made up for."""
    number, due = 0, time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        number += 1
        yield number
        due = max(due + 1 / rate, time.monotonic())


def work(client: Any, target: str, op: str, rate: float, log: Log, ended: threading.Event, late: float = 0) -> None:
    """One kind of operation on one target, until ended; begins `late` by so many seconds."""
    if ended.wait(late):
        return
    for number in pace(rate, ended):
        began = time.monotonic()
        seen: int | None = number if op == "write" else None
        error = None
        try:
            seen = getattr(client, op)(number)
        except Exception as problem:  # whatever it is, it is what is measured
            error = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"
        now = time.monotonic()
        log.write(t=now, op=op, n=seen, ok=error is None, error=error, took=round(now - began, 4), target=target)
    client.close()


def persist(action: Callable[[], Any], seconds: float) -> Any:
    """Do something until it succeeds, for as long as that."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def run(connect: Connect, settings: Settings, output: Path, seconds: float | None) -> None:
    """Write and read until told to end."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    name = str(uuid.uuid4())
    rate, workers = float(settings.get("rate", 20)), int(settings.get("workers", 1))
    with output.open("w", encoding="utf-8") as file:
        log = Log(file)
        for endpoints in settings["targets"].values():
            client = connect(next(iter(endpoints.values())), settings, name)
            persist(client.prepare, 30)
            client.close()
        log.write(t=time.monotonic(), op="start", n=0, ok=True, error=None, run=name, wall=time.time())
        threads = [
            threading.Thread(
                target=work,
                args=(connect(endpoint, settings, name), target, op, rate / workers, log, ended, worker / rate),
            )
            for target, endpoints in settings["targets"].items()
            for op, endpoint in endpoints.items()
            for worker in range(workers)
        ]
        for thread in threads:
            thread.start()
        until = time.monotonic() + seconds if seconds else float("inf")
        while not ended.wait(0.2) and time.monotonic() < until:
            pass  # awake often: only this thread runs the handlers of signals
        ended.set()
        for thread in threads:
            thread.join()


def state(settings: Settings, output: Path) -> dict[str, Any]:
    """What succeeds right now.

    Returns: `wall`, the time now, and `steady`, by target and operation for how many seconds up to now it has succeeded
        without a halt; 0 where it does not succeed, None where it never did.
    """
    with output.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        text = file.read().decode(errors="replace")
    lines = [line for each in text.splitlines() if (line := parsed(each))]
    now = time.monotonic()
    return {
        "wall": time.time(),
        "steady": {
            target: {op: steady([x for x in lines if (x.get("target"), x["op"]) == (target, op)], now) for op in ops}
            for target, ops in settings["targets"].items()
        },
    }


def parsed(text: str) -> Line | None:
    """A line of a log; None where it is only a part of one."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def steady(lines: list[Line], now: float) -> float | None:
    """For how many seconds up to now operations have succeeded without a halt."""
    times = sorted(line["t"] for line in lines if line["ok"])
    if not times:
        return None
    since = now
    for later, earlier in itertools.pairwise([now, *reversed(times)]):
        if later - earlier > HALT:
            break
        since = earlier
    return round(now - since, 3)


def verify(connect: Connect, settings: Settings, output: Path) -> dict[str, Any]:
    """Hold the log against what the service has now.

    Returns: `clock`, the start by both clocks, and by target what `judge` says.
    """
    start, *lines = read_log(output)
    result = {}
    for target, endpoints in settings["targets"].items():
        stored, ordered = {}, False
        own = [line for line in lines if line["target"] == target]
        if "write" in endpoints:
            client = connect(endpoints["write"], {**settings, "last": last(own)}, start["run"])
            stored, ordered = persist(client.stored, 60), getattr(client, "ordered", False)
            client.close()
        result[target] = judge(own, stored, start["t"], ordered)
    return {"clock": {"t": start["t"], "wall": start["wall"]}, "targets": result}


def read_log(output: Path) -> list[Line]:
    """The lines of a log, of which the first tells its start."""
    return [line for each in output.read_text(encoding="utf-8").splitlines() if (line := parsed(each))]


def last(lines: list[Line]) -> int:
    """The highest number that was tried to be written."""
    return max((line["n"] for line in lines if line["op"] == "write"), default=0)


def clean(connect: Connect, settings: Settings, output: Path) -> None:
    """Take away what the run left in the service."""
    start, *lines = read_log(output)
    for target, endpoints in settings["targets"].items():
        if "write" in endpoints:
            tried = last([line for line in lines if line["target"] == target])
            client = connect(endpoints["write"], {**settings, "last": tried}, start["run"])
            persist(client.forget, 30)
            client.close()


def judge(lines: list[Line], stored: dict[int, int], began: float, ordered: bool = False) -> dict[str, Any]:
    """What is made of a target's log, and of how often each number is stored; `ordered` if that is told in its order.

    Returns: `acknowledged` writes, `failed` ones, those `lost`, `duplicated` and `reordered` (that lie behind one
        written later; numbers), how many not acknowledged
        are there all the same, `reads`, `reads_failed`, `stale` reads (that saw less than was acknowledged as they
        began) with the most numbers that one was `behind`; by operation `gaps`, `counts` and `errors`.
    """
    writes = [line for line in lines if line["op"] == "write"]
    reads = [line for line in lines if line["op"] == "read" and line["ok"]]
    acknowledged = {line["n"] for line in writes if line["ok"]}
    times = sorted((line["t"], line["n"]) for line in writes if line["ok"])
    behind = []
    for line in reads:
        before = bisect.bisect_left(times, (line["t"] - line["took"],))
        if before and times[before - 1][1] > line["n"]:
            behind.append(times[before - 1][1] - line["n"])
    by_op = {op: [line for line in lines if line["op"] == op] for op in dict.fromkeys(line["op"] for line in lines)}
    return {
        "acknowledged": len(acknowledged),
        "failed": len(writes) - len(acknowledged),
        "lost": sorted(acknowledged - stored.keys()),
        "duplicated": sorted(number for number, count in stored.items() if count > 1),
        "reordered": overtaken(stored) if ordered else [],
        "unacknowledged_but_there": len(stored.keys() - acknowledged),
        "reads": len(reads),
        "reads_failed": sum(1 for line in lines if line["op"] == "read" and not line["ok"]),
        "stale": len(behind),
        "behind": max(behind, default=0),
        "gaps": {op: gaps(those, began) for op, those in by_op.items()},
        "counts": {op: counts(those, began) for op, those in by_op.items()},
        "errors": {op: errors(those) for op, those in by_op.items()},
    }


def overtaken(numbers: Iterable[int]) -> list[int]:
    """The numbers that come after a higher one."""
    highest, found = 0, []
    for number in numbers:
        if number < highest:
            found.append(number)
        highest = max(highest, number)
    return found


def gaps(lines: list[Line], began: float) -> list[dict[str, float]]:
    """The times without a success of more than GAP seconds, `{t, seconds}`, one that lasts to the end included."""
    if not lines:
        return []
    marks = [began, *sorted(line["t"] for line in lines if line["ok"]), max(line["t"] for line in lines)]
    return [
        {"t": before, "seconds": round(after - before, 3)}
        for before, after in itertools.pairwise(marks)
        if after - before > GAP
    ]


def counts(lines: list[Line], began: float) -> dict[str, list[int]]:
    """How many operations succeeded (`ok`) and `failed` in each STEP seconds since the start."""
    last = max((line["t"] for line in lines), default=began)
    found = {name: [0] * (int((last - began) / STEP) + 1) for name in ("ok", "failed")}
    for line in lines:
        found["ok" if line["ok"] else "failed"][max(0, int((line["t"] - began) / STEP))] += 1
    return found


def errors(lines: list[Line]) -> dict[str, int]:
    """How often each error came."""
    found: dict[str, int] = {}
    for line in lines:
        if not line["ok"]:
            found[line["error"]] = found.get(line["error"], 0) + 1
    return found


def main(connect: Connect, description: str) -> int:
    """Run a probe's program; its exit status."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "state", "verify", "clean"):
        command = commands.add_parser(name)
        command.add_argument("settings", type=Path)
        command.add_argument("output", type=Path)
        if name == "run":
            command.add_argument("--seconds", type=float)
    asked = parser.parse_args()
    settings = json.loads(asked.settings.read_text(encoding="utf-8"))
    if asked.command == "run":
        run(connect, settings, asked.output, asked.seconds)
    elif asked.command == "clean":
        clean(connect, settings, asked.output)
    elif asked.command == "state":
        print(json.dumps(state(settings, asked.output)))
    else:
        result = verify(connect, settings, asked.output)
        print(json.dumps(result))
        return int(any(each["lost"] or each["duplicated"] or each["reordered"] for each in result["targets"].values()))
    return 0


def run_as_program(connect: Connect, description: str | None) -> None:
    """End this process with the exit status of a probe's program."""
    sys.exit(main(connect, description or ""))
