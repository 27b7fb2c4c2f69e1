# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Control groups of version 2: how the lab knows what it started, and ends exactly that.

Every process of a lab lives under ``rackspread-lab/<lab>``: the running ``up``, the door to the packages, the ssh
connections and the hosts. A control group can't be left by forking, so writing to ``cgroup.kill`` reaches what a killed
``up`` left behind as well.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from functools import cache
from pathlib import Path

from .errors import LabError
from .process import run

OWN_MOUNT = Path("/run/rackspread-lab/.cgroup")
KILL_SECONDS = 30


@cache
def hierarchy() -> Path:
    """Return where the whole of cgroup2 is mounted.

    That is /sys/fs/cgroup, /sys/fs/cgroup/unified where version 1 is in use as well, or else a mount of the lab's own.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, mounted = before.split()[3:5]
        if after.startswith("cgroup2 ") and root == "/":
            return Path(mounted)
    OWN_MOUNT.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "cgroup2", "cgroup2", OWN_MOUNT)
    return OWN_MOUNT


def drop_own_mount() -> None:
    """Unmount the hierarchy if it was mounted for the lab only."""
    if OWN_MOUNT.is_mount():
        run("umount", OWN_MOUNT)
        OWN_MOUNT.rmdir()
    hierarchy.cache_clear()


class Cgroup:
    """One control group of the lab.

    Args:
        parts: its path below ``rackspread-lab``.
    """

    def __init__(self, *parts: str) -> None:
        self.parts = parts

    @property
    def path(self) -> Path:
        """The folder in the machine's own mount of the hierarchy."""
        return hierarchy().joinpath("rackspread-lab", *self.parts)

    def create(self) -> Cgroup:
        """Make it and its parents, each handing down the controllers that it has."""
        for folder in reversed([self.path, *self.path.parents][: len(self.parts) + 1]):
            folder.mkdir(exist_ok=True)
            for controller in (folder.parent / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):  # busy or not delegable: a host does without this limit
                    (folder.parent / "cgroup.subtree_control").write_text(f"+{controller}")
        return self

    def enter(self) -> None:
        """Move this process there."""
        (self.path / "cgroup.procs").write_text("0")

    def wrap(self, *command: object) -> list[object]:
        """Return the command that moves itself there before it becomes ``command``."""
        return ["/bin/sh", "-c", 'echo $$ >"$0" && exec "$@"', self.path / "cgroup.procs", *command]

    def pids(self) -> list[int]:
        """Return the processes in it and below."""
        found: list[int] = []
        for folder, _, _ in os.walk(self.path):
            with contextlib.suppress(OSError):
                found += map(int, Path(folder, "cgroup.procs").read_text().split())
        return found

    @property
    def populated(self) -> bool:
        """Whether a process lives in it or below."""
        try:
            return "populated 1" in (self.path / "cgroup.events").read_text()
        except OSError:
            return False

    def kill(self) -> None:
        """End everything in it and below, at once, and wait until it's over.

        Raises:
            LabError: something survived; with the process ids.
        """
        if not self.path.is_dir():
            return
        (self.path / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + KILL_SECONDS
        with open(self.path / "cgroup.events") as events:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while self.populated:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise LabError(f"Processes of {self.path} outlive SIGKILL after {KILL_SECONDS} s: {self.pids()}.")
                poll.poll(min(left, 1) * 1000)
                events.seek(0)
                events.read()

    def remove(self) -> None:
        """End what is in it, and remove it with all below."""
        self.kill()
        for folder, _, _ in os.walk(self.path, topdown=False):
            self._remove_folder(folder)

    def _remove_folder(self, folder: str) -> None:
        deadline = time.monotonic() + KILL_SECONDS
        while True:
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                return
            except OSError:  # a process that died is still being reaped
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return


def own_cgroup() -> Path:
    """Return the folder of the control group that this process is in."""
    line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    return hierarchy() / line[3:].lstrip("/")
