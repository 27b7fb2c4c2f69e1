# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a site stands right now, from what was seen of its members: what ails it, who leads, what it would survive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils.gate import healthy, in_step
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils import spanning
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Known, Observation, classified
from ansible_collections.rackspread.ha.plugins.plugin_utils.leaders import better
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.looking import Seen
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.survival import Body, bodies_of, survives

HOLDER = "keepalived"
"""The row of services whose leader holds the virtual addresses."""


@dataclass(frozen=True, slots=True)
class Living(Body):
    """A body of which only those places count that serve now.

    Attributes:
        needed: how many of them it needs, by the size that it should have.
    """

    needed: int = 1

    @property
    def spare(self) -> int:
        """How many of the living it can lose; negative where it has stopped already."""
        return len(self.places) - self.needed


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at a whole site.

    Args:
        groups: of the topology, those that were looked at.
        seen: their members, classified.
        vips: how many virtual addresses there are.
    """

    groups: Mapping[str, Mapping[str, Any]]
    seen: Seen
    vips: int = 0

    @classmethod
    def of(cls, groups: Mapping[str, Mapping[str, Any]], seen: Seen, lock: Lock, vips: int = 0) -> Standing:
        """Classify what a look answered, by what the lock knows."""
        known = {
            (service, group): [
                seen for seen in classified(members, Known.of(lock, group), SERVICES[service]) if not seen.retired
            ]
            for (service, group), members in seen.items()
        }
        named = {name for _service, name in seen}
        return cls({key: group for key, group in groups.items() if key in named}, known, vips)

    def ailments(self) -> list[str]:
        """What keeps the site from being whole, a sentence each; nothing where it is."""
        found = []
        for (service, group), members in self.seen.items():
            verdict = healthy(group, members, SERVICES[service].gate)
            if not verdict:
                program = SERVICES[service].program
                found.append(f"{program}: {verdict.reason}" if program else verdict.reason)
            elif service == HOLDER and self.vips:
                holders = [seen.host for seen in members if seen.leads]
                if not holders or len(holders) > self.vips:
                    found.append(f"the virtual address is on {' and '.join(holders) or 'no balancer'}")
        for row in (row for row in SERVICES.values() if row.spans):
            groups = {group: members for (service, group), members in self.seen.items() if service == row.name}
            if groups and not (verdict := spanning.healthy(groups)) and verdict.reason not in found:
                found.append(verdict.reason)
            if wrong := spanning.uneven(groups):
                found.append(wrong)
        return found

    def leader(self, group: str) -> Observation | None:
        """The member that leads a group, or holds its virtual address; None where nobody does, or two say so."""
        leaders = {seen.host: seen for members in self._programs(group) for seen in members if seen.leads}
        return next(iter(leaders.values())) if len(leaders) == 1 else None

    def displaced(self) -> list[str]:
        """The leaders that are not where they should be, a sentence each: shards at home, etcd apart from them."""
        found, racks = [], []
        for (service, group), members in self.seen.items():
            leader = self.leader(group)
            home = next((seen for seen in members if seen.preferred), None)
            if SERVICES[service].gate == "in_sync" and leader:
                racks.append(leader.rack)
                if home and home.host != leader.host:
                    found.append(f"{group} is led on {leader.host}, and {home.host} is its home")
        for (service, _group), members in self.seen.items():
            if service == "etcd":
                said = {seen.member: seen.live or {} for seen in members}
                move = better(
                    [{"id": seen.member, "host": seen.host, "rack": seen.rack} for seen in members], said, racks
                )
                found += [move.reason] if move else []
        return found

    def serving(self, group: str) -> list[str]:
        """The hosts whose member of a group serves in all its programs, with all that it should have."""
        found: list[set[str]] = []
        for (service, name), members in self.seen.items():
            if name == group:
                serving = in_step(members, SERVICES[service].gate)
                found.append({seen.host for seen in members if seen.member in serving})
        return sorted(set.intersection(*found)) if found else []

    def survives(self, racks: Iterable[str]) -> dict[str, list[str]]:
        """For each rack why the site would not survive its loss now; nothing where it would."""
        bodies = self._bodies()
        stopped = [
            f"{body.name} is stopped already: {len(body.places)} of its members serve, and it needs {body.needed}"
            for body in bodies
            if body.spare < 0
        ]
        running = [body for body in bodies if body.spare >= 0]
        needed = {body.name: body.needed for body in running}
        lost = survives(running)["rack"]["lost"]
        return {
            rack: [
                *stopped,
                *(
                    f"{each['name']} would lose its {each['loses']}: {each['left']} of the {each['of']} members that"
                    f" serve would be left, and it needs {needed[each['name']]}"
                    for each in lost
                    if each["without"] == [rack]
                ),
            ]
            for rack in racks
        }

    def _bodies(self) -> list[Living]:
        """What stands or falls together, by who serves and leads now; what each needs, by what there should be."""
        whole, living = [], []
        for key, group in self.groups.items():
            serving, leader = self.serving(key), self.leader(key)
            members = [
                {**member, "leader": leader is not None and member["host"] == leader.host}
                for member in group["members"]
                if member["host"] in serving
            ]
            whole.append({**group, "name": key})
            living.append({**group, "name": key, "members": members})
        needed = {body.name: len(body.places) - body.spare for body in bodies_of(whole)}
        return [
            Living(body.name, body.places, body.votes, body.loses, needed=needed[body.name])
            for body in bodies_of(living)
        ]

    def _programs(self, group: str) -> list[Sequence[Observation]]:
        """The members of a group in each of its programs that has leaders: a VIP's holder is keepalived's to tell."""
        rows = {service: members for (service, name), members in self.seen.items() if name == group}
        return [rows[HOLDER]] if HOLDER in rows else list(rows.values())


def exposition(
    survived: Mapping[str, Sequence[str]], ailments: Sequence[str], days: Mapping[str, int], now: float
) -> str:
    """The same as text for node-exporter's textfile collector (Prometheus' text exposition format).

    Args:
        survived: by rack why the site would not survive its loss.
        ailments: what keeps the site from being whole.
        days: by service how many are left to the certificate that ends first.
        now: seconds since 1970.
    """
    lines = [
        "# HELP rackspread_rack_survives Whether the site would survive the loss of this rack now.",
        "# TYPE rackspread_rack_survives gauge",
        *(f'rackspread_rack_survives{{rack="{rack}"}} {int(not why)}' for rack, why in survived.items()),
        "# HELP rackspread_ailments How many groups are not whole.",
        "# TYPE rackspread_ailments gauge",
        f"rackspread_ailments {len(ailments)}",
        "# HELP rackspread_certificate_days Days left to the certificate of a service that ends first.",
        "# TYPE rackspread_certificate_days gauge",
        *(f'rackspread_certificate_days{{service="{service}"}} {left}' for service, left in days.items()),
        "# HELP rackspread_status_timestamp_seconds When this was looked at.",
        "# TYPE rackspread_status_timestamp_seconds gauge",
        f"rackspread_status_timestamp_seconds {now:.0f}",
    ]
    return "\n".join([*lines, ""])


def told(survived: Mapping[str, Sequence[str]], ailments: Sequence[str]) -> str:
    """The same for people."""
    lines = [f"  {ailment}" for ailment in ailments]
    lines.insert(0, "Not whole:" if ailments else "All groups are whole.")
    for rack, why in survived.items():
        lines.append(f"{rack}: its loss would {'stop something' if why else 'be survived'}")
        lines += [f"  {reason}" for reason in why]
    return "\n".join(lines)
