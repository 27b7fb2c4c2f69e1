# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults of drills: what each hits, who makes it, and how it is told before it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.aims import Aim


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Args:
        name: as it is asked for.
        hits: `units` of members, or whole `hosts`; decides what a target means for it.
        made_by: the `host` itself (module drill_fault), or the `lab` around it.
        lasts: whether it goes on until it is undone.
        says: what it does, with `{what}` for what is hit.
        process: whether it ends processes alone, which has a goal of its own.
    """

    name: str
    hits: Literal["units", "hosts"]
    says: str
    made_by: Literal["host", "lab"] = "host"
    lasts: bool = True
    process: bool = False


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("kill", "units", "SIGKILL to the processes of {what}", lasts=False, process=True),
        Fault("freeze", "units", "all processes of {what} stand still, their connections open"),
        Fault("blackhole", "hosts", "nothing comes in or goes out of {what}, but ssh from this controller"),
        Fault("reboot", "hosts", "{what} reboots in good order", lasts=False),
        Fault("gray", "hosts", "a share of the packets of {what} is dropped, one way"),
        Fault("slow_disk", "units", "the disks of {what} take few operations a second"),
        Fault("full_disk", "units", "the data volumes of {what} are full"),
        Fault("uplink", "hosts", "the uplink of {what} is pulled", made_by="lab"),
        Fault("host_loss", "hosts", "{what} ends at once, as with its plug pulled", made_by="lab"),
    )
}


def describe(service: str, aim: Aim, fault: Fault, seconds: float) -> list[str]:
    """What a drill will do, as lines for who has to say yes."""
    what = [f"{unit.name} on {host}" for host, units in aim.units.items() for unit in units]
    hit = ", ".join(what) if fault.hits == "units" else ", ".join(aim.hosts)
    lines = [
        f"Drill of {service}: {fault.name} of {aim.label}",
        f"  {fault.says.format(what=hit)}.",
    ]
    if fault.lasts:
        lines.append(f"  It is ended once clients are served again, after {seconds:g} s at most.")
        lines.append("  It ends by itself, should this controller be lost meanwhile.")
    return lines


def same(aim: Aim, fault: Fault) -> tuple[object, ...]:
    """What tells two drills apart: for what hits hosts, a leader and its host are the same."""
    units = tuple((host, unit.name) for host, those in aim.units.items() for unit in those)
    return fault.name, aim.hosts, aim.rack, units if fault.hits == "units" else ()
