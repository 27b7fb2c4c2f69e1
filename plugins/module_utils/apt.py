# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt-get in a transient unit of systemd: it ends its work when the run that asked for it is killed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from .host import Failed, flock, read, run, unit, write_atomic

RUN = "/run/rackspread"
TRANSIENT = "rackspread-packages"
POLICY = "/usr/sbin/policy-rc.d"
LOG = f"{RUN}/packages.log"

# Two files for the time of installing. A policy that was there before is kept beside it, and is never taken for ours.
POLICY_SCRIPT = f"""\
mark='# for the time of rackspread.ha.packages'
let_start() {{
    if grep -qsF "$mark" {POLICY}; then rm -f {POLICY}; fi
    if [ -e {POLICY}.rackspread-kept ]; then mv -f {POLICY}.rackspread-kept {POLICY}; fi
}}
let_start
if [ "$1" = deny ]; then
    if [ -e {POLICY} ]; then mv {POLICY} {POLICY}.rackspread-kept; fi
    printf '#!/bin/sh\\n%s\\nexit 101\\n' "$mark" > {POLICY}
    chmod 0755 {POLICY}
fi
"""

ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    "UCF_FORCE_CONFFOLD": "1",
    "LC_ALL": "C.UTF-8",
}
APT = ["apt-get", "--quiet", "--yes", "--option=Acquire::Retries=3", "--option=Dpkg::Use-Pty=0"]
KEEP = ["--force-confdef", "--force-confold"]
KEEP_FILES = [f"--option=Dpkg::Options::={choice}" for choice in KEEP]
"""Options of apt-get: configuration files that were changed on the host are kept."""
PATIENCE = 1800
BUSY = "Could not get lock"
INTERRUPTED = "dpkg --configure -a"


@contextlib.contextmanager
def alone(deadline: float) -> Iterator[None]:
    """Hold the host's lock of this module, and wait until an installation that outlived its run has ended."""
    with flock(f"{RUN}/packages.lock", deadline - time.monotonic()):
        while unit(TRANSIENT).active not in ("inactive", "failed"):
            pause(deadline, "an installation of an earlier run is under way")
        yield


def pause(deadline: float, reason: str) -> None:
    """Wait a little before the next attempt; raises Failed with the reason when the deadline is over."""
    if time.monotonic() > deadline:
        raise Failed(f"{reason}, and did not end within lock_timeout")
    time.sleep(1)


def run_aside(command: list[str], deny: bool = True) -> tuple[int, str]:
    """Run a command in a transient unit. Returns its exit status and its output.

    The unit lives on when this process is killed. With `deny` packages start nothing in it, and systemd puts that
    policy back however the command ends.
    """
    write_atomic(f"{RUN}/packages-policy.sh", POLICY_SCRIPT)
    write_atomic(LOG, "")
    policy = [
        f"--property=ExecStartPre=/bin/sh -e {RUN}/packages-policy.sh deny",
        f"--property=ExecStopPost=/bin/sh -e {RUN}/packages-policy.sh allow",
    ]
    ran = run(
        [
            "systemd-run", "--quiet", "--collect", "--wait", f"--unit={TRANSIENT}.service",
            *(policy if deny else ()),
            f"--property=StandardOutput=append:{LOG}", "--property=StandardError=inherit",
            *(f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()),
            *command,
        ],
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    return ran.returncode, (read(LOG) or "") + ran.stderr


def get(arguments: list[str], deadline: float, deny: bool = True) -> tuple[int, str]:
    """Run apt-get, waiting for other programs that hold one of its locks, and ending first what dpkg was cut short in.

    Args:
        arguments: of apt-get.
        deadline: of time.monotonic, for the waiting alone.
        deny: packages start nothing meanwhile.
    """
    mended = False
    while True:
        left = max(1, int(deadline - time.monotonic()))
        status, output = run_aside([*APT, f"--option=DPkg::Lock::Timeout={left}", *arguments], deny)
        if status != 0 and INTERRUPTED in output and not mended:
            run_aside(["dpkg", *KEEP, "--configure", "-a"], deny)
            mended = True
        elif status != 0 and BUSY in output:
            pause(deadline, "another program holds apt's lock")
        else:
            return status, output


def complaints(output: str) -> list[str]:
    """The lines in which apt-get and dpkg say what went wrong."""
    lines = [line.strip() for line in output.splitlines()]
    return [line for line in lines if line.startswith(("E:", "Error:", "dpkg: error"))]
