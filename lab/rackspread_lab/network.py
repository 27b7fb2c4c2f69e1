# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's wires: one namespace with a bridge a rack and a spine, and one namespace a host. No route leads out of it.

::

    host eth0 ── <host> ┐
    host eth0 ── <host> ┴ rack1 ── rack1-up ═══ rack1-spine ── spine ── client
                                                                 └─ .1: the package cache
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .definition import Host
from .errors import LabError
from .process import run
from .state import Lab

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)  # Python has os.setns from 3.12 on only


def _ip(namespace: str, *lines: str) -> None:
    """Run lines of ``ip`` in a namespace, all in one process."""
    run("ip", "-n", namespace, "-batch", "-", stdin="\n".join(lines) + "\n")


def build(lab: Lab) -> None:
    """Make the lab's namespace with its spine and racks."""
    run("ip", "netns", "add", lab.namespace)
    gateway = Host("gateway", lab.definition.gateway, "")
    lines = [
        "link set lo up",
        # A fixed address: otherwise a bridge takes one of a port, and another one when ports come and go.
        f"link add spine address {gateway.mac} type bridge mcast_snooping 0",
        "link set spine up",
        f"addr add {gateway.address}/24 dev spine",
    ]
    for rack in lab.definition.racks:
        lines += [
            f"link add {rack} type bridge mcast_snooping 0",
            f"link add {rack}-up type veth peer name {rack}-spine",
            f"link set {rack}-up master {rack} up",
            f"link set {rack}-spine master spine up",
            f"link set {rack} up",
        ]
    _ip(lab.namespace, *lines)
    # arp_ignore: only the spine answers for the gateway. By default a rack's bridge does too, in a cut rack as well.
    # ip_forward, and no route: a packet for elsewhere is refused at once instead of being swallowed.
    run(*inside(lab), "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.ip_forward=1")


def inside(lab: Lab) -> list[str]:
    """Return the words before a command that is to run in the lab's namespace."""
    return ["nsenter", f"--net={NAMESPACES / lab.namespace}"]


def plug(lab: Lab, host: Host) -> None:
    """Give a host that is about to boot a fresh namespace, with its cable into the rack's bridge (or the spine's).

    Fresh at each boot: what software leaves in its network (addresses, firewall rules) doesn't survive a real reboot.
    """
    unplug(lab, host)
    namespace = lab.host_namespace(host)
    run("ip", "netns", "add", namespace)
    _ip(
        lab.namespace,
        f"link add {host.name} type veth peer name eth0 address {host.mac} netns {namespace}",
        f"link set {host.name} master {host.rack or 'spine'} {'down' if lab.flag('cut', host.name) else 'up'}",
    )
    _ip(
        namespace,
        "link set lo up",
        "link set eth0 up",
        f"addr add {host.address}/24 brd + dev eth0",
        f"route add default via {lab.definition.gateway}",
    )


def unplug(lab: Lab, host: Host) -> None:
    """Take a host's cable and namespace away; harmless where they are not."""
    if host.name in links(lab):
        _ip(lab.namespace, f"link del {host.name}")
    if (NAMESPACES / lab.host_namespace(host)).exists():
        run("ip", "netns", "del", lab.host_namespace(host))


def links(lab: Lab) -> dict[str, bool]:
    """Return the lab's interfaces by name, and whether each is switched on."""
    found = {}
    for line in run("ip", "-n", lab.namespace, "-o", "link", "show").splitlines():
        _, name, details = line.split(maxsplit=2)
        found[name.rstrip(":").partition("@")[0]] = "UP" in details.partition(">")[0].lstrip("<").split(",")
    return found


def switch(lab: Lab, name: str, *, on: bool) -> None:
    """Cut or mend the uplink of a rack or the cable of a host."""
    lab.flag("cut", name).set(not on)
    link = f"{name}-up" if name in lab.definition.racks else name
    if link in links(lab):  # a host that is off has no cable; it finds its own cut when it boots
        _ip(lab.namespace, f"link set {link} {'up' if on else 'down'}")


def remove(name: str) -> None:
    """Remove every namespace of the lab of that name."""
    for path in NAMESPACES.glob(f"rackspread.{name}*"):
        if path.name == f"rackspread.{name}" or path.name.startswith(f"rackspread.{name}."):
            run("ip", "netns", "del", path.name, check=False)
            if path.exists():  # a killed `ip netns add` leaves a plain file
                path.unlink()
    if any(path.name.startswith(f"rackspread.{name}.") for path in NAMESPACES.glob("*")):
        raise LabError(f"Network namespaces of the lab {name} can't be removed.")


@contextlib.contextmanager
def entered(lab: Lab) -> Iterator[None]:
    """Put this thread, and no other, into the lab's network namespace for a while."""
    with open("/proc/thread-self/ns/net") as before, open(NAMESPACES / lab.namespace) as there:
        _enter(there)
        try:
            yield
        finally:
            _enter(before)


def _enter(namespace: IO[str]) -> None:
    if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise LabError(f"A network namespace can't be entered: {os.strerror(ctypes.get_errno())}.")


def speaks(address: str, port: int, greeting: bytes) -> bool:
    """Whether something at an address, as seen from this thread, greets whoever connects with these bytes."""
    try:
        with socket.create_connection((address, port), timeout=0.5) as connection:
            connection.settimeout(10)  # the kernel connects at once, but the daemon may be slow on a busy machine
            return connection.recv(len(greeting)) == greeting
    except OSError:
        return False
