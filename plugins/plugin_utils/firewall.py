# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may open a connection to which managed port of a host, and the nftables table that says so.

Only managed ports are spoken of: those that the groups of the site have on this host. All else, ssh above all, stays as
it is, and so does every other table. Only the first packet of a TCP connection is looked at, so that the answers to a
host's own connections are never in question and no connection tracking is needed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.catalogue import BY_ID, Component
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Sources = tuple[Network, ...]
Groups = Mapping[str, Mapping[str, Any]]

BALANCER = "edge_balancer"
GROUP = "the members of the same group"
CLIENTS = "the clients of the service"
NAMED = "those of the service's clients that the site names; nobody where it names none"
ANYBODY = ("0.0.0.0/0", "::/0")
VRRP = 112

ELASTICSEARCH = ("elasticsearch_master", "elasticsearch_data", "elasticsearch_coordinating")
MONGODB = ("mongodb_config", "mongodb_shard", "mongodb_router")

REACH: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "etcd_voter": {"main": (GROUP, "postgres_shard", NAMED), "peer": (GROUP,)},
    "postgres_shard": {
        "main": (GROUP, "postgres_router", BALANCER),
        "rest": (GROUP, "postgres_router", BALANCER),
        "write": (CLIENTS,),
        "read": (CLIENTS,),
    },
    "postgres_router": {"main": (BALANCER,), "front": (CLIENTS,)},
    "redis_shard": {"main": ("redis_shard", "redis_proxy", CLIENTS), "bus": ("redis_shard",)},
    "redis_proxy": {"main": (BALANCER,), "admin": (GROUP, BALANCER), "front": (CLIENTS,)},
    "elasticsearch_master": {"main": ELASTICSEARCH, "transport": ELASTICSEARCH},
    "elasticsearch_data": {"main": ELASTICSEARCH, "transport": ELASTICSEARCH},
    "elasticsearch_coordinating": {"main": (*ELASTICSEARCH, BALANCER), "transport": ELASTICSEARCH, "front": (CLIENTS,)},
    "mongodb_config": {"main": MONGODB},
    "mongodb_shard": {"main": MONGODB},
    "mongodb_router": {"main": (BALANCER,), "front": (CLIENTS,)},
    "kafka_controller": {"main": ("kafka_controller", "kafka_broker")},
    "kafka_broker": {"main": ("kafka_broker", CLIENTS), "peer": ("kafka_broker",)},
    BALANCER: {"main": (CLIENTS,), "peers": (GROUP,)},
}
"""Who opens connections to each port of each component: one of the three above, or every member of a component."""


def openings(groups: Groups, host: str, clients: Mapping[str, Iterable[str]] | None = None) -> dict[int, Sources]:
    """The managed ports of a host, each with the networks that may connect to it.

    Args:
        groups: every group of the site by key: `{service, component, members: [M]}`.
        host: the host's name in the inventory.
        clients: the networks (CIDR) of each service's clients; a service without any serves anybody.

    A published port is open on the hosts of the balancers, which bind it on the VIP. In a site without balancers the
    clients go to the main port of such a component themselves.
    Raises Refusal RS-004 where a client's network can't be read.
    """
    balanced = any(_component(group).id == BALANCER for group in groups.values())
    balances = any(_component(group).id == BALANCER and _on(group, host) for group in groups.values())
    found: dict[int, Sources] = {}
    for group in groups.values():
        component = _component(group)
        own = next(iter(_on(group, host)), None)
        ports: Mapping[str, int] = group["members"][0]["ports"] if group["members"] else {}
        for port in component.ports:
            if port.name not in ports or not (balances if port.published else own):
                continue
            who = REACH[component.id][port.name]
            if port.name == "main" and component.published and not balanced:
                who = (*who, CLIENTS)
            found[ports[port.name]] = _collapse(_sources(who, groups, group, clients or {}))
    return dict(sorted(found.items()))


