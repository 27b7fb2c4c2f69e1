# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults that a drill makes on a host. Each lives in one transient unit of systemd, and ends with it.

The unit is a dead man's switch: what undoes the fault is its ExecStopPost, known to systemd before anything is broken,
and its life is limited (RuntimeMaxSec). So the fault ends when it is told to, when its time is over, when somebody
kills its process, and with a reboot, whatever became of the controller.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from dataclasses import dataclass
from typing import Any

from . import host

UNIT = "rackspread-drill"
FOLDER = "/run/rackspread/drill"
BEGUN = f"{FOLDER}/begun"
"""A file that the fault's own script makes once it has broken what it should, and that is gone with one that lasts."""
TABLE = "netdev rackspread_drill"
MIB = 1 << 20

HOG = (
    "import os, signal; f = os.open({path!r}, os.O_TMPFILE | os.O_RDWR); "
    "os.posix_fallocate(f, 0, {size}); signal.pause()"
)
"""Fills a disk with a file that has no name: the kernel frees it with the process."""

BEGIN_SECONDS = 20.0
"""How long a fault may take from the moment that it was armed for until it is there."""


@dataclass(frozen=True)
class Script:
    """What a fault does, as lines for the shell.

    Args:
        begin: breaks something; runs once, stops at the first line that fails.
        end: undoes it; harmless where there is nothing to undo.
        holds: whether the fault lasts until it is undone.
    """

    begin: tuple[str, ...]
    end: tuple[str, ...] = ()
    holds: bool = True


@dataclass(frozen=True)
class Aim:
    """What is to be hit on this host.

    Args:
        units: services, without `.service`.
        data: the data folders of their members.
        settings: see the module drill_fault.
    """

    units: list[str]
    data: list[str]
    settings: dict[str, Any]


def kill(aim: Aim) -> Script:
    """SIGKILL to every process of the units, to their main processes, or to the first process of a name."""
    whom = aim.settings.get("process") or "all"
    if whom in ("all", "main"):
        return Script((f"systemctl kill --signal=SIGKILL --kill-whom={whom} {_units(aim)}",), holds=False)
    pids = [_first(unit, whom) for unit in aim.units]
    return Script((f"kill -KILL {' '.join(map(str, pids))}",), holds=False)


def freeze(aim: Aim) -> Script:
    """Every process of the units stands still, its connections open."""
    return Script((f"systemctl freeze {_units(aim)}",), (f"systemctl thaw {_units(aim)}",))


def blackhole(aim: Aim) -> Script:
    """Nothing comes in or goes out but ssh from the controller, not even ARP."""
    return _filtered({"in": ["drop"], "out": ["drop"]})


def gray(aim: Aim) -> Script:
    """A share of the packets is lost, one way."""
    share = int(aim.settings.get("share") or 30)
    lossy = [f"numgen random mod 100 < {share} drop"]
    return _filtered({aim.settings.get("direction") or "out": lossy})


def reboot(aim: Aim) -> Script:
    """An orderly reboot."""
    return Script(("systemctl reboot",), holds=False)


def slow_disk(aim: Aim) -> Script:
    """Few operations a second are left to the units on the disks of their data."""
    controllers = host.read("/sys/fs/cgroup/cgroup.controllers") or ""
    if "io" not in controllers.split():
        raise host.Failed("this kernel has no `io` controller in the unified hierarchy (cgroup2)")
    limit = int(aim.settings.get("operations") or 20)
    begin, end = [], []
    for unit, data in zip(aim.units, aim.data, strict=True):
        if data:
            names = ("IOReadIOPSMax", "IOWriteIOPSMax")
            settings = " ".join(shlex.quote(f"{name}={data} {limit}") for name in names)
            begin.append(f"systemctl set-property --runtime {unit}.service {settings}")
            end.append(f"systemctl set-property --runtime {unit}.service {' '.join(f'{name}=' for name in names)}")
            end += [f"rm -f /run/systemd/system.control/{unit}.service.d/50-{name}.conf" for name in names]
    if not begin:
        raise host.Failed("none of its members keeps data")
    return Script(tuple(begin), (*end, "systemctl daemon-reload"))


def full_disk(aim: Aim) -> Script:
    """The volumes of the data are filled but for a few MiB."""
    leave = int(aim.settings.get("leave") or 32)
    begin = []
    for device, path in {os.stat(path).st_dev: path for path in aim.data if path}.items():
        if device == os.stat("/").st_dev:
            raise host.Failed(f"{path} lies on the root file system, and filling that hits more than a member's data")
        there = os.statvfs(path)
        size = there.f_bavail * there.f_frsize - leave * MIB
        if size > 0:
            program = HOG.format(path=path, size=size)
            begin += [f"/usr/bin/python3 -c {shlex.quote(program)} &", "sleep 1", "kill -0 $!"]
    if not begin:
        raise host.Failed("there is no volume of data, or none with room left")
    return Script(tuple(begin))


FAULTS = {each.__name__: each for each in (kill, freeze, blackhole, gray, reboot, slow_disk, full_disk)}


def check(fault: str, aim: Aim) -> Script:
    """What the fault would do here. Raises Failed where it can't be made or undone."""
    if host.unit(UNIT).active in ("active", "activating", "deactivating"):
        raise host.Failed(f"a drill is going on here already ({UNIT}.service)")
    dead = [name for name, unit in host.units(aim.units).items() if not unit.running]
    if dead:
        raise host.Failed(f"{', '.join(dead)} does not run")
    return FAULTS[fault](aim)


