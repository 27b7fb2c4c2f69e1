# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts themselves remember of a site, against what the lock says, and the lock made anew of it. Pure.

A record is what docs/architecture.md says, or None where the host has none. The key of a group in it is the group's,
with the program's name behind it where two programs share a group (edge_balancer1_haproxy).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

Record = Mapping[str, Any]
Records = Mapping[str, Record | None]


def compare(lock: Lock, records: Records) -> list[Refusal]:
    """Every contradiction between the lock and what hosts remember.

    Args:
        lock: the site's; the empty one where there is none.
        records: host -> its record, of the hosts that were asked.

    Returns: refusals RS-047 (no lock, and the site lives) or RS-048, at most one a host.
    """
    known = {host: record for host, record in sorted(records.items()) if record}
    if lock.site_id is None:
        if not known:
            return []
        host, record = next(iter(known.items()))
        what = next(iter(sorted(record["groups"])), "no group yet")
        sentence = f"There is no lock, but {', '.join(known)} belong to a site already: {host} to {record['site_id']}"
        return [Refusal("RS-047", f"{sentence}, with {what}.")]
    return [
        Refusal("RS-048", f"{host} {difference}.", host=host)
        for host, record in known.items()
        if (difference := next(_differences(lock, host, record), None))
    ]


def _differences(lock: Lock, host: str, record: Record) -> Iterator[str]:
    """What a host remembers otherwise, the gravest first, as the rest of a sentence that begins with its name."""
    if record["site_id"] != lock.site_id:
        yield f"belongs to the site {record['site_id']}, and the lock is of {lock.site_id}"
        return
    if record.get("generation", 0) > lock.generation:
        yield f"was last changed by generation {record['generation']} of the lock, and this is {lock.generation}"
    for name, part in sorted(record["groups"].items()):
        group = lock.groups.get(_key(part, name))
        if group is None:
            yield f"has a member of {name}, which the lock does not know"
            continue
        own = next((member for member in group.members if member.id == part["member"]), None)
        if part["index"] != group.index:
            yield f"knows {name} by the index {part['index']}, and the lock has {group.index}"
        elif any(member.id == part["member"] and member.host == host for member in group.gone):
            continue  # it lost its disk, and is put away by the same run that puts another in its place
        elif own is None or own.host != host:
            place = f"on {own.host}" if own else "nowhere"
            yield f"has member {part['member']} of {name}, which the lock has {place}"
        elif part.get("formed") and group.formed and part["formed"] != group.formed:
            yield f"knows {name} as the cluster {part['formed']}, and the lock as {group.formed}"


def rebuild(records: Records) -> Lock:
    """The lock that these records were written by, as far as they tell: same site, members, ids and indices.

    Args:
        records: host -> its record, of every host of the inventory.

    Raises Refusal RS-049 where no host has one, or two contradict each other.
    """
    known = {host: record for host, record in sorted(records.items()) if record}
    if not known:
        raise Refusal("RS-049", "No host has a record: there is nothing to rebuild the lock from.")
    sites: dict[str, list[str]] = defaultdict(list)
    parts: dict[str, dict[str, tuple[int, Record]]] = defaultdict(dict)
    for host, record in known.items():
        sites[record["site_id"]].append(host)
        for name, part in record["groups"].items():
            parts[_key(part, name)][host] = record.get("generation", 0), part
    if len(sites) > 1:
        told = "; ".join(f"{', '.join(hosts)}: {site}" for site, hosts in sites.items())
        raise Refusal("RS-049", f"The hosts belong to different sites ({told}).")
    generation = max(record.get("generation", 0) for record in known.values())
    groups = {key: _group(key, said) for key, said in sorted(parts.items())}
    return Lock(next(iter(sites)), generation, {}, groups)


def _group(key: str, said: Mapping[str, tuple[int, Record]]) -> LockedGroup:
    """One group of what its members' hosts remember: the latest has the members, and nobody may know it otherwise."""
    latest = max(said.items(), key=lambda item: (item[1][0], item[0]))[1][1]
    members = tuple(Member.from_dict(member) for member in latest["members"])
    places = {member.id: member.host for member in members}

    def only(what: str, values: list[Any]) -> Any:
        found = {repr(value): value for value in values if value is not None}
        if len(found) > 1:
            raise Refusal("RS-049", f"The hosts of {key} remember different {what}: {', '.join(sorted(found))}.")
        return next(iter(found.values()), None)

    parts = [part for _generation, part in said.values()]
    for host, (_generation, part) in said.items():
        if places.get(part["member"]) != host:
            where = places.get(part["member"], "nowhere")
            raise Refusal("RS-049", f"{host} has member {part['member']} of {key}, and another host has it {where}.")
    return LockedGroup(
        index=only("indices", [part["index"] for part in parts]),
        next_id=max([*(part.get("next_id") or 0 for part in parts), *(each + 1 for each in places)]),
        members=members,
        intent=only("intents", [part.get("intent") for part in parts]),
        formed=only("clusters", [part.get("formed") for part in parts]),
    )


def _key(part: Record, name: str) -> str:
    """The group's key, of the key in a record: what follows the index is a program."""
    component, _index, rest = name.partition(str(part["index"]))
    return f"{component}{part['index']}" if rest.startswith("_") else name
