# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that the lab runs on: whether it can, and putting back what labs change on it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .cgroup import Cgroup, hierarchy
from .errors import LabError
from .process import run
from .state import RUN, boot_id

COMMANDS = {
    "apt-get": "apt",
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nft": "nftables",
    "nginx": "nginx-light",
    "nsenter": "util-linux",
    "socat": "socat",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sysctl": "procps",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
}
"""The commands that the lab calls, and the Debian package of each."""
DISK_BYTES = 3 << 30
SETTINGS = RUN / ".settings.json"
INOTIFY_INSTANCES = 8192


def require_root() -> None:
    """Refuse a system or a user that could not even look at a lab."""
    if platform.system() != "Linux":
        raise LabError(f"The lab needs Linux, and this is {platform.system()}. Run it on a Debian machine.")
    if os.geteuid() != 0:
        raise LabError("The lab boots hosts and needs root. Run it as root or with sudo.")


def check(disks: Path) -> None:
    """Refuse a machine that can't host a lab, with the remedy.

    Args:
        disks: the folder that is to hold images and disks.
    """
    packages = sorted({package for command, package in COMMANDS.items() if shutil.which(command) is None})
    if packages:
        missing = [command for command in COMMANDS if shutil.which(command) is None]
        raise LabError(
            f"Commands are missing: {', '.join(missing)}. Install them: "
            f"apt-get install --no-install-recommends {' '.join(packages)}"
        )
    systems = Path("/proc/filesystems").read_text().split()
    for system in ("overlay", "cgroup2", "ext4"):
        if system not in systems and not _loaded(system):
            raise LabError(f"This kernel has no {system}. Load the module {system}, or boot a kernel that has it.")
    try:
        group = Cgroup().create()
    except OSError as error:
        raise LabError(
            f"No control group can be made in {hierarchy()} ({error.strerror}). "
            "Run the lab on the machine itself or in a privileged container."
        ) from error
    if not (group.path / "cgroup.kill").exists():
        raise LabError("This kernel's cgroup2 has no cgroup.kill. Boot Linux 5.14 or newer.")
    if not Path("/dev/loop-control").exists() and not _loaded("loop"):
        raise LabError("This kernel has no loop devices. Load the module loop, or boot a kernel that has it.")
    _try(["unshare", "--net", "ip", "link", "add", "type", "bridge"], "no bridges in network namespaces")
    _try(["unshare", "--net", "ip", "link", "add", "type", "veth"], "no veth pairs in network namespaces")
    _try(["unshare", "--net", "nft", "add", "table", "inet", "rackspread"], "no nf_tables")
    disks.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(disks).free
    if free < DISK_BYTES:
        raise LabError(
            f"{disks} has {free >> 20} MiB free and a lab needs {DISK_BYTES >> 20}. "
            "Make room, or name another folder in RACKSPREAD_CACHE."
        )
    _check_overlay(disks)


def _loaded(module: str) -> bool:
    """Load a kernel module; return whether it is there now."""
    return shutil.which("modprobe") is not None and not os.system(f"modprobe --quiet {module} 2>/dev/null")  # noqa: S605


def _try(command: list[str], lack: str) -> None:
    try:
        run(*command)
    except LabError as error:
        raise LabError(f"This machine has {lack}. Boot a kernel that has them. ({error})") from error


def _check_overlay(disks: Path) -> None:
    """Mount an overlay for a moment: not every file system can carry one (an overlay can't)."""
    place = disks / f".try-{os.getpid()}"
    for part in ("lower", "upper", "work", "root"):
        (place / part).mkdir(parents=True)
    try:
        options = f"lowerdir={place}/lower,upperdir={place}/upper,workdir={place}/work,volatile"
        run("unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, place / "root")
    except LabError as error:
        raise LabError(
            f"The file system of {disks} can't carry the hosts' disks. "
            f"Name a folder on ext4 or xfs in RACKSPREAD_CACHE. ({error})"
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _settings() -> Iterator[Path]:
    """Yield the kernel settings that can be put back and that hosts share with the machine, since the kernel is one."""
    left_out = re.compile(
        "/(ns_last_pid|drop_caches|compact_memory|stat_refresh|hostname|domainname)$|/binfmt_misc/|/random/"
    )
    for area in ("fs", "kernel", "vm"):
        for folder, _, names in os.walk(f"/proc/sys/{area}"):
            for name in names:
                path = Path(folder, name)
                with contextlib.suppress(FileNotFoundError):  # some come and go
                    if not left_out.search(str(path)) and path.stat().st_mode & 0o600 == 0o600:
                        yield path


def _read_settings() -> dict[str, str]:
    found = {}
    for path in _settings():
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found[str(path)] = path.read_text()
    return found


def _saved_settings() -> dict[str, str] | None:
    """Return what was written down since the machine booted, or None."""
    try:
        saved = json.loads(SETTINGS.read_text())
    except FileNotFoundError:
        return None
    return saved["values"] if saved["boot"] == boot_id() else None


def save_settings() -> None:
    """Write the kernel settings down as they are before the first lab; then make room for the hosts' use of inotify."""
    if _saved_settings() is None:
        SETTINGS.parent.mkdir(parents=True, exist_ok=True)
        aside = SETTINGS.with_suffix(".new")
        aside.write_text(json.dumps({"boot": boot_id(), "values": _read_settings()}))
        aside.rename(SETTINGS)
    instances = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(instances.read_text()) < INOTIFY_INSTANCES:
        instances.write_text(str(INOTIFY_INSTANCES))


def restore_settings() -> None:
    """Put back every kernel setting that differs from what was written down before the first lab."""
    now = _read_settings()
    for path, value in (_saved_settings() or {}).items():
        if now.get(path, value) != value:
            with contextlib.suppress(OSError):  # a few take no value that they themselves show
                Path(path).write_text(value)
    SETTINGS.unlink(missing_ok=True)
