# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time: what decides over a whole site holds it for as long as it acts."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

NAME = "run.lock"
PATIENCE = 150.0
"""Seconds that another run may take to end: one that was killed still ends its last step, say a slow start."""


@contextmanager
def alone(folder: Path, say: Callable[[str], None], patience: float = PATIENCE) -> Iterator[None]:
    """Hold a site's state folder for the time of a block. The kernel gives it back however the process ends.

    Args:
        folder: `<inventory>/.rackspread`, made where it is missing.
        say: told once that another run is waited for.
        patience: seconds to wait for it.

    Raises Refusal RS-031 where the other run goes on.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline, told = time.monotonic() + patience, False
        while not _take(descriptor):
            if time.monotonic() >= deadline:
                raise Refusal("RS-031", f"Another run holds {path}.")
            if not told:
                say(f"Another run holds {path}; waiting up to {patience:g} s for its end.")
                told = True
            time.sleep(0.5)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
