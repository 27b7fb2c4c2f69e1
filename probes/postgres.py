# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Postgres shards that counts: it writes and reads through the endpoints, and reads back what it wrote.

    postgres.py run SETTINGS OUTPUT [--seconds S]   until S, SIGTERM or SIGINT; a JSON line each operation
    postgres.py verify SETTINGS OUTPUT              reads each acknowledged number back; exit status 1 where one is lost

SETTINGS is a JSON file (0600, it holds a password):

    {"targets": {"postgres_shard1": {"write": {"host": "198.18.0.100", "port": 5432}, "read": {…}}},
     "connect": {"user": …, "password": …, "dbname": …, "sslmode": "verify-full", "sslrootcert": …},
     "rate": 20, "timeout": 2}

An endpoint is what libpq takes (several hosts and target_session_attrs too), `rate` is operations a second and kind,
`timeout` the seconds that one may take.

OUTPUT has lines {"t", "op", "n", "ok", "error", "took", "target"}: when the answer came (seconds of the monotonic
clock, which all hosts of a lab share), `write` or `read`, the number written or the highest one read, how it ended, how
long it took. The first line, `start`, names the run and the wall clock's time.

Each number is written once and never again, whatever came of it: what was not acknowledged may or may not be there. A
warning at a commit (Postgres gave up waiting for the copies) is no acknowledgement. Needs python3-psycopg 3.2.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

TABLE = "rackspread_probe"
PREPARE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (run text NOT NULL, n bigint NOT NULL)",  # not unique: twice is to be seen
    f"CREATE INDEX IF NOT EXISTS {TABLE}_of_run ON {TABLE} (run, n)",
)
WRITE = f"INSERT INTO {TABLE} (run, n) VALUES (%s, %s)"  # noqa: S608  # a constant
READ = f"SELECT coalesce(max(n), 0) FROM {TABLE} WHERE run = %s"  # noqa: S608
READ_BACK = f"SELECT n, count(*) FROM {TABLE} WHERE run = %s GROUP BY n"  # noqa: S608

GAP = 0.2
"""Seconds between two successes from which on they are an outage worth naming."""


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


class Client:
    """A well-kept connection: made when needed, thrown away after an error, never waited for longer than allowed.

    Args:
        endpoint: where to, in libpq's words.
        settings: the probe's.
    """

    def __init__(self, endpoint: dict[str, Any], settings: dict[str, Any]) -> None:
        self.timeout = float(settings.get("timeout", 2))
        self._parameters = {
            "connect_timeout": 2,  # libpq knows no less
            "tcp_user_timeout": int(self.timeout * 1000),
            "application_name": TABLE,
            **settings["connect"],
            **endpoint,
        }
        self._connection: Any = None
        self._warnings: list[str] = []

    def execute(self, statement: str, values: tuple[Any, ...] = (), timeout: float | None = None) -> list[Any]:
        """Run a statement in a transaction of its own; the rows, if it has any.

        Raises psycopg.Error where it failed or took too long, RuntimeError where Postgres acknowledged with a warning.
        """
        import psycopg

        try:
            if self._connection is None:
                self._connection = psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=None)
                self._connection.add_notice_handler(self._note)
            self._warnings.clear()
            with self._limited(timeout or self.timeout):
                cursor = self._connection.execute(statement, values)
                rows = cursor.fetchall() if cursor.description else []
        except psycopg.Error:
            self.close()
            raise
        if self._warnings:
            raise RuntimeError("; ".join(self._warnings))
        return rows

    def _note(self, notice: Any) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(str(notice.message_primary))

    def close(self) -> None:
        """Throw the connection away."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _limited(self, seconds: float) -> Iterator[None]:
        """Cut the connection where a statement takes longer: a server behind a balancer can be silent for ever."""
        wire = socket.socket(fileno=os.dup(self._connection.fileno()))

        def cut() -> None:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            wire.close()


def pace(rate: float, ended: threading.Event) -> Iterator[int]:
    """Count from 1, `rate` times a second. What an outage swallowed is not made up for."""
    number, due = 0, time.monotonic()
    while not ended.wait(max(0.0, due - time.monotonic())):
        number += 1
        yield number
        due = max(due + 1 / rate, time.monotonic())


def work(target: str, op: str, settings: dict[str, Any], run: str, log: Log, ended: threading.Event) -> None:
    """One kind of operation on one target, until ended."""
    client = Client(settings["targets"][target][op], settings)
    for number in pace(float(settings.get("rate", 20)), ended):
        began = time.monotonic()
        seen: int | None = number if op == "write" else None
        error = None
        try:
            if op == "write":
                client.execute(WRITE, (run, number))
            else:
                seen = client.execute(READ, (run,))[0][0]
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


def run(settings: dict[str, Any], output: Path, seconds: float | None) -> None:
    """Write and read until told to end."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    name = str(uuid.uuid4())
    with output.open("w", encoding="utf-8") as file:
        log = Log(file)
        for endpoints in settings["targets"].values():
            client = Client(endpoints["write"], settings)
            for statement in PREPARE:
                persist(lambda client=client, statement=statement: client.execute(statement, timeout=10), 30)
            client.close()
        log.write(t=time.monotonic(), op="start", n=0, ok=True, error=None, run=name, wall=time.time())
        threads = [
            threading.Thread(target=work, args=(target, op, settings, name, log, ended))
            for target, endpoints in settings["targets"].items()
            for op in endpoints
        ]
        for thread in threads:
            thread.start()
        ended.wait(seconds)
        ended.set()
        for thread in threads:
            thread.join()


