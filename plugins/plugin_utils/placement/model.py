# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes of placement: hosts and demands go in, groups of members come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..refusals import Refusal

DATA_ROOT = "/var/lib/rackspread"
"""Where members keep their data on a host that does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host that stands in a rack.

    `capacity` is the memory for members in MiB, None where unbounded. `address` is None only where the caller has no
    use for it (the filter). `within` are the failure domains that hold the rack, the outermost first: a room, a row.
    """

    name: str
    rack: str
    address: str | None = None
    capacity: int | None = None
    data_root: str = DATA_ROOT
    data_roots: Mapping[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The failure domains that the host stands in, the outermost first and the rack last."""
        return (*self.within, self.rack)

    def data(self, service: str, group: str) -> str:
        """The directory on this host that holds the data of its member of a group."""
        return f"{self.data_roots.get(service, self.data_root)}/{group}"


@dataclass(frozen=True, slots=True)
class Member:
    """One place in a group; `leader` is the preferred leader, not the present one.

    `leaving`: another member takes over from it, after which it is stopped. It counts for nothing that is placed.
    """

    id: int
    host: str
    rack: str
    leader: bool = False
    address: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    leaving: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The member as everybody else sees it: the lock, the slices, the inputs of roles. Unknown keys are absent."""
        shape: dict[str, Any] = {"id": self.id, "host": self.host, "rack": self.rack, "leader": self.leader}
        if self.address is not None:
            shape["address"] = self.address
        if self.ports:
            shape["ports"] = dict(self.ports)
        if self.leaving:
            shape["leaving"] = True
        return shape

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> Member:
        """The inverse of `to_dict`. Raises KeyError or TypeError where the shape is not a member's."""
        return cls(
            id=shape["id"],
            host=shape["host"],
            rack=shape["rack"],
            leader=shape["leader"],
            address=shape.get("address"),
            ports=dict(shape.get("ports", {})),
            leaving=shape.get("leaving", False),
        )


@dataclass(frozen=True, slots=True)
class Group:
    """One replica group; its key is the component's name and the index: postgres_shard1."""

    key: str
    component: str
    index: int
    members: tuple[Member, ...]
    next_id: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of the engine for one component: `groups` groups of `members` members on some of `hosts`.

    Args:
        component: its name, to which an index is added to make a group's key: postgres_shard.
        hosts: the names of the hosts that may carry a member.
        weight: the memory that a member costs, MiB.
        rack_limit: the most members of a group in one rack with which the group outlives the loss of that rack.
        rack_first: whether racks come before the domains that hold them, where to spread over both can't be had.
        leads: whether a group has a preferred leader.
        leaders_vote: whether the leaders of all groups are the electorate, as the masters of Redis Cluster are.
        shrinks: whether there may be fewer groups than the lock has: those that came last then count for nothing.
        ports: name -> (base, length of the block); a group's port is the base + its index - 1.
        groups_key, members_key: what of the spec counts them, in words, for refusals: "`voters` of etcd".
    """

    component: str
    groups: int
    members: int
    hosts: tuple[str, ...]
    weight: int = 1
    rack_limit: int = 1
    rack_first: bool = False
    leads: bool = False
    leaders_vote: bool = False
    shrinks: bool = False
    ports: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    groups_key: str = "groups"
    members_key: str = "members"

    def ports_of(self, index: int) -> dict[str, int]:
        """The ports of a group. Raises Refusal RS-016 where its index is past the end of a block."""
        for name, (_base, block) in self.ports.items():
            if index > block:
                raise Refusal("RS-016", f"{self.component}{index} has no port `{name}`: the block has {block}.")
        return {name: base + index - 1 for name, (base, _block) in self.ports.items()}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where every member goes, and the index that each component gives next.

    `moves`, where they were asked for: component -> how many members moved, and a number that no way is below.
    """

    groups: Mapping[str, Group]
    next_index: Mapping[str, int]
    moves: Mapping[str, tuple[int, int]] = field(default_factory=dict)
