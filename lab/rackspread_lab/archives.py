# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Software that Debian does not have: made of what package registries carry, kept, and served at a lab's gateway.

A builder is a program `lab/archives/<name>`, called with an empty folder into which it puts files as upstream names and
packs them. What it made is kept under the digest of its text. Roles know nothing of this: to them it is an address.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from . import network
from .cgroup import Cgroup
from .definition import ARCHIVES
from .process import run, spawn
from .state import Lab, locked

PORT = 8080


def provide(lab: Lab, say: Callable[[str], None]) -> None:
    """Build what the definition names and is not kept yet, and put it where `serve` has it.

    Raises:
        LabError: a builder failed; with what it said.
    """
    for name in lab.definition.archives:
        for file in _built(lab.cache / "archives", name, say).iterdir():
            link = lab.folder / "archives" / file.name
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(file)


def _built(folder: Path, name: str, say: Callable[[str], None]) -> Path:
    builder = ARCHIVES / name
    kept = folder / f"{name}-{hashlib.sha256(builder.read_bytes()).hexdigest()[:12]}"
    with locked(folder / f".{name}.lock"):
        if not kept.is_dir():
            say(f"building {name}, for the first time")
            aside = folder / f".making-{name}"
            shutil.rmtree(aside, ignore_errors=True)  # of a builder that was killed
            aside.mkdir()
            run(sys.executable, builder, aside)
            aside.rename(kept)
    return kept


def serve(lab: Lab) -> None:
    """Let the lab's hosts fetch them by HTTP, at the gateway's port PORT; harmless where they can."""
    group = Cgroup(lab.name, "archives")
    if not lab.definition.archives or group.populated:
        return
    where = ["--bind", lab.definition.gateway, "--directory", lab.folder / "archives", PORT]
    command = [*network.inside(lab), sys.executable, "-m", "http.server", *where]
    spawn(command, lab.folder / "archives.log", group.create().enter)
