# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is broken on purpose, and mended."""

from __future__ import annotations

import re
import signal as signals
import sys

from . import host as hosts
from . import network
from .cgroup import Cgroup, own_cgroup
from .definition import Host
from .errors import LabError, UsageError, unknown
from .process import spawn
from .state import Lab


def cut(lab: Lab, target: str, seconds: float | None = None) -> None:
    """Cut a rack off from the other racks (its hosts still reach each other), or one host off from everything.

    With ``seconds`` it heals by itself after that time.
    """
    name = _rack_or_host(lab, target)
    disarm(lab, "heal", name)
    if seconds is not None:
        arm(lab, "heal", name, seconds)
    network.switch(lab, name, on=False)


def heal(lab: Lab, target: str | None) -> list[str]:
    """Mend a cut, or all cuts; return what was mended."""
    names = [_rack_or_host(lab, target)] if target else [*lab.definition.racks, *lab.definition.hosts]
    mended = [name for name in names if lab.flag("cut", name)]
    for name in mended:
        disarm(lab, "heal", name)
        network.switch(lab, name, on=True)
    return mended


def power_off(lab: Lab, target: str, seconds: float | None = None) -> None:
    """End a host, or all hosts of a rack, at once; with ``seconds`` they are started again after that time."""
    those = hosts_of(lab, target)
    disarm(lab, "power-on", target)
    if seconds is not None:
        arm(lab, "power-on", target, seconds)
    hosts.power_off(lab, those)


def power_on(lab: Lab, target: str) -> list[Host]:
    """Start a host, or all hosts of a rack; return them. Harmless where they run."""
    disarm(lab, "power-on", target)
    those = hosts_of(lab, target)
    for host in those:
        hosts.power_on(lab, host)
    return those


def hosts_of(lab: Lab, target: str) -> list[Host]:
    """The hosts of a rack, or the one host."""
    name = _rack_or_host(lab, target)
    return [host for host in lab.definition.hosts.values() if name in (host.name, host.rack)]


def arm(lab: Lab, verb: str, target: str, seconds: float) -> None:
    """Have the lab undo a fault after a while, whatever becomes of whoever made it.

    A process of the lab's own waits, in a control group that ``disarm`` and ``down`` end.
    """
    words = [sys.executable, hosts.PROGRAM, "--lab", lab.name, verb, target]
    wait = ["/bin/sh", "-c", 'sleep "$0" && exec "$@"', f"{seconds:g}", *words]
    spawn(wait, lab.folder / "undone.log", _watch(lab, verb, target).create().enter)


def disarm(lab: Lab, verb: str, target: str) -> None:
    """End what waits to undo a fault, unless that is this very process."""
    watch = _watch(lab, verb, target)
    if own_cgroup() != watch.path:
        watch.remove()


def _watch(lab: Lab, verb: str, target: str) -> Cgroup:
    return Cgroup(lab.name, "undo", f"{verb}.{target}")


def kill(lab: Lab, host: Host, unit: str, signal: str) -> None:
    """Send a signal to every process of a unit of a host."""
    name = signal.upper().removeprefix("SIG")
    known = {item.name.removeprefix("SIG"): item.value for item in signals.Signals}
    if name not in known and not (name.isdigit() and int(name) in known.values()):
        raise UsageError(f"There is no signal {signal!r}. Known: {', '.join(known)}.")
    _act(lab, host, unit, "kill", f"--signal={name}")


def freeze(lab: Lab, host: Host, unit: str) -> None:
    """Stop every process of a unit of a host where it stands."""
    _act(lab, host, unit, "freeze")


def thaw(lab: Lab, host: Host, unit: str) -> None:
    """Let a frozen unit go on."""
    _act(lab, host, unit, "thaw")


def _act(lab: Lab, host: Host, unit: str, verb: str, *options: str) -> None:
    if not re.fullmatch(r"[\w@:.\\-]+", unit) or unit.startswith("-"):
        raise UsageError(f"{unit!r} can't be a unit.")
    state = hosts.execute(lab, host, "systemctl", "show", "--property=LoadState,ActiveState", "--value", unit).split()
    if state[0] != "loaded":
        raise LabError(f"{host.name} has no unit {unit}.")
    if state[1] not in ("active", "activating", "deactivating", "reloading"):
        raise LabError(f"The unit {unit} of {host.name} doesn't run: it is {state[1]}.")
    hosts.execute(lab, host, "systemctl", verb, *options, unit)


def _rack_or_host(lab: Lab, target: str) -> str:
    known = [*lab.definition.racks, *lab.definition.hosts]
    if target not in known:
        raise unknown("rack or host", target, known)
    return target
