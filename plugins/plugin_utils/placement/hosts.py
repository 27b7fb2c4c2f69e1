# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a site: which rack each stands in, and what its variables say about it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import Any

from ..refusals import Refusal
from .model import DATA_ROOT, Host

VARIABLES = (
    "rackspread_rack",
    "rackspread_within",
    "rackspread_address",
    "ansible_host",
    "rackspread_capacity",
    "ansible_memtotal_mb",
    "rackspread_data_root",
    "rackspread_data_roots",
)
"""The host variables that placement reads; `ansible_memtotal_mb` is a fact, where one is cached."""


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which rack2 comes before rack10."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", name) if part]


def select(
    patterns: Iterable[str], hosts: Mapping[str, Any], groups: Mapping[str, Iterable[str]], where: str
) -> list[str]:
    """The hosts that a pattern over names of groups and hosts matches, in the order of `hosts`.

    Raises Refusal RS-008 where one of the patterns matches none of `hosts`.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        if any(sign in pattern for sign in "*?["):
            found = {name for name in hosts if fnmatchcase(name, pattern)}
            matching = [group for group in groups if fnmatchcase(group, pattern)]
        else:
            found = {pattern} & hosts.keys()
            matching = [pattern] if pattern in groups else []
        found.update(name for group in matching for name in groups[group] if name in hosts)
        if not found:
            raise Refusal("RS-008", f"{where} says {pattern!r}, which matches no host that stands in a rack.")
        chosen |= found
    return [name for name in hosts if name in chosen]


def racks_of(
    patterns: Iterable[str],
    groups: Mapping[str, Iterable[str]],
    variables: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    """The rack of each host that stands in one, racks and hosts in natural order.

    Args:
        patterns: the names of the groups that are racks.
        groups: the inventory's groups with all their hosts, children's included.
        variables: host -> its variables; `rackspread_rack` names a rack too.

    Raises Refusal: RS-006 no rack, RS-007 a host in two.
    """
    patterns = tuple(patterns)
    rack: dict[str, str] = {}

    def put(host: str, name: str) -> None:
        other = rack.setdefault(host, name)
        if other != name:
            first, second = sorted((other, name), key=natural)
            raise Refusal("RS-007", f"{host} stands in two racks, {first} and {second}.")

    for group in groups:
        if any(fnmatchcase(group, pattern) for pattern in patterns):
            for host in groups[group]:
                put(host, group)
    for host, values in variables.items():
        if values.get("rackspread_rack"):
            put(host, str(values["rackspread_rack"]))
    if not rack:
        raise Refusal("RS-006", f"No group {' or '.join(patterns)} with a host in it was found in the inventory.")
    order = {name: natural(name) for name in (*rack, *rack.values())}
    return {host: rack[host] for host in sorted(rack, key=lambda host: (order[rack[host]], order[host]))}


def resolve(rack: Mapping[str, str], variables: Mapping[str, Mapping[str, Any]]) -> dict[str, Host]:
    """The hosts of the racks with their addresses, memory and data folders, in the order of `rack`.

    Raises Refusal: RS-009 no IP address, RS-010 an address twice, RS-004 another variable that is not of its kind.
    """
    hosts: dict[str, Host] = {}
    holder: dict[str, str] = {}
    for name, its_rack in rack.items():
        values = variables.get(name, {})
        address = _address(name, values)
        if address in holder:
            raise Refusal("RS-010", f"{holder[address]} and {name} have the address {address}.")
        holder[address] = name
        hosts[name] = Host(
            name=name,
            rack=its_rack,
            address=address,
            capacity=_capacity(name, values.get("rackspread_capacity", values.get("ansible_memtotal_mb"))),
            data_root=_folder(name, "rackspread_data_root", values.get("rackspread_data_root", DATA_ROOT)),
            data_roots=_folders(name, values.get("rackspread_data_roots")),
            within=_within(name, values.get("rackspread_within")),
        )
    _nested(hosts)
    return hosts


def _within(name: str, value: Any) -> tuple[str, ...]:
    """The domains that hold a host's rack: a word, or a list of them, the outermost first."""
    domains = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(domains, list) or not all(isinstance(domain, str) and domain for domain in domains):
        raise Refusal("RS-004", f"`rackspread_within` of {name} is {value!r}.", wanted="a list such as [room1, row2]")
    return tuple(domains)


def _nested(hosts: Mapping[str, Host]) -> None:
    """Refuse hosts of one rack that say different things of what holds it, and racks that are not equally deep."""
    first: dict[str, Host] = {}
    for host in hosts.values():
        for other in (first.setdefault(host.rack, host), next(iter(first.values()))):
            if host.within != other.within and (host.rack == other.rack or len(host.within) != len(other.within)):
                both = f"of {host.name} is {list(host.within)}, and of {other.name} {list(other.within)}"
                raise Refusal(
                    "RS-004",
                    f"`rackspread_within` {both}.",
                    wanted="the same for all hosts of a rack, and equally many for all racks",
                )


def _address(name: str, values: Mapping[str, Any]) -> str:
    given = values.get("rackspread_address", values.get("ansible_host"))
    try:
        return str(ip_address(str(given)))
    except ValueError:
        said = "no address" if given is None else f"the address {given!r}, which is not an IP address"
        raise Refusal("RS-009", f"{name} has {said}.", host=name) from None


def _capacity(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isdigit():
        value = int(value)  # an INI inventory or a template gives text
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Refusal("RS-004", f"`rackspread_capacity` of {name} is {value!r}.", wanted="a whole number of MiB")
    return value


def _folder(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.startswith("/"):
        raise Refusal("RS-004", f"`{key}` of {name} is {value!r}.", wanted="an absolute path")
    return value.rstrip("/")


def _folders(name: str, value: Any) -> dict[str, str]:
    if value is None:
        return {}
    key = "rackspread_data_roots"
    if not isinstance(value, Mapping):
        raise Refusal("RS-004", f"`{key}` of {name} is {value!r}.", wanted="a mapping of service to folder")
    return {str(service): _folder(name, f"{key}.{service}", folder) for service, folder in value.items()}
