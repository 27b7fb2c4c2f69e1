# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The spec of a site: what the operator asks for, checked before anything else is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_interface, ip_network
from itertools import pairwise
from typing import Any

from ..refusals import Refusal
from .catalogue import IMPLIES, SERVICES, Component
from .hosts import select
from .model import Demand, Host

TOP_KEYS = ("plugin", "site", "racks", "rack_first", "services", "use_vars_plugins")
PLACING_KEYS = ("hosts", "exclude", "weight")
PORTS = range(1024, 32768)
"""What `ports` may be of: below is root's, and from there on Linux hands out ports to clients."""
FAILOVER = ("fast", "standard", "cautious")
COMMON_SETTINGS = ("clients", "failover")
SETTINGS: dict[str, tuple[str, ...]] = {"edge": ("vips",)}
"""The settings of a service beside the common ones."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What the spec asks of one component: how many, and of which hosts. `ports`: name -> (base, length of block)."""

    component: Component
    groups: int
    members: int
    hosts: tuple[str, ...]
    exclude: tuple[str, ...]
    weight: int
    ports: Mapping[str, tuple[int, int]]

    def demand(self, hosts: Mapping[str, Host], groups: Mapping[str, Iterable[str]]) -> Demand:
        """The ask with its patterns resolved over the hosts that stand in racks (RS-008 where one matches none)."""
        component = self.component
        usable = select(self.hosts, hosts, groups, f"`hosts` of {component.service}") if self.hosts else list(hosts)
        if self.exclude:
            excluded = set(select(self.exclude, hosts, groups, f"`exclude` of {component.service}"))
            usable = [name for name in usable if name not in excluded]
        single = component.members_key is None
        return Demand(
            component=component.id,
            groups=self.groups,
            members=self.members,
            hosts=tuple(usable),
            weight=self.weight,
            rack_limit=component.rack_limit(self.members),
            leads=component.leads,
            leaders_vote=component.leaders_vote,
            shrinks=component.shrinks,
            ports=self.ports,
            groups_key=f"`{component.count_key}` of {component.service}",
            members_key=f"`{component.count_key if single else component.members_key}` of {component.service}",
        )


