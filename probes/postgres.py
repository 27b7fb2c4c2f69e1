# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Postgres shards that counts: it writes and reads through the endpoints, and reads back what it wrote.

How it is called and what it writes stands in counting.py beside this file. An endpoint is what libpq takes (several
hosts and target_session_attrs too); the settings have, beside the common ones, what all endpoints share:

    {"targets": {"postgres_shard1": {"write": {"host": "198.18.0.100", "port": 5432}, "read": {…}}},
     "connect": {"user": …, "password": …, "dbname": …, "sslmode": "verify-full", "sslrootcert": …}}

A warning at a commit (Postgres gave up waiting for the copies) is no acknowledgement. Needs python3-psycopg 3.2.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import counting

TABLE = "rackspread_probe"
PREPARE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} (run text NOT NULL, n bigint NOT NULL)",  # not unique: twice is to be seen
    f"CREATE INDEX IF NOT EXISTS {TABLE}_of_run ON {TABLE} (run, n)",
)
WRITE = f"INSERT INTO {TABLE} (run, n) VALUES (%s, %s)"  # noqa: S608  # a constant
READ = f"SELECT coalesce(max(n), 0) FROM {TABLE} WHERE run = %s"  # noqa: S608
READ_BACK = f"SELECT n, count(*) FROM {TABLE} WHERE run = %s GROUP BY n"  # noqa: S608
FORGET = f"DELETE FROM {TABLE} WHERE run = %s"  # noqa: S608


class Client:
    """A well-kept connection: made when needed, thrown away after an error, never waited for longer than allowed.

    Args:
        endpoint: where to, in libpq's words.
        settings: the probe's.
        run: its name.
    """

    def __init__(self, endpoint: dict[str, Any], settings: dict[str, Any], run: str) -> None:
        self.timeout = float(settings.get("timeout", 2))
        self._run = run
        self._parameters = {
            "connect_timeout": 2,  # libpq knows no less
            "tcp_user_timeout": int(self.timeout * 1000),
            "application_name": TABLE,
            **settings["connect"],
            **endpoint,
        }
        self._connection: Any = None
        self._warnings: list[str] = []

    def prepare(self) -> None:
        """Make the table."""
        for statement in PREPARE:
            self.execute(statement, timeout=10)

    def write(self, number: int) -> int:
        """Insert a number."""
        self.execute(WRITE, (self._run, number))
        return number

    def read(self, number: int) -> int:
        """The highest number of the run."""
        return int(self.execute(READ, (self._run,))[0][0])

    def stored(self) -> dict[int, int]:
        """How often each number of the run is there."""
        return dict(self.execute(READ_BACK, (self._run,), timeout=60))

    def forget(self) -> None:
        """Take the run's rows away; the table stays."""
        self.execute(FORGET, (self._run,), timeout=60)

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


if __name__ == "__main__":
    counting.run_as_program(Client, __doc__)
