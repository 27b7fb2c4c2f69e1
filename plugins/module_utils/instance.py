# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One instance on its host: its files in versions, what is staged, what runs, and its data folder.

A version is staged beside what runs and not in its way. Activation switches `current`; whatever starts by itself in
between (after a crash, a power cut) reads what it read before. Nothing here starts or stops anything: see driver.py.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from . import host, packages, start_guard

MANIFEST = "manifest.json"
PASSWORD_PHASE = "password_phase"  # noqa: S105  # a file's name
"""The file among those of an instance that says which change and phase its passwords are of: `2.1 trust`, the first
phase of the second change (passwords.py).
"""
EFFECTS = ("form", "reload", "restart")
"""What taking a changed file needs, from the least to the most; `form` is read by a first formation alone."""


@dataclass(frozen=True)
class File:
    """A file of an instance, rendered.

    Args:
        name: without a folder; the daemon finds it at `<current>/<name>`.
        mode: as an octal text, "0640".
        secret: its content is never shown.
        effect: of EFFECTS.
        validate: a command with `%s` for the file, which fails where the daemon would not take it.
    """

    name: str
    content: str
    mode: str = "0644"
    owner: str | None = None
    group: str | None = None
    secret: bool = False
    effect: str = "restart"
    validate: str | None = None

    @property
    def digest(self) -> str:
        """Of all that makes the file what it is."""
        return host.digest("\0".join((self.content, self.mode, self.owner or "", self.group or "")))


