# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages on a host: which are there, and how others are installed without starting anything."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

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
KEEP_FILES = ["--force-confdef", "--force-confold"]
PATIENCE = 1800
BUSY = "Could not get lock"
INTERRUPTED = "dpkg --configure -a"


class Package(NamedTuple):
    """What dpkg knows of an installed package."""

    version: str
    held: bool


def installed_packages(names: Iterable[str]) -> dict[str, Package]:
    """The installed ones among these packages, by name."""
    form = "${Package}\t${db:Status-Want}\t${db:Status-Status}\t${Version}\n"
    wanted = sorted(set(names))
    if not wanted:
        return {}
    # dpkg-query ends with 1 where it does not know one of them: that is an answer and no failure.
    shown = run(["dpkg-query", "--show", f"--showformat={form}", *wanted], check=False)
    rows = (line.split("\t") for line in shown.stdout.splitlines())
    return {name: Package(version, want == "hold") for name, want, status, version in rows if status == "installed"}


def missing_packages(names: Iterable[str], installed: dict[str, Package]) -> list[str]:
    """Those of C(names) (C(name) or C(name=version)) that are not installed, or in another version."""

    def there(name: str) -> bool:
        package, _equals, version = name.partition("=")
        return package in installed and version in ("", installed[package].version)

    return [name for name in names if not there(name)]


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


def run_denied(command: list[str]) -> tuple[int, str]:
    """Run a command in a transient unit, in which packages start nothing. Returns its exit status and its output.

    The unit lives on when this process is killed, and systemd puts the policy back however the command ends.
    """
    write_atomic(f"{RUN}/packages-policy.sh", POLICY_SCRIPT)
    write_atomic(LOG, "")
    ran = run(
        [
            "systemd-run", "--quiet", "--collect", "--wait", f"--unit={TRANSIENT}.service",
            f"--property=ExecStartPre=/bin/sh -e {RUN}/packages-policy.sh deny",
            f"--property=ExecStopPost=/bin/sh -e {RUN}/packages-policy.sh allow",
            f"--property=StandardOutput=append:{LOG}", "--property=StandardError=inherit",
            *(f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()),
            *command,
        ],
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    return ran.returncode, (read(LOG) or "") + ran.stderr


def apt(arguments: list[str], deadline: float) -> tuple[int, str]:
    """Run apt-get, waiting for other programs that hold one of its locks."""
    while True:
        left = max(1, int(deadline - time.monotonic()))
        status, output = run_denied([*APT, f"--option=DPkg::Lock::Timeout={left}", *arguments])
        if status == 0 or BUSY not in output:
            return status, output
        pause(deadline, "another program holds apt's lock")


def install(names: list[str], held: bool, deadline: float) -> None:
    """Install the packages; read the sources' index first only where it does not do without."""
    arguments = ["install", "--no-install-recommends", *(f"--option=Dpkg::Options::={choice}" for choice in KEEP_FILES)]
    if held:
        arguments.append("--allow-change-held-packages")
    if any("=" in name for name in names):
        arguments.append("--allow-downgrades")
    status, output = apt([*arguments, *names], deadline)
    if status != 0 and INTERRUPTED in output:
        run_denied(["dpkg", *KEEP_FILES, "--configure", "-a"])
        status, output = apt([*arguments, *names], deadline)
    if status != 0:
        # A source that is not needed may fail: what counts is whether the packages can be installed afterwards.
        _status, updated = apt(["update"], deadline)
        status, output = apt([*arguments, *names], deadline)
        if status != 0:
            why = " ".join(dict.fromkeys(complaints(updated) + complaints(output)))
            raise Failed(f"apt-get could not install {' '.join(names)}: {why}")


def complaints(output: str) -> list[str]:
    """The lines in which apt-get and dpkg say what went wrong."""
    lines = [line.strip() for line in output.splitlines()]
    return [line for line in lines if line.startswith(("E:", "Error:", "dpkg: error"))]


def change(names: list[str], lock_timeout: float = 300) -> None:
    """Install packages in the versions that are asked for (`name=version`), up or down. Raises Failed."""
    deadline = time.monotonic() + lock_timeout
    with alone(deadline):
        before = installed_packages(name.partition("=")[0] for name in names)
        missing = missing_packages(names, before)
        if missing:
            install(missing, any(package.held for package in before.values()), deadline)