def vrrp_peers(groups: Groups, host: str) -> Sources:
    """The other balancers of each group of balancers on the host: who may send VRRP to it; empty on any other host."""
    balancers = [group for group in groups.values() if _component(group).id == BALANCER and _on(group, host)]
    others = [member["address"] for group in balancers for member in group["members"] if member["host"] != host]
    return _collapse(ipaddress.ip_network(address) for address in others)


def ruleset(ports: Mapping[int, Sources], vrrp: Sources = ()) -> str:
    """The file for `nft -f` that replaces the table `inet rackspread`, and nothing else, in one step."""
    lines = [
        "# Written by rackspread.ha.firewall: the managed ports of this host. Changes are overwritten.",
        "table inet rackspread",
        "delete table inet rackspread",
        "table inet rackspread {",
        "\tchain input {",
        "\t\ttype filter hook input priority filter; policy accept;",
        '\t\tiifname "lo" accept',
    ]
    if vrrp:
        lines += [f"\t\tmeta l4proto {VRRP} {match}accept" for match in _matches(vrrp)]
        lines.append(f"\t\tmeta l4proto {VRRP} drop")
    if ports:
        lines.append("\t\ttcp flags & (fin | syn | rst | ack) != syn accept")
        by_sources: dict[Sources, list[int]] = {}
        for port, sources in ports.items():
            by_sources.setdefault(sources, []).append(port)
        for sources, same in by_sources.items():
            lines += [f"\t\ttcp dport {_set(same)} {match}accept" for match in _matches(sources)]
        lines.append(f"\t\ttcp dport {_set(ports)} drop")
    return "\n".join([*lines, "\t}", "}", ""])


def _component(group: Mapping[str, Any]) -> Component:
    return BY_ID[f"{group['service']}_{group['component']}"]


def _on(group: Mapping[str, Any], host: str) -> list[Mapping[str, Any]]:
    return [member for member in group["members"] if member["host"] == host]


def _sources(
    who: Iterable[str], groups: Groups, group: Mapping[str, Any], clients: Mapping[str, Iterable[str]]
) -> Iterable[Network]:
    """The networks behind the words of a row of REACH."""
    for one in who:
        if one in (CLIENTS, NAMED):
            for network in clients.get(group["service"]) or (ANYBODY if one == CLIENTS else ()):
                try:
                    yield ipaddress.ip_network(network, strict=False)
                except ValueError:
                    sentence = f"{network!r}, of the clients of {group['service']}, is not a network."
                    raise Refusal("RS-004", sentence, wanted="a list of networks, 10.0.0.0/8") from None
            continue
        members = group["members"] if one == GROUP else _members(groups, one)
        yield from (ipaddress.ip_network(member["address"]) for member in members)


def _members(groups: Groups, component: str) -> list[Mapping[str, Any]]:
    return [member for group in groups.values() if _component(group).id == component for member in group["members"]]


def _collapse(networks: Iterable[Network]) -> Sources:
    """The same addresses in the fewest networks, sorted: nftables refuses a set with overlaps."""
    every = list(networks)
    four = [network for network in every if isinstance(network, ipaddress.IPv4Network)]
    six = [network for network in every if isinstance(network, ipaddress.IPv6Network)]
    return (*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six))


def _matches(sources: Sources) -> list[str]:
    """The expression of nftables for each address family in the sources, or one that says nothing for anybody."""
    if sum(network.prefixlen == 0 for network in sources) == len(ANYBODY):
        return [""]
    matches = []
    for version, protocol in ((4, "ip"), (6, "ip6")):
        networks = [network for network in sources if network.version == version]
        if any(network.prefixlen == 0 for network in networks):
            matches.append(f"meta nfproto ipv{version} ")
        elif networks:
            matches.append(f"{protocol} saddr {_set(str(n[0]) if n.num_addresses == 1 else n for n in networks)} ")
    return matches


def _set(elements: Iterable[object]) -> str:
    return f"{{ {', '.join(str(element) for element in elements)} }}"
