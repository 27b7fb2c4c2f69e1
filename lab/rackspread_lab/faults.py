# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is broken on purpose, and mended."""

from __future__ import annotations

import re
import signal as signals

from . import host as hosts
from . import network
from .definition import Host
from .errors import LabError, UsageError, unknown
from .state import Lab


def cut(lab: Lab, target: str) -> None:
    """Cut a rack off from the other racks (its hosts still reach each other), or one host off from everything."""
    network.switch(lab, _rack_or_host(lab, target), on=False)


def heal(lab: Lab, target: str | None) -> list[str]:
    """Mend a cut, or all cuts; return what was mended."""
    names = [_rack_or_host(lab, target)] if target else [*lab.definition.racks, *lab.definition.hosts]
    mended = [name for name in names if lab.flag("cut", name)]
    for name in mended:
        network.switch(lab, name, on=True)
    return mended


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
