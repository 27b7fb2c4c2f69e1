# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host tells of itself with no run in sight: which members it carries, and whether it may reboot.

It goes by the host's own record, and by the drivers and the gate that runs go by as well. Of other hosts it sees what
the members of its own groups answer over the network. host_settings installs it with all that it imports.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from . import host, record
from .driver import Driver, Live
from .etcd import Etcd
from .gate import JOINED, Seen, may_restart
from .haproxy import HAProxy
from .instance import Instance
from .kafka import Kafka
from .keepalived import Keepalived
from .postgres import Postgres
from .redis import Redis
from .redis_proxy import RedisProxy
from .services import Service, row_of

DRIVERS: dict[str, type[Driver]] = {
    each.service: each for each in (Etcd, Postgres, Redis, RedisProxy, Kafka, HAProxy, Keepalived)
}
"""By the name of a service's modules."""

YES, NO, UNKNOWN = 0, 1, 2
"""The exit codes of rackspread-can-reboot."""


@dataclasses.dataclass(frozen=True)
class Glimpse:
    """A member as this host sees it; what the gate asks for (gate.Seen)."""

    member: int
    host: str
    rack: str
    state: str
    live: Live
    detail: str = ""

    @property
    def leads(self) -> bool:
        """Whether it is its group's leader (or holds the VIP)."""
        return self.live.role == "leader"

    def tells(self, name: str, default: Any = None) -> Any:
        """What its daemon said."""
        value = getattr(self.live, name, None)
        return default if value is None else value

    def __str__(self) -> str:
        return f"member {self.member} on {self.host}"


class Carried(NamedTuple):
    """A member on this host: the row of its service, and its driver."""

    service: Service
    driver: Driver

    @property
    def group(self) -> str:
        """The key of its group."""
        return str(self.driver.group["name"])


def carried(root: str = "/") -> Iterator[Carried]:
    """The members that this host's record knows and that something was ever activated for. Raises Failed."""
    for name, part in sorted(((record.read(root) or {}).get("groups") or {}).items()):
        row = row_of(name)
        kind = DRIVERS.get(row.modules or row.name) if row else None
        instance = Instance.of(name, part["member"], root=root)
        manifest = instance.manifest(instance.current)
        own = next((each for each in part["members"] if each["id"] == part["member"]), None)
        if row and kind and manifest and own:
            instance = Instance(name, part["member"], manifest["unit"], manifest["data"], root)
            group = name.removesuffix(f"_{row.program}")
            yield Carried(row, kind.of(instance, {**part, "name": group}, own, {}))


def glimpses(driver: Driver) -> list[Seen]:
    """Every member of a member's group: the own one asked here, the others over the network, all at once."""
    own = driver.member

    def see(member: dict[str, Any]) -> Seen:
        here = member["id"] == own["id"]
        if here and not host.unit(driver.instance.unit).running:
            return Glimpse(member["id"], member["host"], member["rack"], "stopped", Live())
        live = driver.ask() if here else driver.overlook(member)
        state = JOINED if live.healthy and member["id"] in live.members else "not joined"
        return Glimpse(member["id"], member["host"], member["rack"], state, live, live.detail)

    members = driver.group["members"]
    with ThreadPoolExecutor(len(members)) as pool:
        return list(pool.map(see, members))


def can_reboot(members: list[Carried]) -> tuple[int, str]:
    """Whether the groups of these members can spare this host, by the gate: an exit code and a sentence."""
    if not members:
        return YES, "Yes: this host carries no member."
    against, led = [], []
    for each in members:
        own = each.driver.member["id"]
        seen = glimpses(each.driver)
        verdict = may_restart(each.group, seen, own, each.service.gate)
        if not verdict:
            said = "; ".join(dict.fromkeys(member.detail for member in seen if member.detail))
            against.append(f"{verdict.reason} ({said})" if said else verdict.reason)
        leads = any(member.member == own and member.leads for member in seen)
        led += [each.group] if leads and each.service.heir != "none" and each.service.name != "haproxy" else []
    if against:
        return NO, f"No: {'; '.join(dict.fromkeys(against))}."
    groups = ", ".join(dict.fromkeys(each.group for each in members))
    handing = f" It leads {', '.join(dict.fromkeys(led))}; patch.yml would hand over first." if led else ""
    return YES, f"Yes: {groups} can spare this host.{handing}"


def login_message(known: dict[str, Any], members: list[Carried]) -> str:
    """The members that this host carries and what systemd says of them, as the login message has it."""
    units = host.units([each.driver.instance.unit for each in members])
    forgotten = ", ".join(sorted(known.get("forgotten") or {}))
    lines = [f"{known['host']} in {known['rack']} carries members of a rackspread site:"]
    for each in members:
        unit = each.driver.instance.unit
        lines.append(f"  {unit:<42} member {each.driver.member['id']} of {each.group:<22} {units[unit].active}")
    if forgotten:
        lines.append(f"  (forgotten, and not looked after any more: {forgotten})")
    return "\n".join([*lines, "Before a reboot ask rackspread-can-reboot.", ""])


def main(question: str) -> int:
    """Answer `can-reboot` or `members` on standard output; the exit code."""
    try:
        if os.geteuid() != 0:
            raise host.Failed("only root can read what this host remembers")
        known, members = record.read(), list(carried())
        if question == "members":
            if known:
                sys.stdout.write(login_message(known, members))
            return YES
        code, sentence = can_reboot(members)
    except (host.Failed, OSError, ValueError, KeyError) as error:
        code, sentence = UNKNOWN, f"Nobody can tell: {error}."
    sys.stdout.write(sentence + "\n")
    return code
