# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the machine that the lab calls."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from .errors import LabError


def run(*command: object, stdin: str = "", check: bool = True) -> str:
    """Run a command to its end and return its standard output.

    Raises:
        LabError: it failed and ``check`` is set; with the command and what it said.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise LabError(f"The command {words[0]} is not here. Install its package.") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing")[-2000:]
        raise LabError(f"`{' '.join(words)}` failed with {done.returncode}. It said: {said}")
    return done.stdout


def spawn(command: Sequence[object], log: Path, enter: Callable[[], None]) -> None:
    """Start a command that outlives this one.

    Args:
        command: its words.
        log: the file that its output is appended to.
        enter: called in the new process before the command starts, to move it into its control group; so it is there
            when this returns. No other thread may be running.
    """
    with open(log, "a") as output:
        subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/", preexec_fn=enter,
        )  # fmt: skip
