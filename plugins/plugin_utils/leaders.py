# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where etcd's leader had better be: in a rack without a leader that keeps its place by etcd.

When a Postgres leader's rack is lost, the others wait until its lease in etcd has run out. A rack that takes etcd's
leader with it makes that longer, since a new leader of etcd renews every lease. A pure function; it moves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Move:
    """Leadership of etcd goes from one voter to another (ids); `reason` is a sentence."""

    leader: int
    target: int
    reason: str


def better(
    members: Sequence[Mapping[str, Any]], seen: Mapping[int, Mapping[str, Any]], racks: Iterable[str]
) -> Move | None:
    """The move that takes etcd's leader out of a rack with leaders, where another rack has fewer of them.

    Args:
        members: the voters, M of docs/architecture.md.
        seen: by a voter's id what it said, a Live of docs/architecture.md.
        racks: the rack of each leader of a group that depends on etcd; one that leads nothing now has none.

    None where nothing is gained, and where not every voter is healthy: an etcd that lacks one is left alone.
    """
    if not all(seen.get(member["id"], {}).get("healthy") for member in members):
        return None
    leaders = [member for member in members if seen[member["id"]].get("role") == "leader"]
    if len(leaders) != 1:
        return None
    leader, led = leaders[0], Counter(racks)
    target = min(members, key=lambda member: (led[member["rack"]], member is not leader, member["id"]))
    if led[target["rack"]] >= led[leader["rack"]]:
        return None
    return Move(
        leader["id"],
        target["id"],
        f"{leader['host']} leads etcd in {leader['rack']}, where {_leaders(led[leader['rack']])};"
        f" in {target['rack']} {_leaders(led[target['rack']])}",
    )


def _leaders(number: int) -> str:
    return {0: "no leader of a shard is", 1: "a leader of a shard is"}.get(number, f"{number} leaders of shards are")