@dataclass(frozen=True, slots=True)
class Spec:
    """A spec that holds: `settings` is what the services' roles read of it (vips, clients, failover)."""

    site: str | None = None
    racks: tuple[str, ...] = ("rack*",)
    asks: tuple[Ask, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rack_first: bool = False


def parse(data: Any) -> Spec:
    """Check a spec as read from YAML and complete it with the catalogue's defaults.

    Raises Refusal: RS-001 not a mapping, RS-002 unknown key, RS-003 unknown service, RS-004 a value not of its kind,
    RS-005 an even number of voters, RS-012 what is in one rack alone, RS-025 ports that meet.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("services"), Mapping) or not data["services"]:
        raise Refusal("RS-001", "The spec is not a mapping with a key `services` that names at least one service.")
    _known(data, TOP_KEYS, "the spec")
    site = data.get("site")
    if site is not None and (not isinstance(site, str) or not site.strip()):
        raise _kind("`site`", site, "the site's name as a word")
    rack_first = data.get("rack_first", False)
    if not isinstance(rack_first, bool):
        raise _kind("`rack_first`", rack_first, "true or false")
    services: dict[str, Mapping[str, Any]] = {}
    for name, body in data["services"].items():
        if name not in SERVICES:
            raise Refusal("RS-003", f"The spec names a service {name!r}.", hint=_hint(str(name), SERVICES))
        if body is not None and not isinstance(body, Mapping):
            raise _kind(f"`{name}`", body, "a mapping such as {} or {members: 3}")
        services[name] = body or {}
    for name in list(services):
        for implied in IMPLIES.get(name, ()):
            services.setdefault(implied, {})
    asks: list[Ask] = []
    settings: dict[str, Mapping[str, Any]] = {}
    for name in SERVICES:
        if name in services:
            asks += _asks(name, services[name])
            settings[name] = _settings(name, services[name])
    _apart(asks)
    racks = _patterns(data.get("racks", "rack*"), "`racks`") or ("rack*",)
    return Spec(site, racks, tuple(asks), settings, rack_first)


def _asks(service: str, body: Mapping[str, Any]) -> list[Ask]:
    components = SERVICES[service]
    counts = [component.count_key for component in components]
    members = [component.members_key for component in components if component.members_key]
    _known(body, (*counts, *members, *PLACING_KEYS, *COMMON_SETTINGS, *SETTINGS.get(service, ())), f"`{service}`")
    asks = []
    for component in components:
        own = body.get(component.count_key, component.count)
        where = f"`{component.count_key}` of {service}"
        if isinstance(own, Mapping):
            _known(own, ("count", *PLACING_KEYS, "ports"), where)
        else:
            own = {"count": own}
        count = _count(own.get("count", component.count), where, least=0 if component.optional else 1)
        if count == 0:
            continue
        if component.members_key:
            groups, size = (
                count,
                _count(
                    body.get(component.members_key, component.members),
                    f"`{component.members_key}` of {service}",
                    least=1,
                ),
            )
            where = f"`{component.members_key}` of {service}"
        else:
            groups, size = 1, count
        if component.votes and size % 2 == 0:
            odd = f"{size - 1} or {size + 1}" if size > 2 else "3"
            raise Refusal("RS-005", f"{where} is {size}, an even number of voters.", odd=odd)
        if not component.rack_limit(size):
            least = 3 if component.votes else 2
            raise Refusal(
                "RS-012",
                f"{where} is {size}, and what is in one rack alone is gone with that rack.",
                smallest=f"Ask for at least {least}.",
            )
        chosen = {key: own.get(key, body.get(key)) for key in PLACING_KEYS}
        weight = component.weight if chosen["weight"] is None else chosen["weight"]
        asks.append(
            Ask(
                component,
                groups,
                size,
                _patterns(chosen["hosts"], f"`hosts` of {service}"),
                _patterns(chosen["exclude"], f"`exclude` of {service}"),
                _count(weight, f"`weight` of {service}", least=1),
                _ports(component, own.get("ports"), f"`ports` of `{component.count_key}` of {service}"),
            )
        )
    return asks


def _ports(component: Component, given: Any, where: str) -> dict[str, tuple[int, int]]:
    """The blocks of a component's ports: the catalogue's, or equal parts of a range of the user's, in that order."""
    if given is None:
        return {port.name: (port.base, port.block) for port in component.ports}
    first, dash, last = str(given).partition("-")
    wanted = f"a range within {PORTS[0]}-{PORTS[-1]}, such as 20000-29999"
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise _kind(where, given, wanted)
    block = (int(last) + 1 - int(first)) // len(component.ports)
    if block < 1 or int(first) not in PORTS or int(last) not in PORTS:
        raise _kind(where, given, wanted)
    return {port.name: (int(first) + at * block, block) for at, port in enumerate(component.ports)}


def _apart(asks: Iterable[Ask]) -> None:
    """Refuse (RS-025) blocks of ports that meet; those of the catalogue don't."""
    blocks = sorted(
        (base, base + block - 1, f"{ask.component.id} ({name})")
        for ask in asks
        for name, (base, block) in ask.ports.items()
    )
    for (low, high, one), (base, end, other) in pairwise(blocks):
        if base <= high:
            raise Refusal("RS-025", f"The ports of {one}, {low}-{high}, meet those of {other}, {base}-{end}.")


def _settings(service: str, body: Mapping[str, Any]) -> dict[str, Any]:
    failover = body.get("failover", FAILOVER[0])
    if failover not in FAILOVER:
        raise _kind(f"`failover` of {service}", failover, "one of " + ", ".join(FAILOVER))
    settings: dict[str, Any] = {
        "clients": _addresses(body.get("clients"), f"`clients` of {service}", ip_network, "networks, 10.0.0.0/8"),
        "failover": failover,
    }
    if "vips" in SETTINGS.get(service, ()):
        where = f"`vips` of {service}"
        vips = _addresses(body.get("vips"), where, ip_interface, "addresses with prefix lengths, 192.0.2.100/24")
        for vip in vips:
            if "/" not in vip:
                raise _kind(where, vip, "a list of addresses with prefix lengths, 192.0.2.100/24")
        settings["vips"] = vips
    return settings


def _addresses(value: Any, where: str, parser: Any, wanted: str) -> list[str]:
    items = [] if value is None else value
    if not isinstance(items, list):
        raise _kind(where, value, f"a list of {wanted}")
    for item in items:
        try:
            parser(item if isinstance(item, str) else None)
        except ValueError as error:
            raise _kind(where, item, f"a list of {wanted}") from error
    return list(items)


def _count(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _kind(where, value, f"a whole number of {least} or more")
    return value


def _patterns(value: Any, where: str) -> tuple[str, ...]:
    items = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        raise _kind(where, value, "a pattern over names of groups and hosts, or a list of them")
    return tuple(items)


def _known(body: Mapping[str, Any], keys: Iterable[str], where: str) -> None:
    keys = tuple(keys)
    for key in body:
        if key not in keys:
            raise Refusal("RS-002", f"There is no key `{key}` in {where}.", hint=_hint(str(key), keys))


def _hint(word: str, known: Iterable[str]) -> str:
    known = [name for name in known if name != "plugin"]
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else f"Known are: {', '.join(known)}."


def _kind(where: str, value: Any, wanted: str) -> Refusal:
    return Refusal("RS-004", f"{where} is {value!r}.", wanted=wanted)
