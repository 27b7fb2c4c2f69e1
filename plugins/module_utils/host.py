# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few things that every module does on a host: files, commands, locks, units."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass


class Failed(Exception):
    """What could not be done, in one sentence for the operator."""


def run(
    command: list[str], *, timeout: float = 60, check: bool = True, stdin: str | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and answer its text output.

    It is ended after `timeout` seconds. With `check`, raises Failed with the last line it said where it exits with
    another status than 0. `env` comes on top of the module's own variables.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment, check=False,
        )
    except FileNotFoundError as error:
        raise Failed(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)} did not end within {timeout:g} s") from error
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failed(f"{' '.join(command)} failed: {said[-1] if said else f'exit status {done.returncode}'}")
    return done


def read(path: str) -> str | None:
    """A file's text, None where there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write_atomic(
    path: str, content: str, *, mode: int = 0o644, owner: str | None = None, group: str | None = None,
) -> bool:
    """Put a file in place whole or not at all. Answers whether its content was another before."""
    if read(path) == content:
        return False
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    descriptor, aside = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        own(aside, owner, group)
        os.chmod(aside, mode)
        os.replace(aside, path)
    except BaseException:
        os.unlink(aside)
        raise
    return True


def own(path: str, owner: str | None, group: str | None) -> None:
    """Give a path to a user and a group, by name. Raises Failed where there is no such user."""
    try:
        if owner:
            shutil.chown(path, user=owner)
        if group:
            shutil.chown(path, group=group)
    except LookupError as error:
        raise Failed(f"{path} can't be given to {owner}:{group}: {error}") from error


def remove(path: str) -> bool:
    """Remove a file. Answers whether it was there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def link(path: str, target: str) -> bool:
    """Make a symbolic link point at a target, in one step. Answers whether it pointed elsewhere before."""
    with contextlib.suppress(OSError):
        if os.readlink(path) == target:
            return False
    aside = f"{path}.new"
    remove(aside)
    os.symlink(target, aside)
    os.replace(aside, path)
    return True


def digest(text: str) -> str:
    """The SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def machine_id(root: str = "/") -> str:
    """The host's own id, which survives a change of name and address; "" where it has none."""
    return (read(os.path.join(root, "etc/machine-id")) or "").strip()


@contextlib.contextmanager
def flock(path: str, timeout: float = 60) -> Iterator[None]:
    """Hold a lock file for the time of a block; the kernel gives it back if the process is killed.

    Raises Failed where another process holds it longer than `timeout` seconds.
    """
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    deadline = time.monotonic() + timeout
    with open(path, "a", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Failed(f"another run holds {path} for more than {timeout:g} s") from None
                time.sleep(0.2)
            else:
                break
        yield


@dataclass(frozen=True)
class Unit:
    """What systemd says of a unit (`systemctl show`)."""

    name: str
    load: str
    active: str
    sub: str
    result: str
    pid: int
    enabled: str
    stale: bool

    @property
    def running(self) -> bool:
        """Whether its main process is there (a timer has none): serving, or on its way."""
        return (self.pid > 0 or self.name.endswith(".timer")) and self.active in ("active", "activating", "reloading")

    @property
    def broken(self) -> bool:
        """Whether it failed, or waits to be tried once more after it failed."""
        return self.active == "failed" or self.sub.startswith("auto-restart")


PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "Result", "MainPID", "UnitFileState", "NeedDaemonReload")


def units(names: list[str]) -> dict[str, Unit]:
    """What systemd says of services (names without `.service`) and timers (`.timer`), all in one call."""
    if not names:
        return {}
    full = [name if name.endswith(".timer") else f"{name}.service" for name in names]
    shown = run(["systemctl", "show", f"--property={','.join(PROPERTIES)}", *full]).stdout
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in shown.split("\n\n")]
    return {
        name: Unit(
            name, said["LoadState"], said["ActiveState"], said["SubState"], said["Result"],
            int(said.get("MainPID", 0)), said["UnitFileState"], said["NeedDaemonReload"] == "yes",
        )
        for name, said in zip(names, blocks, strict=True)
    }


def unit(name: str) -> Unit:
    """What systemd says of one service."""
    return units([name])[name]


def systemctl(*words: str, timeout: float = 90) -> None:
    """Run systemctl; raises Failed."""
    run(["systemctl", *words], timeout=timeout)


def make_startable(name: str) -> None:
    """Have systemd forget that a service failed, and end what it does about that by itself.

    A start that is asked for while systemd makes one of its own is taken for the same one, and fails with it: where a
    guard refuses a start again and again, that would be the fate of the one for which a run has removed the reason.
    """
    seen = unit(name)
    if seen.sub.startswith("auto-restart") or seen.sub == "start-pre":
        systemctl("stop", f"{name}.service")
        seen = unit(name)
    if seen.broken:
        systemctl("reset-failed", f"{name}.service")


def journal(name: str, lines: int = 8) -> str:
    """The last lines that a service, or systemd about it, wrote since the boot, joined into one."""
    return " | ".join(journal_lines(name, lines))


def journal_lines(name: str, lines: int) -> list[str]:
    """The last lines that a service, or systemd about it, wrote since the boot."""
    command = ["journalctl", "--boot", "--no-pager", "--output=cat", f"--lines={lines}", f"--unit={name}.service"]
    return [line.strip() for line in run(command, check=False).stdout.splitlines() if line.strip()]
