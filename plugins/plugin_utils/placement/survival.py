# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a placement survives: any one host, any one rack, any rack and any host beside it. And Redis' slots."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .catalogue import BY_ID, fronted

SLOTS = 16384
"""The hash slots of a Redis Cluster."""


@dataclass(frozen=True, slots=True)
class Body:
    """Members that stand or fall together, one a place.

    Attributes:
        name: of the group, or of the component whose leaders elect.
        places: the host and the rack of each member.
        votes: whether a majority must be left (of a quorum, or of leaders that elect).
        loses: what is gone when too few are left.
        needs: how many must be left where they do not vote; all but one of them, where that is less.
    """

    name: str
    places: tuple[tuple[str, str], ...]
    votes: bool
    loses: str
    needs: int = 1

    @property
    def spare(self) -> int:
        """How many members it can lose."""
        size = len(self.places)
        return (size - 1) // 2 if self.votes else size - max(1, min(self.needs, size - 1))


def bodies_of(groups: Iterable[Mapping[str, Any]], votes: bool = False, leaders_vote: bool = False) -> list[Body]:
    """The bodies of groups `{name, members: [{host, rack, leader}]}`.

    Args:
        groups: those that name `service` and `component` vote as the catalogue says.
        votes: whether the members of the others are voters.
        leaders_vote: whether the leaders of the others, all together, elect.
    """
    bodies: list[Body] = []
    electorate: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for group in groups:
        component = BY_ID.get(f"{group.get('service')}_{group.get('component')}")
        quorum = component.votes if component else votes
        places = tuple((member["host"], member["rack"]) for member in group["members"])
        passes_on = component is not None and bool(fronted(component))
        needs = component.needs if component else 1
        loses = "quorum" if quorum else "service" if passes_on else "data" if needs == 1 else "writes"
        bodies.append(Body(group["name"], places, quorum, loses, needs))
        if component.leaders_vote if component else leaders_vote:
            name = f"the leadership of {component.id}" if component else "the leadership"
            electorate[name] += [(m["host"], m["rack"]) for m in group["members"] if m.get("leader")]
    for name, leading in electorate.items():
        bodies.append(Body(name, tuple(leading), votes=True, loses="a majority"))
    return bodies


def survives(bodies: Sequence[Body]) -> dict[str, Any]:
    """What the loss of a host, of a rack, and of a rack and a host outside of it would stop.

    Returns `host`, `rack` and `rack_and_host`, each `{survives, lost: [{name, without, loses, left, of}]}`, where
    `without` are the racks and hosts that are gone; and `witness`, sentences where a place outside of the racks helps.
    Time O(members).
    """
    events = {"host": _hosts, "rack": _racks, "rack_and_host": _racks_and_hosts}
    answer: dict[str, Any] = {}
    for name, lost_by in events.items():
        lost = [_lost(body, without, gone) for body in bodies for without, gone in lost_by(body) if gone > body.spare]
        answer[name] = {"survives": not lost, "lost": lost}
    answer["witness"] = [said for body in bodies if (said := _witness(body))]
    return answer


def _lost(body: Body, without: list[str], gone: int) -> dict[str, Any]:
    size = len(body.places)
    return {"name": body.name, "without": without, "loses": body.loses, "left": size - gone, "of": size}


def _hosts(body: Body) -> Iterator[tuple[list[str], int]]:
    for host, gone in Counter(host for host, _rack in body.places).items():
        yield [host], gone


def _racks(body: Body) -> Iterator[tuple[list[str], int]]:
    for rack, gone in Counter(rack for _host, rack in body.places).items():
        yield [rack], gone


def _racks_and_hosts(body: Body) -> Iterator[tuple[list[str], int]]:
    """Of each rack the host outside of it that takes most with it. A rack without any of the body is no worse."""
    racks = Counter(rack for _host, rack in body.places)
    hosts = Counter(body.places)
    for rack, gone in racks.items():
        beside = [(count, host) for (host, other), count in hosts.items() if other != rack]
        count, host = max(beside, key=lambda item: item[0], default=(0, ""))
        yield [rack, host] if host else [rack], gone + count


def _witness(body: Body) -> str | None:
    """What a body of voters on two racks needs: whichever rack has the majority, its loss stops it."""
    racks = Counter(rack for _host, rack in body.places)
    if not body.votes or len(racks) != 2 or len(body.places) < 2:
        return None
    first, second = sorted(racks)
    need = max(1, len(body.places) - 2 * ((len(body.places) - 1) // 2))
    many = "a member" if need == 1 else f"{need} members"
    return (
        f"{body.name} stands on two racks, and one of them has no less than half of it: it needs {many}"
        f" in a third place, outside of {first} and {second}; a small machine is enough for a witness."
    )


def slot_ranges(masters: int) -> list[str]:
    """The hash slots of Redis Cluster in as many ranges as there are masters, the first ones longer by one slot.

    Raises ValueError where there is no master, or more than slots.
    """
    if not 1 <= masters <= SLOTS:
        raise ValueError(f"{masters} masters can't share {SLOTS} slots")
    even, odd = divmod(SLOTS, masters)
    firsts = [number * even + min(number, odd) for number in range(masters + 1)]
    return [f"{first}-{after - 1}" for first, after in pairwise(firsts)]
