# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab remembers: one folder a lab under /run, locks, and where the large files lie."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from .cgroup import Cgroup
from .definition import Definition, Host
from .errors import LabError

RUN = Path("/run/rackspread-lab")


def cache_folder() -> Path:
    """Return the folder of everything that outlives a lab: images, packages; and the disks of running ones."""
    return Path(os.environ.get("RACKSPREAD_CACHE") or Path.home() / ".cache/rackspread").absolute() / "lab"


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the exclusive lock of a file; yields whether it was got (always, with ``wait``).

    The kernel frees it when the process ends, however it ends; no child inherits it. A file that was removed meanwhile
    is made anew.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                    yield True
                    return


def remove_tree(folder: Path) -> None:
    """Remove a folder with all in it; harmless where it isn't."""
    if folder.exists():
        shutil.rmtree(folder)


def machine_lock() -> contextlib.AbstractContextManager[bool]:
    """The lock of what all labs share: the saved settings and the package cache. Held for moments only."""
    return locked(RUN / ".lock")


def boot_id() -> str:
    """Return the id of this boot of the machine: after a reboot /run need not be empty, but nothing of it runs."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass
class Lab:
    """A lab that is there, wholly or half.

    Attributes:
        cache: the cache folder that it was made with.
        complete: whether ``up`` came to its end.
        boot: the machine's boot id when it was made.
        image: the folders that its hosts' root file systems are made of, topmost first.
    """

    definition: Definition
    cache: Path
    complete: bool = False
    boot: str = ""
    image: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The lab's name."""
        return self.definition.name

    @property
    def folder(self) -> Path:
        """The lab's folder of state."""
        return RUN / self.name

    @property
    def disks(self) -> Path:
        """The folder of its hosts' disks."""
        return self.cache / "disks" / self.name

    @property
    def namespace(self) -> str:
        """The network namespace of its spine and racks."""
        return f"rackspread.{self.name}"

    @property
    def cgroup(self) -> Cgroup:
        """The control group of everything that it runs."""
        return Cgroup(self.name)

    @property
    def ssh_config(self) -> Path:
        """The ssh configuration by which its hosts are reached."""
        return self.folder / "ssh_config"

    def lock(self, *, wait: bool = True) -> contextlib.AbstractContextManager[bool]:
        """The lock of whoever builds the lab, tears it down, or changes one of its hosts."""
        return locked(RUN / f".{self.name}.lock", wait=wait)

    def host_cgroup(self, host: Host) -> Cgroup:
        """The control group of a host: its supervisor and its machine."""
        return Cgroup(self.name, "hosts", host.name)

    def host_namespace(self, host: Host) -> str:
        """The network namespace of a host."""
        return f"{self.namespace}.{host.name}"

    def console(self, host: Host) -> Path:
        """The file with what a host's console said."""
        return self.folder / "console" / host.name

    def flag(self, *parts: str) -> Flag:
        """A mark that says yes by being there, such as ``cut/rack1``."""
        return Flag(self.folder.joinpath("flags", *parts))

    def save(self) -> None:
        """Write the lab down, all or nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "definition": self.definition.as_dict(), "cache": str(self.cache),
            "complete": self.complete, "boot": self.boot, "image": self.image,
        }  # fmt: skip
        aside = self.folder / "lab.json.new"
        aside.write_text(json.dumps(content, indent=2) + "\n")
        aside.rename(self.folder / "lab.json")

    def forget(self) -> None:
        """Remove the lab's folder of state."""
        remove_tree(self.folder)

    @classmethod
    def load(cls, name: str) -> Lab | None:
        """Return the lab of that name as it was written down, or None.

        Another checkout may have made it: what this one does not know is left out.
        """
        try:
            content = json.loads((RUN / name / "lab.json").read_text())
        except FileNotFoundError:
            return None
        known = {each.name for each in fields(Definition)}
        definition = {key: value for key, value in content["definition"].items() if key in known}
        return cls(
            Definition(**definition), Path(content["cache"]),
            complete=content["complete"], boot=content["boot"], image=content["image"],
        )  # fmt: skip


@dataclass(frozen=True)
class Flag:
    """A fact kept as an empty file, so that two commands on two hosts never write the same file."""

    path: Path

    def __bool__(self) -> bool:
        return self.path.exists()

    def set(self, value: bool) -> None:
        """Make it so."""
        if value:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        else:
            self.path.unlink(missing_ok=True)


def lab_names() -> list[str]:
    """Return the names of the labs that are there, wholly or half."""
    return sorted(path.parent.name for path in RUN.glob("[a-z]*/lab.json"))


def existing(name: str) -> Lab:
    """Return a lab that is up.

    Raises:
        LabError: it isn't there, or not wholly, with what to do.
    """
    lab = Lab.load(name)
    if lab is None:
        others = [other for other in lab_names() if other != name]
        hint = f" These are: {', '.join(others)} (choose with -l)." if others else ""
        raise LabError(f"The lab {name} is not up: `lab up` starts it.{hint}")
    if not lab.complete or lab.boot != boot_id():
        raise LabError(f"The lab {name} is half built: `lab up` builds it anew, `lab -l {name} down` removes it.")
    return lab
