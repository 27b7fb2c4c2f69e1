# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probes of a drill: which run for a service, what each is told, and what it needs on its host."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils import probing
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.survival import slot_ranges
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.report import (
    balancers,
    proxy_endpoints,
    published_addresses,
    shard_endpoints,
    socket_of,
)

IDENTITY = "probe/etcd"
"""Folder of the probe's certificate of etcd's authority, below /etc/rackspread/pki of the probe host."""

PROGRAMS = Path(__file__).resolve().parents[3] / "probes"

KNOCK_SECONDS = 0.4
KNOCKS = 25
"""A knock every 40 ms; ten clients take turns, so that one that waits for an answer keeps none of the next back."""

ETCD_SECONDS = 0.5
"""A quorum's word takes milliseconds. What a client waits in vain is added to the outage that it sees, once a voter."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One of the clients that count.

    Args:
        service: the name of its program, `probes/<service>.py`.
        settings: what it is told.
        secrets: what comes on top of that and must not be seen.
        texts: files beside it, by name.
        packages: of Debian, that its host needs.
        certificates: that its host needs, as the action certificates takes them.
    """

    service: str
    settings: Mapping[str, Any]
    secrets: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    certificates: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What clients come in with, and what they must know of the site as it stands.

    Args:
        login: answers that of Postgres, `{user, database, password}`.
        authority: answers the PEM text of a service's CA.
        secret: answers a secret of a service, by both names (secrets.SECRETS).
        slots: by shard of Redis the ranges that it has; a shard that is not named has its even share.
    """

    login: Callable[[], Mapping[str, str]]
    authority: Callable[[str], str]
    secret: Callable[[str, str], str]
    slots: Mapping[str, Sequence[str]] = field(default_factory=dict)


def files_of(probe: Probe) -> dict[str, str]:
    """The texts that a probe's host must have beside each other, by name: its program and what that needs."""
    names = (f"{probe.service}.py", probing.SHARED)
    return {**probe.texts, **{name: (PROGRAMS / name).read_text(encoding="utf-8") for name in names}}


def probes_of(service: str, topology: Mapping[str, Any], access: Access) -> list[Probe]:
    """The probes that run in a drill of a service: its own, and one that knocks at the virtual addresses.

    Raises Refusal RS-101 for a service without a probe, or without what its probe goes through.
    """
    vips = topology["settings"].get("edge", {}).get("vips", [])
    knocking = [_edge(topology, access)] if vips else []
    if service == "edge" and not knocking:
        raise Refusal(
            "RS-101", "The balancers of this site share no address.", hint="Drill the services behind them instead."
        )
    if service == "edge":
        return knocking
    if service not in OWN:
        raise Refusal("RS-101", f"{service} has no probe.", hint=f"Services are: edge, {', '.join(OWN)}.")
    return [OWN[service](topology, access), *knocking]


def _edge(topology: Mapping[str, Any], access: Access) -> Probe:
    port = balancers(topology)[0]["ports"]["main"]
    return Probe(
        "edge",
        {
            "targets": {
                address: {"knock": {"host": address, "port": port}} for address in published_addresses(topology)
            },
            "ca": f"{probing.folder('edge')}/ca.crt",
            "rate": KNOCKS,
            "workers": round(KNOCKS * KNOCK_SECONDS),
            "timeout": KNOCK_SECONDS,
        },
        texts={"ca.crt": access.authority("edge")},
    )


