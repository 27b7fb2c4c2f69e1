# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a service tells of a member and does to it, on the member's own host. A service subclasses Driver."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

from . import host, packages, start_guard
from .instance import Instance

EMPTY = "empty"
LEFTOVERS = "leftovers"
HALF_FORMED = "half_formed"
DATA = "data"
UNMOUNTED = "unmounted"


@dataclass
class Found:
    """What lies on the disk, seen without the daemon.

    Args:
        state: EMPTY, LEFTOVERS (files, but no cluster), HALF_FORMED (a first start was cut short), DATA, or UNMOUNTED
            (one of several folders is blank, and the others are not).
        cluster_id: of the data, None where only the daemon can tell.
        marker: the data folder's marker, None where there is none.
        detail: a sentence for people.
    """

    state: str
    cluster_id: str | None = None
    detail: str = ""
    marker: dict[str, Any] | None = None


@dataclass
class Live:
    """What the running daemon and its cluster say.

    Args:
        role: leader, follower or none.
        healthy: the daemon serves, and its cluster can take writes.
        members: ids (of places, not the service's own) that the cluster counts.
        in_sync: ids of members whose copy the cluster counts on.
        pending_restart: the daemon itself says that a setting waits for a restart.
        leader_first: what waits must reach the leader before its followers.
        unsettled: the live cluster differs from what `settle` would set.
        paused: somebody has told the cluster's own manager to keep its hands off.
        slots: of a whole that is divided among groups, the ranges that this group has, "0-5461" or "7"; only its leader
            tells.
        lag: how many bytes the own copy is behind the leader's, where the cluster tells.
        unfinished: it runs half formed, and its daemon does not go on alone: `form` or `join` is to be called again.
        detail: a sentence for people where something is wrong.
    """

    cluster_id: str | None = None
    role: str = "none"
    healthy: bool = False
    members: list[int] = field(default_factory=list)
    in_sync: list[int] = field(default_factory=list)
    pending_restart: bool = False
    leader_first: bool = False
    unsettled: bool = False
    paused: bool = False
    slots: list[str] | None = None
    lag: int | None = None
    unfinished: bool = False
    detail: str = ""


CONNECT_SECONDS = 3.0


