# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slots of a living Redis Cluster go from shard to shard: which, and how one does.

`plan` decides, and knows nothing of hosts. `Mover` takes one slot after another, by the commands of redis.io's cluster
specification: whoever asks meanwhile is sent on by the nodes. It may be cut short anywhere: what is half moved the
nodes themselves know (`half_moved`), and is ended first by whoever comes next.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .redis_home import NoAnswer, Node

SLOTS = 16384
FEWEST, MOST = 10, 1000
"""Keys that a master hands on at once; it serves nobody else meanwhile."""
HELD_UP = 0.05
"""How many seconds that may take: large values are handed on in smaller numbers."""
MIGRATE_SECONDS = 5
OWNER, NOT_OWNER = "already the owner", "not the owner"
"""In answers to SETSLOT, of one that is to take a slot and has it, or to give one and has it not: so far it came."""


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

    Who has more than its share keeps its first slots, and takers are served one after another: slots stay together in
    few ranges. Clients read the whole division again and again while slots move, and six thousand ranges, which turns
    in giving and taking would make, held some up for ten seconds. Raises ValueError where no shard would be left.
    """
    emptied = set(emptied)
    staying = sorted(owned.keys() - emptied, key=lambda name: (-len(owned[name]), len(name), name))
    if not staying:
        raise ValueError("no shard would have slots")
    even, odd = divmod(sum(map(len, owned.values())), len(staying))
    share = dict.fromkeys(owned, 0) | {name: even + (at < odd) for at, name in enumerate(staying)}
    given = [(slot, name) for name, slots in owned.items() for slot in sorted(slots)[share[name] :]]
    taken = [name for name, slots in owned.items() for _missing in range(share[name] - len(slots))]
    return [Shift(slot, source, target) for (slot, source), target in zip(given, taken, strict=True)]


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
        now: seconds of a clock that only goes forward.
        batch: how many keys are handed on at once; it follows what that took.
        keys: how many were moved so far.
    """

    masters: Mapping[str, Node]
    ask: Callable[..., Any]
    login: tuple[str, str]
    rate: float
    attempts: int = 30
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    batch: int = FEWEST
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
        except NoAnswer as error:
            if OWNER not in str(error):
                raise
        left, some = 1, 0
        while left:
            self.pause(some / self.rate)
            left, some = self._hand_on(shift)
        # Its taker first: who gave it would else send clients to one that sends them back (redis.io, CLUSTER SETSLOT).
        # It tells all the other nodes, replicas too.
        for shard in (shift.target, shift.source):
            self.ask(shard, "CLUSTER", "SETSLOT", shift.slot, "NODE", target.id)
        self.pause(some / self.rate)

    def _hand_on(self, shift: Shift) -> tuple[int, int]:
        """Hand on some keys of a slot; how many are left, and how many went.

        In one transaction, during which the master that gives serves nobody: who asks before it finds every key there,
        and few are told ASK after it. That must be few, as clients are about that do not heed ASK where it names a
        master which had no slots when they last read the division (redis-py 6 raises an AttributeError).
        Only what is counted in the same transaction is the truth: from then on the slot gets no new keys here.
        """
        target = self.masters[shift.target]
        keys = self.ask(shift.source, "CLUSTER", "GETKEYSINSLOT", shift.slot, self.batch)
        began = self.now()
        self.ask(shift.source, "MULTI")
        try:
            self.ask(shift.source, "CLUSTER", "SETSLOT", shift.slot, "MIGRATING", target.id)
            if keys:  # as long as the source has one, it is the source that serves it: what the taker may have is older
                where = (target.address, target.port, "", 0, MIGRATE_SECONDS * 1000)
                self.ask(shift.source, "MIGRATE", *where, "REPLACE", "AUTH2", *self.login, "KEYS", *keys)
            self.ask(shift.source, "CLUSTER", "COUNTKEYSINSLOT", shift.slot)
            opened, *handed, left = self.ask(shift.source, "EXEC")
        except NoAnswer:
            with contextlib.suppress(NoAnswer):
                self.ask(shift.source, "DISCARD")
            raise
        if isinstance(opened, Exception) and NOT_OWNER in str(opened) and not left:
            return 0, 0  # it has given the slot away already, and was cut short then
        for answer in (opened, *handed, left):
            if isinstance(answer, Exception):
                raise NoAnswer(str(answer))
        self.keys += len(keys)
        if keys:
            fitting = round(len(keys) * HELD_UP / max(self.now() - began, 0.001))
            self.batch = max(FEWEST, min(fitting, 2 * self.batch, MOST))
        return left, len(keys)
