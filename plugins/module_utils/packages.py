# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages on a host: which are there, and how others are installed without starting anything."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from . import apt
from .host import Failed, run


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


def install(names: list[str], held: bool, deadline: float) -> None:
    """Install the packages; read the sources' index first only where it does not do without."""
    arguments = ["install", "--no-install-recommends", *apt.KEEP_FILES]
    if held:
        arguments.append("--allow-change-held-packages")
    if any("=" in name for name in names):
        arguments.append("--allow-downgrades")
    status, output = apt.get([*arguments, *names], deadline)
    if status != 0:
        # A source that is not needed may fail: what counts is whether the packages can be installed afterwards.
        _status, updated = apt.get(["update"], deadline)
        status, output = apt.get([*arguments, *names], deadline)
        if status != 0:
            why = " ".join(dict.fromkeys(apt.complaints(updated) + apt.complaints(output)))
            raise Failed(f"apt-get could not install {' '.join(names)}: {why}")


def change(names: list[str], lock_timeout: float = 300) -> None:
    """Install packages in the versions that are asked for (`name=version`), up or down. Raises Failed."""
    deadline = time.monotonic() + lock_timeout
    with apt.alone(deadline):
        before = installed_packages(name.partition("=")[0] for name in names)
        missing = missing_packages(names, before)
        if missing:
            install(missing, any(package.held for package in before.values()), deadline)