def listens(other: dict[str, Any], port: str) -> Live:
    """What can be seen from here of a member of a service without data (an M): whether it listens to its like.

    Args:
        other: the member.
        port: the name of the port that is open to them.
    """
    address, number = other["address"], other["ports"][port]
    try:
        socket.create_connection((address, number), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return Live(detail=f"{address}:{number} does not answer: {error}")
    return Live(role="follower", healthy=True, members=[other["id"]])


class Driver:
    """One member, here.

    Args:
        instance: its paths, unit and data.
        group: `{name, index, members: [M], intent, formed, next_id}`.
        member: its own M: `{id, host, rack, address, ports, leader}`.
        settings: what the role gave to converge.
        secrets: the same for what must not be seen.
    """

    service = ""
    bears = ""
    """The program of the same member that stands on this one: it starts after it, and leaves before it."""
    start_seconds = 90.0
    """How long a start or restart may take until the unit is active."""
    stop_seconds = 180.0
    """How long a stop may take; Postgres writes a checkpoint."""

    def __init__(
        self, instance: Instance, group: dict[str, Any], member: dict[str, Any], settings: dict[str, Any],
        secrets: dict[str, Any] | None = None,
    ) -> None:
        self.instance = instance
        self.group = group
        self.member = member
        self.settings = settings
        self.secrets = secrets or {}

    @classmethod
    def of(
        cls, instance: Instance, group: dict[str, Any], member: dict[str, Any], settings: dict[str, Any],
        secrets: dict[str, Any] | None = None,
    ) -> Driver:
        """The driver of a member, where a service has several kinds of them the one of its kind."""
        return cls(instance, group, member, settings, secrets)

    # What it tells

    def find(self) -> Found:
        """What lies on the disk. A stateless service has nothing there."""
        return Found(EMPTY)

    def ask(self) -> Live:
        """What the running daemon says, within a few seconds; never raises for one that is dead."""
        return Live()

    def overlook(self, other: dict[str, Any]) -> Live:
        """What another member `other` (an M) says, as far as that can be seen from this host; as `ask` never raises."""
        return type(self)(self.instance, self.group, other, self.settings, self.secrets).ask()

    def last_words(self) -> str:
        """Why the unit did not come up, by what it wrote last."""
        return host.journal(self.instance.unit)

    # What it does. Each may be called again after it was cut short anywhere. All raise Failed.

    def form(self, intent: dict[str, Any]) -> None:
        """The group's first bootstrap on this member. Its disk is blank, or half formed under this intent; the data
        folder is made and marked, the staged version is current. May return before the group has formed.
        """
        self.start()

    def join(self, peer: dict[str, Any]) -> None:
        """Start this blank member into the formed group. `peer` is what `admit` on a living member answered."""
        self.start()

    def admit(self, target: dict[str, Any]) -> dict[str, Any]:
        """On a living member: make the cluster expect the blank member `target` (an M). Answers what it must know."""
        return {}

    def expel(self, target: dict[str, Any]) -> None:
        """On a living member: make the cluster forget the member `target` (an M), whose disk is lost."""

    def start(self) -> None:
        """Start the unit and wait until systemd calls it active."""
        self._systemctl("start")

    def restart(self) -> None:
        """Restart the unit and wait until systemd calls it active."""
        self._systemctl("restart")

    def reload(self) -> None:
        """Make the daemon read its files again."""
        self._systemctl("reload")

    def leave(self) -> None:
        """Stop for good: this member's places are taken by others, and nothing must start it again."""
        unit = f"{self.instance.unit}.service"
        host.systemctl("disable", unit)
        host.systemctl("stop", unit, timeout=self.stop_seconds)

    def put_aside(self) -> str | None:
        """Move the data of this member, which has left, out of the way of whoever comes next. Where it lies then."""
        return self.instance.put_aside()

    def step_down(self, target: dict[str, Any] | None) -> None:
        """Hand leadership over, to `target` (an M) if one is given, before a restart."""

    def share(self, emptied: list[str]) -> dict[str, Any]:
        """Where groups are shares of one whole: for a while, have each come nearer to as much as the others, and those
        that are to be `emptied` (keys) to nothing. Answers `{moved, left}`, how many parts moved and are yet to move.
        """
        return {"moved": 0, "left": 0}

    def settle(self) -> None:
        """After an activation: set in the live cluster what can stand in no file; put the old value back on failure."""

    # What the roll does with these

    def need(self, running: bool, live: Live | None) -> str:
        """What the roll has to do here: as the staged files ask (Instance.need), or as the daemon itself does."""
        need = self.instance.need(running)
        if need in ("nothing", "reload") and self.instance.packages():
            return "restart"
        if live and live.pending_restart and need in ("nothing", "reload"):
            return "restart"
        if live and live.unsettled and need == "nothing":
            return "reload"
        return need

    def activate(self) -> None:
        """Take the staged version as it needs to be taken."""
        running = host.unit(self.instance.unit).running
        need = self.need(running, self.ask() if running else None)
        if need in ("reload", "restart", "start"):
            self._install(self.instance.packages())
            self._take(self.instance.switch(running), reload=need == "reload")
        if need != "nothing":
            self.settle()

    def revert(self) -> None:
        """Go back to the version that ran before, and to the packages, where an activation went wrong."""
        replaced = start_guard.load(self.instance.replaced) or {}
        if replaced:
            packages.change([f"{name}={version}" for name, version in replaced.items()])
        self._take(self.instance.revert(), reload=False)

    def resume(self) -> None:
        """Start a stopped member on what it ran with. Where that does not come up and something else is staged, on
        that: it is down either way, and the staged version may be the correction.
        """
        manifest = self.instance.manifest
        current = manifest(self.instance.current)
        if current is None:
            self.enable(self.instance.switch(running=False))
            self.start()
            return
        try:
            self.start()
        except host.Failed:
            if current == manifest(self.instance.staged):
                raise
            self.enable(self.instance.switch(running=False))
            self.start()

    def enable(self, unit_changed: bool) -> None:
        """Let systemd know the unit, and start it with the host from now on."""
        if unit_changed:
            host.systemctl("daemon-reload")
        if host.unit(self.instance.unit).enabled != "enabled":
            host.systemctl("enable", f"{self.instance.unit}.service")

    def _install(self, wanted: list[str]) -> None:
        """Bring the packages of the staged version, and note those that there were."""
        host.remove(self.instance.replaced)
        if wanted:
            versions = packages.installed_packages(each.partition("=")[0] for each in wanted)
            before = {name: known.version for name, known in versions.items()}
            host.write_atomic(self.instance.replaced, json.dumps(before))
            packages.change(wanted)

    def _take(self, unit_changed: bool, reload: bool) -> None:
        self.enable(unit_changed)
        if reload:
            self.reload()
            self.instance.note_start()
        else:
            self.restart()

    def _systemctl(self, verb: str) -> None:
        unit = f"{self.instance.unit}.service"
        if verb != "reload":
            host.make_startable(self.instance.unit)
        try:
            host.systemctl(verb, unit, timeout=self.start_seconds)
        except host.Failed as error:
            raise host.Failed(f"{unit} did not {verb}: {self.last_words() or error}") from error
