# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands before every start of a daemon, with no run in sight: `start_guard.py <instance>` as ExecStartPre.

It refuses where the daemon would meet a disk that is not its own (a blank mount point after a reboot, another member's
folder), and else notes what the daemon is started with. It is copied to the hosts as it stands, so it takes nothing but
the standard library; what it shares with the modules (paths, volume, note) is defined here and imported there.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from typing import Any

FS_IOC_GETFSUUID = 0x80111500
"""_IOR(0x15, 0, struct fsuuid2), Linux 6.9: the UUID of the file system of a folder, with no device node at hand."""

DIRECT_UUID_BYTES = 16

PAUSE = 5
"""Seconds that a refused start takes: the restarts of its unit, quick after a crash, must not fill the journal."""


class Paths:
    """Where the things of one instance lie. Nothing else spells these paths.

    Args:
        name: the instance: its group's name, with the program's behind it where a group has several on a host.
        root: the root of the file system; tests put another folder in its place.
    """

    def __init__(self, name: str, root: str = "/") -> None:
        self.name = name
        self.root = root
        self.record = self.path("etc/rackspread/record.yml")
        self.folder = self.path(f"etc/rackspread/{name}")
        self.versions = f"{self.folder}/versions"
        self.staged = f"{self.folder}/staged"
        self.current = f"{self.folder}/current"
        self.previous = f"{self.folder}/previous"
        self.asked = f"{self.folder}/restart_asked"
        self.note = self.path(f"run/rackspread/{name}.json")
        self.first_start = self.path(f"run/rackspread/{name}.first_start.env")
        self.lock = self.path(f"run/rackspread/{name}.lock")
        self.replaced = self.path(f"run/rackspread/{name}.replaced.json")

    def path(self, absolute: str) -> str:
        """A path of the host, under this root."""
        return os.path.join(self.root, absolute.lstrip("/"))


def load(path: str) -> Any:
    """The JSON in a file, or None where there is no such file. Raises ValueError for what is not JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def marker_of(data: str) -> str:
    """The path of a data folder's marker."""
    return f"{data}/.rackspread.json"


def volume_of(path: str) -> dict[str, str] | None:
    """The volume of its own that a path (or where it will be) lies on.

    Returns:
        `{uuid, path}`: the file system's UUID ("" where it has none) and its mount point; None on the root file system.
    """
    point = os.path.realpath(path)
    while not os.path.ismount(point):
        point = os.path.dirname(point)
    return None if point == "/" else {"uuid": file_system_uuid(point), "path": point}


def file_system_uuid(folder: str) -> str:
    """The UUID of the file system of a folder, "" where it has none."""
    answer = bytearray(1 + DIRECT_UUID_BYTES)
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, FS_IOC_GETFSUUID, answer, True)
        finally:
            os.close(descriptor)
    text = answer[1:].hex()
    if answer[0] == DIRECT_UUID_BYTES and text.strip("0"):
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # older kernels, other file systems
        found = subprocess.run(
            ["findmnt", "--noheadings", "--output", "UUID", "--target", folder],
            capture_output=True, text=True, timeout=10, check=False,
        )
        return found.stdout.strip()
    return ""


def seen(watch: dict[str, str]) -> dict[str, list[int] | None]:
    """Size and time of change of each watched file, None for one that is not there."""
    result: dict[str, list[int] | None] = {}
    for path in watch:
        try:
            status = os.stat(path)
        except OSError:
            result[path] = None
        else:
            result[path] = [status.st_size, status.st_mtime_ns]
    return result


def wish(paths: Paths) -> str | None:
    """The last restart that an operator asked for, whatever is staged; None where none ever was."""
    try:
        with open(paths.asked, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def note(paths: Paths, manifest: dict[str, Any]) -> None:
    """Write down what the process is started (or was just reloaded) with."""
    folder = os.path.dirname(paths.note)
    os.makedirs(folder, exist_ok=True)
    os.chmod(folder, 0o755)  # noqa: S103  # a unit has a umask of its own
    text = json.dumps({**manifest, "seen": seen(manifest["watch"]), "asked": wish(paths)})
    aside = f"{paths.note}.new"
    with open(aside, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(aside, paths.note)


def refusal(manifest: dict[str, Any], record: dict[str, Any] | None) -> str | None:
    """Why this instance must not start on the disk that it finds; None where it may.

    Args:
        manifest: of the current version.
        record: the host's own record; None where it has none.
    """
    data, group, member = manifest["data"], manifest["group"], manifest["member"]
    if data is None:
        return None
    known = {**((record or {}).get("forgotten") or {}), **((record or {}).get("groups") or {})}
    part = known.get(group)  # who is forgotten by runs is guarded all the same
    if record is None or part is None or part["member"] != member:
        return f"this host's record knows no member {member} of {group}; a playbook's run starts what may be started"
    volume = part.get("volume")
    if volume:
        mounted = volume_of(data)
        if mounted != volume:
            there = f"{mounted['uuid'] or 'a volume without UUID'} at {mounted['path']}" if mounted else "no volume"
            return f"the volume {volume['uuid']} must be mounted at {volume['path']} for {data}, but {there} is"
    try:
        marker = load(marker_of(data))
    except ValueError as error:
        return str(error)
    if marker is None:
        return (
            f"{data} has no marker, though by this host's record member {member} of {group} keeps its data there:"
            " the disk is lost or not mounted"
        )
    for key, wanted in (("site_id", record["site_id"]), ("group", group), ("member", member)):
        if marker.get(key) != wanted:
            return f"{data} belongs to {key} {marker.get(key)}, and this is {key} {wanted}"
    return None


def main(name: str, root: str = "/") -> str | None:
    """Guard one start: note it, or answer why it is refused."""
    paths = Paths(name, root)
    try:
        manifest = load(f"{paths.current}/manifest.json")
        if manifest is None:
            return f"{paths.current} holds no manifest: this instance was never activated"
        reason = refusal(manifest, load(paths.record))
    except ValueError as error:
        return str(error)
    if reason is None:
        note(paths, manifest)
    return reason


if __name__ == "__main__":
    why = main(sys.argv[1])
    if why:
        sys.stderr.write(f"rackspread: {sys.argv[1]} is not started: {why}.\n")
        time.sleep(PAUSE)
        raise SystemExit(1)