class Instance(start_guard.Paths):
    """A member's instance on this host.

    Args:
        group: the group's name; for one of several programs `<group>_<program>`.
        member: the member's id.
        unit: its service, without `.service`.
        data: its data folder, None for a stateless one.
        root: the root of the file system; tests put another folder in its place.
    """

    def __init__(self, group: str, member: int, unit: str, data: str | None, root: str = "/") -> None:
        super().__init__(group, root)
        self.group = group
        self.member = member
        self.unit = unit
        self.service = group.partition("_")[0]
        self.data = None if data is None else self.path(data)
        self.config = self.current
        self.pki = self.path(f"etc/rackspread/pki/{self.service}")
        self.unit_file = self.path(f"etc/systemd/system/{unit}.service")

    @classmethod
    def of(
        cls, group: str, member: int, data_root: str | None = None, program: str | None = None, root: str = "/",
    ) -> Instance:
        """The instance of a group's member, by the names that everything follows."""
        name = f"{group}_{program}" if program else group
        data = f"{data_root.rstrip('/')}/{name}" if data_root else None
        return cls(name, member, f"rackspread-{name.replace('_', '-')}", data, root)

    # Versions

    def stage(
        self, files: list[File], watch: dict[str, str] | None = None, packages: list[str] | None = None,
    ) -> bool:
        """Put a set of files beside what runs, as the one that the next activation takes.

        Args:
            files: all of them, the unit `<unit>.service` among them.
            watch: other files that the process reads (executables, certificates) and the effect of a change of each.
            packages: `name=version` of the packages that it is to run with; an activation installs them.

        Returns: whether it differs from what was staged before.
        """
        manifest = self._describe(files, watch or {}, packages or [])
        version = manifest["version"]
        folder = f"{self.versions}/{version}"
        changed = self.staged_differs(files, watch, packages)
        if not changed:
            return False
        os.makedirs(self.versions, mode=0o755, exist_ok=True)
        aside = tempfile.mkdtemp(prefix=".new-", dir=self.versions)
        try:
            os.chmod(aside, 0o755)  # noqa: S103 - daemons read in it as their users; secret files have modes of their own
            for file in files:
                host.write_atomic(
                    f"{aside}/{file.name}", file.content, mode=int(file.mode, 8), owner=file.owner, group=file.group,
                )
            host.write_atomic(f"{aside}/{MANIFEST}", json.dumps(manifest, indent=2, sort_keys=True) + "\n")
            if os.path.isdir(folder):  # the same, but for what only a formation reads
                for file in files:
                    os.replace(f"{aside}/{file.name}", f"{folder}/{file.name}")
            else:
                os.rename(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        host.link(self.staged, f"versions/{version}")
        self.clean()
        return True

    def staged_differs(
        self, files: list[File], watch: dict[str, str] | None = None, packages: list[str] | None = None,
    ) -> bool:
        """Whether staging these files would change anything."""
        if self.manifest(self.staged) != self._describe(files, watch or {}, packages or []):
            return True
        return any(host.read(f"{self.staged}/{file.name}") != file.content for file in files)

    def require_no_older(self, files: list[File]) -> None:
        """Raise Failed where the passwords of these files are of an earlier change, or phase, than the staged ones.

        Such files come from a copy of the site's state that was left behind: others accept those passwords no more.
        """
        there = host.read(f"{self.staged}/{PASSWORD_PHASE}") or ""
        given = next((file.content for file in files if file.name == PASSWORD_PHASE), "")
        if _place(given) < _place(there):
            raise host.Failed(
                f"{self.group} has the passwords of change {there.strip()}, and those at hand are of"
                f" {given.strip() or 'none'}: this controller's secrets are older than the site's. Fetch its newest"
                " .rackspread, and run again"
            )

    def manifest(self, version: str) -> dict[str, Any] | None:
        """The manifest of a version, by its link (`staged`, `current`, `previous`); None where there is none."""
        manifest: dict[str, Any] | None = start_guard.load(f"{version}/{MANIFEST}")
        return manifest

    def noted(self) -> dict[str, Any] | None:
        """What the process was started (or last reloaded) with; None where it was not started since the boot."""
        manifest: dict[str, Any] | None = start_guard.load(self.note)
        return manifest

    def taken(self, name: str) -> str | None:
        """A file of the version that the process was started (or last reloaded) with; None where there is none."""
        noted = self.noted()
        return host.read(f"{self.versions}/{noted['version']}/{name}") if noted else None

    def need(self, running: bool) -> str:
        """What taking the staged version asks for: `nothing`, `reload` or `restart`; `start` where nothing runs."""
        staged = self.manifest(self.staged)
        if not running:
            return "start"
        if staged is None:
            return "nothing"
        noted = self.noted()
        if noted is None or self.asked_for():
            return "restart"
        effects = {"form"}
        before, after = noted["files"], staged["files"]
        for name in before.keys() | after.keys():
            if before.get(name) != after.get(name):
                effects |= {side[name]["effect"] for side in (before, after) if name in side}
        for path, now in start_guard.seen(staged["watch"]).items():
            if noted["seen"].get(path, now) != now:
                effects.add(staged["watch"][path])
        if host.read(self.unit_file) != host.read(f"{self.staged}/{self.unit}.service"):
            effects.add("restart")  # it was changed by hand
        strongest = max(effects, key=EFFECTS.index)
        return "nothing" if strongest == "form" else strongest

    def ask(self) -> None:
        """Note that a restart is asked for, whatever is staged."""
        host.write_atomic(self.asked, f"{time.time_ns()}\n")

    def packages(self) -> list[str]:
        """The packages, `name=version`, that the staged version is to run with and that are not there."""
        wanted = (self.manifest(self.staged) or {}).get("packages", [])
        return packages.missing_packages(wanted, packages.installed_packages(each.partition("=")[0] for each in wanted))

    def asked_for(self) -> bool:
        """Whether a restart was asked for since the process was started."""
        wish = start_guard.wish(self)
        return wish is not None and (self.noted() or {}).get("asked") != wish

    def switch(self, running: bool) -> bool:
        """Make the staged version the current one, its unit too. Answers whether systemd must read its units again."""
        staged = os.readlink(self.staged)
        noted = self.noted() if running else None
        if noted and noted["version"] != os.path.basename(staged):
            host.link(self.previous, f"versions/{noted['version']}")
        return self._take(staged)

    def revert(self) -> bool:
        """Make the version that ran before the current one again. Raises Failed where none is known."""
        try:
            previous = os.readlink(self.previous)
        except OSError as error:
            raise host.Failed(f"{self.group} has no version to go back to") from error
        return self._take(previous)

    def note_start(self) -> None:
        """Write down that the process reads the current version now."""
        manifest = self.manifest(self.current)
        if manifest:
            start_guard.note(self, manifest)

    def clean(self) -> None:
        """Remove the versions that are neither staged, current, the one before, nor what the process runs with."""
        noted = self.noted()
        kept = {noted["version"]} if noted else set()
        links = (self.staged, self.current, self.previous)
        kept |= {os.path.basename(os.readlink(path)) for path in links if os.path.islink(path)}
        for name in os.listdir(self.versions):
            if name not in kept:
                shutil.rmtree(f"{self.versions}/{name}", ignore_errors=True)

    def _take(self, version: str) -> bool:
        host.link(self.current, version)
        unit = host.read(f"{self.current}/{self.unit}.service")
        return unit is not None and host.write_atomic(self.unit_file, unit)

    def _describe(self, files: list[File], watch: dict[str, str], packages: list[str]) -> dict[str, Any]:
        described = {
            file.name: {"digest": file.digest, "effect": file.effect} for file in files if file.effect != "form"
        }
        facts = {
            "group": self.group, "member": self.member, "unit": self.unit, "data": self.data,
            "files": described, "watch": watch,
        }
        if packages:
            facts["packages"] = packages
        return {**facts, "version": host.digest(json.dumps(facts, sort_keys=True))[:12]}

    # Data

    def marker(self) -> dict[str, Any] | None:
        """The marker of the data folder: `{site_id, group, member, formation_id}`; None where there is none."""
        if self.data is None:
            return None
        marker: dict[str, Any] | None = start_guard.load(start_guard.marker_of(self.data))
        return marker

    def claim(self, site_id: str, formation_id: str | None) -> None:
        """Make the data folder and mark it as this member's."""
        if self.data is None:
            return
        os.makedirs(self.data, mode=0o755, exist_ok=True)
        marker = {"site_id": site_id, "group": self.group, "member": self.member, "formation_id": formation_id}
        host.write_atomic(start_guard.marker_of(self.data), json.dumps(marker, indent=2, sort_keys=True) + "\n")

    def put_aside(self) -> str | None:
        """Move the data of this member, which is this one's by its marker, out of the way of whoever comes next.

        Returns where it lies then; None where there is none. What is a mount point itself stays where it is.
        """
        if self.data is None:
            return None
        if os.path.isdir(self._aside(self.data)):
            return self._aside(self.data)
        return self.set_aside(self.data) if (self.marker() or {}).get("member") == self.member else None

    def set_aside(self, folder: str) -> str:
        """Give a folder of this member its name as one that has left; a mount point stays. Returns where it lies."""
        try:
            os.rename(folder, self._aside(folder))
        except OSError as error:
            if error.errno not in (errno.EBUSY, errno.EXDEV):
                raise
            return folder
        return self._aside(folder)

    def _aside(self, folder: str) -> str:
        return f"{folder}.retired-{self.member}"

    def volume(self) -> dict[str, str] | None:
        """The volume of its own that the data lies (or will lie) on: `{uuid, path}`; None on the root file system."""
        return None if self.data is None else start_guard.volume_of(self.data)


def _place(mark: str) -> tuple[int, ...]:
    """Where a change and phase of passwords stands in their order; before all where there is none."""
    return tuple(int(number) for number in mark.partition(" ")[0].split(".") if number.strip())
