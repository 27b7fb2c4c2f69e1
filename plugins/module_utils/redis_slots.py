# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots of a living Redis Cluster go from shard to shard: which, and how one does.

`plan` decides, and knows nothing of hosts. `move` takes one slot, key by key, as redis.io's cluster specification
describes it: whoever asks meanwhile is sent on by the nodes. It may be cut short anywhere: what is half moved the nodes
themselves know (`half_moved`), and is ended first by whoever comes next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .redis_home import NoAnswer, Node

SLOTS = 16384
BATCH = 50
"""Keys that a master hands on at once; it serves nobody else meanwhile."""
MIGRATE_SECONDS = 5
OWNER = "already the owner"
"""In the answer of a node that is to take a slot and has it: an earlier attempt came so far."""


@dataclass(frozen=True)
class Shift:
    """A slot goes from one shard to another."""

    slot: int
    source: str
    target: str


def spread(ranges: Iterable[str]) -> list[int]:
    """The slots of ranges as CLUSTER NODES has them, "0-5461" or "7"."""
    found: list[int] = []
    for each in ranges:
        first, _dash, last = each.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def plan(owned: Mapping[str, Sequence[int]], emptied: Iterable[str] = ()) -> list[Shift]:
    """The fewest shifts after which all shards have the same number of slots, give or take one, and some have none.

    Args:
        owned: every shard with its slots; together all that there are.
        emptied: the shards that are to have none.

    Who has more than its share keeps its first slots. Shards take turns in giving and in taking, so that a plan that
    is cut short is as fair as it can be. Raises ValueError where no shard would be left.
    """
    emptied = set(emptied)
    staying = sorted(owned.keys() - emptied, key=lambda name: (-len(owned[name]), len(name), name))
    if not staying:
        raise ValueError("no shard would have slots")
    even, odd = divmod(sum(map(len, owned.values())), len(staying))
    share = dict.fromkeys(owned, 0) | {name: even + (at < odd) for at, name in enumerate(staying)}
    given = _in_turn({name: sorted(slots)[share[name]:] for name, slots in owned.items()})
    taken = _in_turn({name: [name] * (share[name] - len(slots)) for name, slots in owned.items()})
    return [Shift(slot, source, target) for (source, slot), (target, _name) in zip(given, taken, strict=True)]


def _in_turn(items: Mapping[str, Sequence[Any]]) -> list[tuple[str, Any]]:
    """All items with their owners, one of each owner after another."""
    longest = max(map(len, items.values()), default=0)
    return [(name, those[at]) for at in range(longest) for name, those in items.items() if at < len(those)]


def half_moved(masters: Mapping[str, Node], raw: Mapping[str, str]) -> list[Shift]:
    """The slots on their way, by what masters say of themselves.

    Args:
        masters: by shard the node that leads it.
        raw: by shard what that node answered to CLUSTER NODES, in which its own line has `[7->-id]` for a slot that it
            gives, `[7-<-id]` for one that it takes.
    """
    names = {node.id: name for name, node in masters.items()}
    found = []
    for name, text in raw.items():
        own = next(line for line in text.splitlines() if "myself" in line.split()[2])
        for word in own.split()[8:]:
            if word.startswith("["):
                slot, direction, other = word[1:-1].partition("->-" if "->-" in word else "-<-")
                if other not in names:
                    raise ValueError(f"slot {slot} of {name} is on its way to or from {other}, which leads no shard")
                source, target = (name, names[other]) if direction == "->-" else (names[other], name)
                found.append(Shift(int(slot), source, target))
    return list(dict.fromkeys(found))


@dataclass
class Mover:
    """Moves slots between masters.

    Args:
        masters: by shard the node that leads it.
        ask: sends a command to the node that leads a shard.
        login: user and password by which one master comes to another.
        rate: keys a second at most.
        attempts: how often a slot is tried, a second apart: a master may be without its replicas for a moment.
        pause: lets seconds pass.
        keys: how many were moved so far.
    """

    masters: Mapping[str, Node]
    ask: Callable[..., Any]
    login: tuple[str, str]
    rate: float
    attempts: int = 30
    pause: Callable[[float], None] = time.sleep
    keys: int = 0

    def move(self, shift: Shift) -> None:
        """Move a slot with all its keys. Raises NoAnswer, and may then be called again."""
        for attempt in range(1, self.attempts + 1):
            try:
                self._try(shift)
                return
            except NoAnswer:
                if attempt == self.attempts:
                    raise
                self.pause(1)

    def _try(self, shift: Shift) -> None:
        source, target = self.masters[shift.source], self.masters[shift.target]
        try:
            self.ask(shift.target, "CLUSTER", "SETSLOT", shift.slot, "IMPORTING", source.id)
            self.ask(shift.source, "CLUSTER", "SETSLOT", shift.slot, "MIGRATING", target.id)
        except NoAnswer as error:
            if OWNER not in str(error):
                raise
        where = (target.address, target.port, "", 0, MIGRATE_SECONDS * 1000)
        while keys := self.ask(shift.source, "CLUSTER", "GETKEYSINSLOT", shift.slot, BATCH):
            # As long as the source has a key, it is the source that serves it: what an earlier attempt left is older.
            self.ask(shift.source, "MIGRATE", *where, "REPLACE", "AUTH2", *self.login, "KEYS", *keys)
            self.keys += len(keys)
            self.pause(len(keys) / self.rate)
        # Its taker first: who gave it would else send clients to one that sends them back (redis.io, CLUSTER SETSLOT).
        others = [name for name in self.masters if name not in (shift.target, shift.source)]
        for name in (shift.target, shift.source, *others):
            self.ask(name, "CLUSTER", "SETSLOT", shift.slot, "NODE", target.id)