def _postgres(topology: Mapping[str, Any], access: Access) -> Probe:
    endpoints = shard_endpoints(topology)
    if not endpoints:
        raise Refusal(
            "RS-101", "No shard of Postgres is published by balancers.", hint="Give the site an `edge` with balancers."
        )
    hosts = ",".join(published_addresses(topology))
    login = access.login()
    return Probe(
        "postgres",
        {
            "targets": {
                key: {"write": {"host": hosts, "port": write}, "read": {"host": hosts, "port": read}}
                for key, write, read in endpoints
            },
            "connect": {
                "user": login["user"],
                "dbname": login["database"],
                "sslmode": "verify-full",
                "sslrootcert": f"{probing.folder('postgres')}/ca.crt",
                "sslcertmode": "disable",  # no certificate of whoever runs it is looked for
            },
        },
        secrets={"connect": {"password": login["password"]}},
        texts={"ca.crt": access.authority("postgres")},
        packages=("python3-psycopg",),
    )


def _etcd(topology: Mapping[str, Any], access: Access) -> Probe:
    pki = f"/etc/rackspread/pki/{IDENTITY}"
    targets = {}
    for key, group in topology["groups"].items():
        if group["service"] == "etcd":
            members = group["members"]
            urls = [f"https://{socket_of(member['address'], member['ports']['main'])}" for member in members]
            targets[key] = {"write": {"endpoints": urls}, "read": {"endpoints": [*urls[1:], urls[0]]}}
    return Probe(
        "etcd",
        {
            "targets": targets, "timeout": ETCD_SECONDS,
            "ca": f"{pki}/ca.crt", "certificate": f"{pki}/tls.crt", "key": f"{pki}/tls.key",
        },
        certificates=({"service": "etcd", "folder": IDENTITY, "group": "root", "client": True},),
    )  # fmt: skip


def _redis(topology: Mapping[str, Any], access: Access) -> Probe:
    """Each shard's slots, through the proxies, at the nodes, and at the nodes with WAIT."""
    groups = {key: group for key, group in topology["groups"].items() if group["service"] == "redis"}
    shards = {key: group["members"] for key, group in groups.items() if group["component"] == "shard"}
    proxies = [list(endpoint) for endpoint in proxy_endpoints(topology)]
    targets: dict[str, Any] = {}
    for key, share in zip(shards, slot_ranges(len(shards)), strict=True):
        own: dict[str, Any] = {"slots": list(access.slots.get(key) or [share])}
        if proxies:
            through = {**own, "proxies": proxies}
            targets[f"{key} by proxy"] = {"write": through, "read": through}
        targets[f"{key} by node"] = {"write": own, "read": own}
        targets[f"{key} by node, WAIT 1"] = {"write": {**own, "wait": 1}}
    return Probe(
        "redis",
        {
            "targets": targets,
            "nodes": [[each["address"], each["ports"]["main"]] for members in shards.values() for each in members],
            "user": "application",
            "ca": f"{probing.folder('redis')}/ca.crt",
            "timeout": 0.5,
        },
        secrets={"password": access.secret("redis", "application")},
        texts={"ca.crt": access.authority("redis")},
        packages=("python3-redis",),
    )


def _kafka(topology: Mapping[str, Any], access: Access) -> Probe:
    """As many partitions as there are brokers, each led by another of them; and a consumer group of them all."""
    groups = [group for group in topology["groups"].values() if group["service"] == "kafka"]
    brokers = [member for group in groups if group["component"] == "broker" for member in group["members"]]
    partitions = {f"partition {n}": {"write": {"partition": n}, "read": {"partition": n}} for n in range(len(brokers))}
    return Probe(
        "kafka",
        {
            "targets": {**partitions, "group": {"read": {}}},
            "bootstrap": ",".join(socket_of(each["address"], each["ports"]["main"]) for each in brokers),
            "user": "admin",
            "ca": f"{probing.folder('kafka')}/ca.crt",
            "timeout": 30,
        },
        secrets={"password": access.secret("kafka", "admin")},
        texts={"ca.crt": access.authority("kafka")},
        packages=("python3-confluent-kafka",),
    )


OWN: Mapping[str, Callable[[Mapping[str, Any], Access], Probe]] = {
    "etcd": _etcd,
    "postgres": _postgres,
    "redis": _redis,
    "kafka": _kafka,
}
