# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator wants to know of a site that runs: what is where, where clients connect, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.text import draw, table


@dataclass(frozen=True, slots=True)
class Login:
    """Who connects, as the playbooks made it."""

    user: str
    database: str
    statistics: str


def render(topology: Mapping[str, Any], login: Login, width: int = 100) -> str:
    """The report of a site as lines of plain text; no secret is in it.

    Args:
        topology: of a `Site`.
        login: the names to connect with.
        width: the columns of the terminal.
    """
    parts = [draw(topology, width)]
    if shards := shard_endpoints(topology):
        parts += [_endpoints(topology, shards), _connecting(topology, shards, login)]
    if nodes := list(_members(topology, "redis", "shard")):
        parts.append(_redis(topology, nodes[0]))
    if brokers := list(_members(topology, "kafka", "broker")):
        parts.append(_kafka(topology, brokers))
    return "\n\n".join(parts)


def published_addresses(topology: Mapping[str, Any]) -> list[str]:
    """Where clients reach the balancers: the VIPs, or the balancers' own addresses where there are none."""
    vips = topology["settings"].get("edge", {}).get("vips", [])
    return [str(ip_interface(vip).ip) for vip in vips] or [member["address"] for member in balancers(topology)]


def shard_endpoints(topology: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Each shard that clients reach through balancers, with its port for writes and the one for reads."""
    if not balancers(topology):
        return []
    return [
        (key, group["members"][0]["ports"]["write"], group["members"][0]["ports"]["read"])
        for key, group in topology["groups"].items()
        if group["service"] == "postgres" and group["component"] == "shard"
    ]


def proxy_endpoints(topology: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Where clients of Redis that know nothing of its cluster go: to the balancers, else to the proxies themselves."""
    proxies = list(_members(topology, "redis", "proxy"))
    if proxies and balancers(topology):
        return [(address, proxies[0]["ports"]["front"]) for address in published_addresses(topology)]
    return [(member["address"], member["ports"]["main"]) for member in proxies]


def _endpoints(topology: Mapping[str, Any], shards: list[tuple[str, int, int]]) -> str:
    rows: list[list[str]] = [["clients connect to", "writes", "reads from replicas"]]
    addresses = published_addresses(topology)
    for key, write, read in shards:
        rows.append([key, *(" ".join(socket_of(address, port) for address in addresses) for port in (write, read))])
    return table(rows)


def _connecting(topology: Mapping[str, Any], shards: list[tuple[str, int, int]], login: Login) -> str:
    state = _shortened(topology["state"])
    host = ",".join(published_addresses(topology))
    psql = (
        f'psql "host={host} port={shards[0][1]} dbname={login.database} user={login.user}'
        f' sslmode=verify-full sslrootcert={state}/pki/postgres/ca.crt"'
    )
    pages = [f"https://{socket_of(each['address'], each['ports']['main'])}" for each in balancers(topology)]
    return "\n".join([
        f"To connect:   {psql}",
        f"  the CA:       {state}/pki/postgres/ca.crt",
        f"  the password: {state}/secrets/postgres.yml, `admin`",
        f"Statistics:   {' '.join(pages)} (user {login.statistics})",
        f"  the CA:       {state}/pki/edge/ca.crt",
        f"  the password: {state}/secrets/edge.yml, `stats`",
    ])


def _redis(topology: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    state = _shortened(topology["state"])
    client = f"redis-cli --tls --cacert {state}/pki/redis/ca.crt --user application --askpass"
    ways = [f"{client} -h {address} -p {port}" for address, port in proxy_endpoints(topology)[:1]]
    return "\n".join([
        *(f"To Redis:     {way}" for way in ways),
        f"  to a node:    {client} -c -h {node['address']} -p {node['ports']['main']}",
        f"  the password: {state}/secrets/redis.yml, `application`",
    ])


def _kafka(topology: Mapping[str, Any], brokers: list[Mapping[str, Any]]) -> str:
    state = _shortened(topology["state"])
    bootstrap = ",".join(socket_of(each["address"], each["ports"]["main"]) for each in brokers[:3])
    return "\n".join([
        f"To Kafka:     bootstrap.servers={bootstrap} security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-512",
        f"  the CA:       {state}/pki/kafka/ca.crt",
        "  users:        those of `kafka_users`; the administrator is `admin`",
        f"  its password: {state}/secrets/kafka.yml, `admin`",
    ])


def balancers(topology: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The members of the site that balance."""
    return list(_members(topology, "edge", "balancer"))


def _members(topology: Mapping[str, Any], service: str, component: str) -> Iterator[Mapping[str, Any]]:
    for group in topology["groups"].values():
        if (group["service"], group["component"]) == (service, component):
            yield from group["members"]


def socket_of(address: str, port: int) -> str:
    """Address and port as they stand in a URL."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _shortened(path: str) -> str:
    """A path as it is from here, where it lies below."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
