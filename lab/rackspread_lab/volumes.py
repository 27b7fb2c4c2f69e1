# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data volumes: small file systems of their own, in files, on loop devices.

A host mounts them itself, by label, as a real host does; so what is detached is really not mounted. The kernel knows
which file each loop device carries, so nothing has to be written down to find a lab's devices again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from . import host as hosts
from .definition import Host
from .errors import LabError, unknown
from .process import run
from .state import Lab

SIZE = 8 << 30
"""Bytes of a volume; the file is sparse, so it takes what is written."""
RELEASE_SECONDS = 20


def file_of(lab: Lab, host: Host, volume: str) -> Path:
    """Return the file that carries a volume."""
    return lab.disks / host.name / "volumes" / volume


def devices(folder: Path) -> dict[Path, str]:
    """Return the loop devices of files below a folder: file to device name (``loop3``)."""
    found = {}
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            file = Path(backing.read_text().rstrip("\n").removesuffix(" (deleted)"))
        except OSError:  # released this moment
            continue
        if file.is_relative_to(folder):
            found[file] = backing.parent.parent.name
    return found


def mount_unit(volume: str) -> str:
    """Return the unit that mounts a volume; a host boots without it too.

    It isn't a line of fstab, since systemd leaves out fstab's devices in a container. It goes without barriers, since
    all hosts share one disk, and a lab proves nothing about fsync.
    """
    return f"""[Unit]
Description=The data volume {volume}

[Mount]
What=/dev/disk/by-label/{volume}
Where=/srv/{volume}
Type=ext4
Options=noatime,barrier=0

[Install]
WantedBy=local-fs.target
"""


def make(lab: Lab, host: Host, volume: str) -> None:
    """Make a volume's file with a fresh file system, in place of the one that was there."""
    file = file_of(lab, host, volume)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{volume}.new")
    with open(aside, "wb") as empty:
        empty.truncate(SIZE)
    quick = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    run("mkfs.ext4", "-q", "-F", "-L", volume, "-m", "0", "-E", quick, aside)
    aside.rename(file)


def connect(lab: Lab, host: Host) -> list[str]:
    """Give every volume of a host that isn't detached its loop device; return the devices' names."""
    there = devices(lab.disks / host.name)
    names = []
    for volume in lab.definition.volumes:
        if not lab.flag("detached", host.name, volume):
            file = file_of(lab, host, volume)
            names.append(there.get(file) or Path(run("losetup", "--find", "--show", file).strip()).name)
    return names


def release(folder: Path) -> None:
    """Free the loop devices of all files below a folder.

    Raises:
        LabError: one is still in use.
    """
    deadline = time.monotonic() + RELEASE_SECONDS
    while there := devices(folder):
        for name in there.values():
            run("losetup", "--detach", f"/dev/{name}", check=False)
        if time.monotonic() > deadline:
            raise LabError(f"Loop devices are still in use: {', '.join(sorted(there.values()))}.")
        if devices(folder):
            time.sleep(0.05)


def detach(lab: Lab, host: Host, volume: str) -> None:
    """Take a volume away from a host that isn't using it, as by pulling the disk. It stays away over a reboot."""
    _check(lab, volume)
    _let_go(lab, host, volume)
    lab.flag("detached", host.name, volume).set(True)


def attach(lab: Lab, host: Host, volume: str) -> None:
    """Bring a volume back to its host, which mounts it at once if it is on."""
    _check(lab, volume)
    lab.flag("detached", host.name, volume).set(False)
    _hand_over(lab, host, volume)


def empty(lab: Lab, host: Host, volume: str) -> None:
    """Replace a volume by a blank one, with another UUID. If it was attached, it is so (and mounted) afterwards."""
    _check(lab, volume)
    _let_go(lab, host, volume)
    make(lab, host, volume)
    if not lab.flag("detached", host.name, volume):
        _hand_over(lab, host, volume)


def _check(lab: Lab, volume: str) -> None:
    if volume not in lab.definition.volumes:
        raise unknown("volume", volume, lab.definition.volumes)


def _let_go(lab: Lab, host: Host, volume: str) -> None:
    """Unmount a volume in its host, if it is on, and free its device.

    Raises:
        LabError: a process uses it; with the processes.
    """
    name = devices(lab.disks / host.name).get(file_of(lab, host, volume))
    if name is None:
        return
    device = os.stat(f"/dev/{name}").st_rdev
    if hosts.running(lab, host):
        find = ("findmnt", "--noheadings", "--output", "TARGET", "--source", f"/dev/{name}")
        mounted = hosts.execute(lab, host, *find, check=False)
        for target in reversed(mounted.split()):
            try:
                hosts.execute(lab, host, "umount", target)
            except LabError as error:
                users = ", ".join(_users(lab, host, device)) or "something"
                raise LabError(
                    f"The volume {volume} of {host.name} is in use by {users}. Stop that first, or power the host off."
                ) from error
        hosts.execute(lab, host, "rm", "-f", f"/dev/{name}")
    release(file_of(lab, host, volume))
    if hosts.running(lab, host):
        hosts.execute(lab, host, "/usr/local/sbin/lab-devices")


def _hand_over(lab: Lab, host: Host, volume: str) -> None:
    """Make the volume's device known in a host that is on, and mount it there."""
    if hosts.running(lab, host):
        names = connect(lab, host)
        hosts.execute(lab, host, "env", f"LAB_VOLUMES={' '.join(names)}", "/usr/local/sbin/lab-devices")
        hosts.execute(lab, host, "systemctl", "start", f"srv-{volume}.mount")


def _users(lab: Lab, host: Host, device: int) -> list[str]:
    """Return the processes of a host with something open on a file system, as ``name (pid on the machine)``."""
    found = []
    for pid in lab.host_cgroup(host).pids():
        folder = Path(f"/proc/{pid}")
        try:
            open_files = [folder / "cwd", *folder.glob("fd/*")]
            if any(os.stat(file).st_dev == device for file in open_files if file.exists()):
                found.append(f"{(folder / 'comm').read_text().strip()} ({pid})")
        except OSError:  # it ended meanwhile
            continue
    return found