def begin(fault: str, aim: Aim, seconds: float, at: float) -> float:
    """Arm the fault, which begins by itself. Raises Failed.

    Args:
        fault: of FAULTS.
        aim: what is hit.
        seconds: how long it lasts if nobody ends it earlier.
        at: when it begins, by the wall clock; at once where that is over.

    Returns: when it begins.
    """
    script = check(fault, aim)
    host.remove(BEGUN)
    wait = max(0.0, at - time.time())
    hold, gone = (("exec sleep infinity",), (f"rm -f {BEGUN}",)) if script.holds else ((), ())
    lines = ("set -e", f"sleep {wait:.3f}", *script.begin, f": >{BEGUN}", *hold)
    for name, those in (("begin", lines), ("end", (*script.end, *gone))):
        host.write_atomic(f"{FOLDER}/{name}", "\n".join([*those, ""]), mode=0o700)
    host.run([
        "systemd-run", "--quiet", "--collect", f"--unit={UNIT}", f"--property=RuntimeMaxSec={wait + seconds:.1f}",
        f"--property=ExecStopPost=/bin/sh {FOLDER}/end", "/bin/sh", f"{FOLDER}/begin",
    ])  # fmt: skip
    if fault == "reboot":  # which would leave nobody to tell of it
        return max(at, time.time())
    _await_begun(time.monotonic() + wait + BEGIN_SECONDS)
    return os.stat(BEGUN).st_mtime


def _await_begun(deadline: float) -> None:
    while not os.path.exists(BEGUN):
        if host.unit(UNIT).active not in ("active", "activating") and not os.path.exists(BEGUN):
            raise host.Failed(f"the fault was not made: {host.journal(UNIT, 3)}")
        if time.monotonic() > deadline:
            end()
            raise host.Failed(f"the fault was not made within {BEGIN_SECONDS:g} s")
        time.sleep(0.1)


def end() -> None:
    """End the fault that goes on here, if one does, and make sure of it."""
    host.run(["systemctl", "stop", f"{UNIT}.service"], check=False, timeout=120)
    if os.path.exists(f"{FOLDER}/end"):
        host.run(["/bin/sh", f"{FOLDER}/end"], check=False)


def _units(aim: Aim) -> str:
    return " ".join(f"{unit}.service" for unit in aim.units)


def _first(unit: str, name: str) -> int:
    """The oldest process of that name in a unit: the postmaster, not one of its children."""
    group = host.run(["systemctl", "show", "--value", "--property=ControlGroup", f"{unit}.service"]).stdout.strip()
    found = []
    for folder, _folders, _files in os.walk(f"/sys/fs/cgroup{group}"):
        for pid in (host.read(f"{folder}/cgroup.procs") or "").split():
            comm, _parenthesis, rest = (host.read(f"/proc/{pid}/stat") or "(").partition("(")[2].rpartition(")")
            if comm == name:
                found.append((int(rest.split()[19]), int(pid)))  # the time since boot at which it started
    if not found:
        raise host.Failed(f"{unit} has no process {name}")
    return min(found)[1]


def _filtered(chains: dict[str, list[str]]) -> Script:
    """A table that lets ssh from the controller through, and gives all else to the rules of these chains.

    It hooks in at the devices, below the addresses: a host that only IP has left would go on answering ARP, for a
    virtual address as well, and what keepalived sends past the routing would go on leaving.
    """
    lines = [f"table {TABLE} {{"]
    for chain, rules in chains.items():
        hook = "ingress" if chain == "in" else "egress"
        lines += [f"chain {chain} {{", f"type filter hook {hook} devices = {{ {_devices()} }} priority -500"]
        lines += ["policy accept", *_spared(chain), *rules, "}"]
    lines.append("}")
    host.run(["nft", "--check", "--file", "-"], stdin="\n".join([*lines, ""]))
    return Script((_nft(*lines),), (_nft(f"table {TABLE}", f"delete table {TABLE}"),))


def _nft(*lines: str) -> str:
    return "\n".join(["nft --file - <<'RULES'", *lines, "RULES"])


def _devices() -> str:
    """The interfaces with an address that others reach."""
    links = json.loads(host.run(["ip", "-json", "address", "show"]).stdout)
    named = [link["ifname"] for link in links if any(each["scope"] == "global" for each in link.get("addr_info", ()))]
    return ", ".join(f'"{name}"' for name in named)


def _spared(chain: str) -> list[str]:
    """What keeps the controller's way in open: its ssh, and the question for the neighbour that leads there."""
    controller, port = _way_in()
    family = "ip6" if ":" in controller else "ip"
    route = json.loads(host.run(["ip", "-json", "route", "get", controller]).stdout)[0]
    neighbour = route.get("gateway", controller)
    if chain == "in":
        found = f"arp saddr ip {neighbour} accept"
        return [_neighbours(found, family), f"{family} saddr {controller} tcp dport {port} accept"]
    found = f"arp daddr ip {neighbour} accept"
    return [_neighbours(found, family), f"{family} daddr {controller} tcp sport {port} accept"]


def _neighbours(arp: str, family: str) -> str:
    return arp if family == "ip" else "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"


def _way_in() -> tuple[str, str]:
    """The address that this module's ssh connection comes from, and the port that it came to."""
    pid = os.getpid()
    while pid > 1:
        for entry in (host.read(f"/proc/{pid}/environ") or "").split("\0"):
            name, _equals, value = entry.partition("=")
            if name == "SSH_CONNECTION":
                client, _client_port, _server, port = value.split()
                return client.partition("%")[0], port
        status = host.read(f"/proc/{pid}/stat") or ") ? 0"
        pid = int(status.rpartition(")")[2].split()[1])
    raise host.Failed("this is no ssh connection, so it is not known what has to stay open for the controller")
