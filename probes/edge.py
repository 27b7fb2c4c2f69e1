# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that knocks at a virtual address: a TCP connection every 20 ms, given up after 100 ms.

    edge.py ADDRESS PORT OUTPUT [--seconds S]    until S, SIGTERM or SIGINT; a JSON line each knock

OUTPUT has lines {"t", "op", "ok", "error", "took"}: when it ended (seconds of the monotonic clock, which all hosts of a
lab share), `knock`, whether the connection was accepted, and how long that took. Nothing is sent over it.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import threading
import time
from pathlib import Path

EVERY = 0.02
PATIENCE = 0.1


def knock(address: str, port: int) -> str | None:
    """Try once; the reason where it did not open."""
    try:
        socket.create_connection((address, port), PATIENCE).close()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None


def run(address: str, port: int, output: Path, ended: threading.Event) -> None:
    """Knock until ended. What a slow knock swallowed is not made up for."""
    due = time.monotonic()
    with output.open("w", encoding="utf-8") as file:
        while not ended.wait(max(0.0, due - time.monotonic())):
            began = time.monotonic()
            error = knock(address, port)
            now = time.monotonic()
            line = {"t": now, "op": "knock", "ok": error is None, "error": error, "took": round(now - began, 4)}
            file.write(json.dumps(line) + "\n")
            due = max(due + EVERY, now)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float)
    asked = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if asked.seconds:
        timer = threading.Timer(asked.seconds, ended.set)
        timer.daemon = True
        timer.start()
    run(asked.address, asked.port, asked.output, ended)


if __name__ == "__main__":
    main()
