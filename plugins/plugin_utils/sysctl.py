# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel settings that each service needs, and how those of the services on one host become one value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


@dataclass(frozen=True, slots=True)
class Need:
    """What a service needs of one kernel setting: exactly a value, or at least a value."""

    value: int
    at_least: bool = False

    def allows(self, value: str) -> bool:
        """Whether the service can live with this value."""
        if not self.at_least:
            return value == str(self.value)
        return value.isdecimal() and int(value) >= self.value

    def __str__(self) -> str:
        return f"at least {self.value}" if self.at_least else str(self.value)


EVERYWHERE = "every host"
"""The row of what all hosts get."""

NEEDS: Mapping[str, Mapping[str, Need]] = {
    # A peer in a cut rack never answers again: give a silent connection up after 6 seconds, not after 15 minutes.
    EVERYWHERE: {"net.ipv4.tcp_retries2": Need(5)},
    # Both balancers bind the VIPs, also while the other one holds them.
    "edge": {"net.ipv4.ip_nonlocal_bind": Need(1), "net.ipv6.ip_nonlocal_bind": Need(1)},
    # Memory-mapped index files; below 262144 Elasticsearch does not start, 1048576 is what it recommends.
    "elasticsearch": {"vm.max_map_count": Need(1048576, at_least=True), "vm.swappiness": Need(1)},
    "kafka": {"vm.max_map_count": Need(262144, at_least=True), "vm.swappiness": Need(1)},
    "mongodb": {"vm.max_map_count": Need(262144, at_least=True), "vm.swappiness": Need(1)},
    # Postgres likes vm.overcommit_memory 2, but on a host of its own, with a ratio that fits: a site's decision.
    "postgres": {"vm.swappiness": Need(1)},
    # Its background save forks: without overcommit the fork of a process larger than the free memory fails.
    "redis": {"vm.overcommit_memory": Need(1), "vm.swappiness": Need(1)},
}

DISTRIBUTION = {"vm.max_map_count": 1048576}
"""What Debian 13 itself sets (systemd's sysctl.d/50-default.conf): what needs less must not lower it."""


def settings(services: Iterable[str], wishes: Mapping[str, object] | None = None) -> dict[str, str]:
    """The kernel settings of a host that carries these services.

    Args:
        services: the services with a member on the host.
        wishes: the site's own settings, by key; they go before what services need only at least, and may add keys.

    Raises Refusal RS-058 where two of them can't be had together.
    """
    needs: dict[str, dict[str, Need]] = {}
    for service in (EVERYWHERE, *sorted(set(services))):
        for key, need in NEEDS.get(service, {}).items():
            needs.setdefault(key, {})[service] = need
    chosen = {key: str(wish) for key, wish in (wishes or {}).items()}
    for key, by_service in needs.items():
        # What is needed exactly goes before what is needed at least: the highest floor holds all floors.
        highest = max(by_service.values(), key=lambda need: (not need.at_least, need.value))
        least = DISTRIBUTION.get(key, 0) if highest.at_least else 0
        chosen.setdefault(key, str(max(highest.value, least)))
        against = [f"{service} needs {need}" for service, need in by_service.items() if not need.allows(chosen[key])]
        if against:
            asked = "the site sets it to" if key in (wishes or {}) else "another service on the host needs"
            raise Refusal("RS-058", f"{key} can't be set: {', '.join(against)}, and {asked} {chosen[key]}.", key=key)
    return dict(sorted(chosen.items()))