def verify(settings: dict[str, Any], output: Path) -> dict[str, Any]:
    """Hold the log against what the store has now.

    Returns: by target: `acknowledged` writes, `failed` ones, those `lost` and `duplicated` (numbers), how many not
        acknowledged are there all the same, `reads`, `stale` reads (that saw less than was acknowledged as they began)
        with the most numbers that one was `behind`, and `gaps` of writes and reads.
    """
    start, *lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    result = {}
    for target, endpoints in settings["targets"].items():
        of_target = [line for line in lines if line["target"] == target]
        client = Client(endpoints["write"], settings)
        rows = persist(lambda client=client: client.execute(READ_BACK, (start["run"],), timeout=60), 60)
        client.close()
        result[target] = judge(of_target, dict(rows), start["t"])
    return result


def judge(lines: list[dict[str, Any]], stored: dict[int, int], began: float) -> dict[str, Any]:
    """What `verify` answers for a target, from its log and how often each number is stored."""
    writes = [line for line in lines if line["op"] == "write"]
    reads = [line for line in lines if line["op"] == "read" and line["ok"]]
    acknowledged = {line["n"] for line in writes if line["ok"]}
    times = sorted((line["t"], line["n"]) for line in writes if line["ok"])
    behind = []
    for line in reads:
        before = bisect.bisect_left(times, (line["t"] - line["took"],))
        if before and times[before - 1][1] > line["n"]:
            behind.append(times[before - 1][1] - line["n"])
    return {
        "acknowledged": len(acknowledged),
        "failed": len(writes) - len(acknowledged),
        "lost": sorted(acknowledged - stored.keys()),
        "duplicated": sorted(number for number, count in stored.items() if count > 1),
        "unacknowledged_but_there": len(stored.keys() - acknowledged),
        "reads": len(reads),
        "reads_failed": sum(1 for line in lines if line["op"] == "read" and not line["ok"]),
        "stale": len(behind),
        "behind": max(behind, default=0),
        "gaps": {op: gaps([line for line in lines if line["op"] == op], began) for op in ("write", "read")},
    }


def gaps(lines: list[dict[str, Any]], began: float) -> list[dict[str, float]]:
    """The times without a success of more than GAP seconds, `{t, seconds}`, one that lasts to the end included."""
    if not lines:
        return []
    marks = [began, *sorted(line["t"] for line in lines if line["ok"]), max(line["t"] for line in lines)]
    return [
        {"t": before, "seconds": round(after - before, 3)}
        for before, after in itertools.pairwise(marks)
        if after - before > GAP
    ]


def main() -> int:
    """Run the program; its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "verify"):
        command = commands.add_parser(name)
        command.add_argument("settings", type=Path)
        command.add_argument("output", type=Path)
        if name == "run":
            command.add_argument("--seconds", type=float)
    asked = parser.parse_args()
    settings = json.loads(asked.settings.read_text(encoding="utf-8"))
    if asked.command == "run":
        run(settings, asked.output, asked.seconds)
        return 0
    result = verify(settings, asked.output)
    print(json.dumps(result, indent=2))
    return int(any(each["lost"] or each["duplicated"] for each in result.values()))


if __name__ == "__main__":
    sys.exit(main())
