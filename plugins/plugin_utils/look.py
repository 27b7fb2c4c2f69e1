# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges what the hosts of a site answered to a look (host_info), all together and before anything is changed."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from .firewall import BALANCER, openings
from .refusals import Refusal

Look = Mapping[str, Any]
Looks = Mapping[str, Look]

RELEASES = {("debian", "13")}
"""Distribution and version of the hosts that the roles are made for."""
APART = 1.0
"""Seconds by which a host's clock may differ from the others'."""
OWN_UNITS = "rackspread-"


def with_offset(info: Look, asked: float, answered: float) -> dict[str, Any]:
    """What host_info answered, the two times that it read turned into bounds of its clock's offset.

    The look began after the question and ended before the answer: what is ahead by more is the clock.
    """
    clock = info["clock"]
    return {**info, "clock": {"least": clock["ended"] - answered, "most": clock["began"] - asked}}


def judge(looks: Looks, topology: Mapping[str, Any], weights: Mapping[str, int]) -> list[Refusal]:
    """Every reason not to go on with these hosts.

    Args:
        looks: the `info` of host_info by host; a host that did not answer is absent and not judged.
        topology: the whole site, as the lookup `rackspread.ha.topology` answers it.
        weights: the memory of a member in MiB by component (`postgres_shard`).
    """
    carried: dict[str, list[str]] = {host: [] for host in looks}
    for key, group in topology["groups"].items():
        for member in group["members"]:
            if member["host"] in carried:
                carried[member["host"]].append(key)
    refusals: list[Refusal] = []
    for host, look in looks.items():
        refusals += _release(host, look)
        refusals += _identity(host, look, topology)
        refusals += _address(host, look, topology)
        refusals += _memory(host, look, carried[host], topology, weights)
        refusals += _ports(host, look, topology)
        refusals += _folders(host, look)
    refusals += _clocks(looks)
    refusals += _balancers(looks, topology)
    refusals += _machines(looks)
    return refusals


def _release(host: str, look: Look) -> Iterator[Refusal]:
    release = look["release"]
    if (release["id"], release["version"]) not in RELEASES:
        yield Refusal("RS-050", f"{host} runs {release['name'] or 'an unknown system'}.", host=host)


def _clocks(looks: Looks) -> Iterator[Refusal]:
    if not looks:
        return
    # The controller's own clock may be wrong: it only carries the comparison of the hosts with each other.
    middle = median((look["clock"]["least"] + look["clock"]["most"]) / 2 for look in looks.values())
    for host, look in looks.items():
        ahead, behind = look["clock"]["least"] - middle, middle - look["clock"]["most"]
        if max(ahead, behind) > APART:
            side = "ahead of" if ahead > behind else "behind"
            yield Refusal("RS-051", f"The clock of {host} is {max(ahead, behind):.1f} s {side} the others'.", host=host)


def _memory(
    host: str, look: Look, carried: list[str], topology: Mapping[str, Any], weights: Mapping[str, int]
) -> Iterator[Refusal]:
    costs = {key: weights.get(_component(topology["groups"][key]), 0) for key in carried}
    if sum(costs.values()) > look["memory"]:
        members = ", ".join(f"{key} {cost}" for key, cost in costs.items())
        sentence = f"{host} has {look['memory']} MiB of memory, and its members need {sum(costs.values())} ({members})."
        yield Refusal("RS-052", sentence, host=host)


def _ports(host: str, look: Look, topology: Mapping[str, Any]) -> Iterator[Refusal]:
    address = topology["hosts"][host]["address"]
    vips = {vip.partition("/")[0] for vip in topology["settings"].get("edge", {}).get("vips", [])}
    managed = openings(topology["groups"], host)
    foreign: dict[tuple[str, str], set[int]] = defaultdict(set)
    for listener in look["listeners"]:
        ours = listener["unit"].startswith(OWN_UNITS)
        if listener["port"] in managed and not ours and listener["address"] in {"*", address, *vips}:
            foreign[listener["unit"], listener["command"]].add(listener["port"])
    for (unit, command), ports in sorted(foreign.items()):
        where = f"{command} ({unit})" if unit else command
        many = f"port{'s' if len(ports) > 1 else ''} {', '.join(str(port) for port in sorted(ports))}"
        yield Refusal("RS-053", f"{where} listens on {many} of {host}, where a member should.", what=unit or command)


def _address(host: str, look: Look, topology: Mapping[str, Any]) -> Iterator[Refusal]:
    address = ipaddress.ip_address(topology["hosts"][host]["address"])
    present = [ipaddress.ip_interface(one["address"]) for one in look["addresses"]]
    if address not in {one.ip for one in present}:
        there = ", ".join(str(one.ip) for one in present) or "none"
        yield Refusal("RS-054", f"{host} does not have the address {address} itself; it has {there}.", host=host)


def _balancers(looks: Looks, topology: Mapping[str, Any]) -> Iterator[Refusal]:
    """VRRP needs the balancers in one network, by the prefixes that their interfaces really have."""
    vips = [ipaddress.ip_interface(vip) for vip in topology["settings"].get("edge", {}).get("vips", [])]
    for key, group in topology["groups"].items():
        if _component(group) != BALANCER or not vips:
            continue
        networks: dict[Any, list[str]] = defaultdict(list)
        for member in group["members"]:
            for one in looks.get(member["host"], {}).get("addresses", []):
                interface = ipaddress.ip_interface(one["address"])
                if interface.ip == ipaddress.ip_address(member["address"]):
                    networks[interface.network].append(member["host"])
        if len(networks) > 1:
            where = "; ".join(f"{', '.join(hosts)} in {network}" for network, hosts in networks.items())
            yield Refusal("RS-055", f"The balancers of {key} are in different networks: {where}.")
            continue
        for network in networks:
            for vip in vips:
                if vip.ip not in network:
                    sentence = f"The VIP {vip.ip} is not in {network}, the network of the balancers of {key}."
                    yield Refusal("RS-055", sentence)


def _folders(host: str, look: Look) -> Iterator[Refusal]:
    known = (look["record"] or {}).get("groups", {})
    for path, folder in look["folders"].items():
        group = path.rstrip("/").rpartition("/")[2]
        if folder["entries"] and folder["marker"] is None and group not in known:
            sentence = f"{path} on {host} holds data that no member of this site left there."
            yield Refusal("RS-056", sentence, path=path, host=host)


def _identity(host: str, look: Look, topology: Mapping[str, Any]) -> Iterator[Refusal]:
    """What the host's record says of it, against the inventory and the host itself."""
    record = look["record"] or {}
    wanted = {
        "site_id": ("site", topology["site"]["id"]),
        "host": ("name", host),
        "rack": ("rack", topology["hosts"][host]["rack"]),
        "machine_id": ("machine id", look["machine_id"]),
    }
    for key, (word, value) in wanted.items():
        if value and record.get(key, value) != value:
            sentence = f"{host} has a record of the {word} {record[key]}, and the {word} now is {value}."
            yield Refusal("RS-057", sentence, host=host)


def _machines(looks: Looks) -> Iterator[Refusal]:
    """Two names of one machine, or clones of one image: nothing could tell their members apart."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for host, look in looks.items():
        hosts[look["machine_id"]].append(host)
    for machine, same in hosts.items():
        if machine and len(same) > 1:
            yield Refusal("RS-059", f"{', '.join(same)} have one machine id, {machine}.")


def _component(group: Mapping[str, Any]) -> str:
    return f"{group['service']}_{group['component']}"
