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
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .redis_home import NoAnswer, Node, fields, nodes

SLOTS = 16384
MASTERS = 3
"""Fewer have no majority once one is gone."""
FEWEST, MOST = 10, 1000
"""Keys that a master hands on at once; it serves nobody else meanwhile."""
HELD_UP = 0.05
"""How many seconds that may take: large values are handed on in smaller numbers."""
BREATH = 0.02
"""Seconds at least between two slots: every node writes down each that moved, and syncs its disk before it goes on."""
MIGRATE_MS = 1000
"""How long a master waits for one that takes its keys. It serves nobody meanwhile, and is taken for dead after the node
timeout, which is 2 s at the least."""
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
    return [slot for each in ranges for slot in _slots(each)]


def count(ranges: Iterable[str]) -> int:
    """How many slots these are."""
    return sum(len(_slots(each)) for each in ranges)


def _slots(part: str) -> range:
    first, _dash, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


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


def half_moved(shards: Mapping[str, str], raw: Mapping[str, str]) -> list[Shift]:
    """The slots on their way, by what masters say of themselves.

    Args:
        shards: by the id of a node the shard that it belongs to: a master that a slot goes to may lead no more.
        raw: by shard what its master answered to CLUSTER NODES, in which its own line has `[7->-id]` for a slot that it
            gives, `[7-<-id]` for one that it takes.

    Raises ValueError where a slot goes to or comes from a node of no shard.
    """
    found = []
    for name, text in raw.items():
        own = next(line for line in text.splitlines() if "myself" in line.split()[2])
        for word in own.split()[8:]:
            if word.startswith("["):
                slot, direction, other = word[1:-1].partition("->-" if "->-" in word else "-<-")
                if other not in shards:
                    raise ValueError(f"slot {slot} of {name} is on its way to or from {other}, a node of no shard")
                source, target = (name, shards[other]) if direction == "->-" else (shards[other], name)
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
        until: when no further step is to be begun, by `now`.
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
    until: float = math.inf
    attempts: int = 10
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    batch: int = FEWEST
    keys: int = 0

    def move(self, shifts: Iterable[Shift]) -> int:
        """Move slots with all their keys, until the time is up; how many. Raises NoAnswer, and may be called again."""
        moved = 0
        for shift in shifts:
            if self.now() >= self.until or not self._tried(shift):
                break
            moved += 1
        return moved

    def _tried(self, shift: Shift) -> bool:
        """Move a slot; whether there was time for all of it."""
        for attempt in range(1, self.attempts + 1):
            try:
                return self._moved(shift)
            except NoAnswer:
                if attempt == self.attempts:
                    raise
                self.pause(1)
        return False

    def _moved(self, shift: Shift) -> bool:
        source, target = self.masters[shift.source], self.masters[shift.target]
        try:
            self.ask(shift.target, "CLUSTER", "SETSLOT", shift.slot, "IMPORTING", source.id)
        except NoAnswer as error:
            if OWNER not in str(error):
                raise
        left, some = self._hand_on(shift)
        while left:
            self.pause(some / self.rate)
            if self.now() >= self.until:
                return False
            left, some = self._hand_on(shift)
        # Its taker first: who gave it would else send clients to one that sends them back (redis.io, CLUSTER SETSLOT).
        # It tells all the other nodes, replicas too.
        for shard in (shift.target, shift.source):
            self.ask(shard, "CLUSTER", "SETSLOT", shift.slot, "NODE", target.id)
        self.pause(max(some / self.rate, BREATH))
        return True

    def _hand_on(self, shift: Shift) -> tuple[int, int]:
        """Hand on some keys of a slot; how many are left, and how many went.

        From MIGRATING on the slot gets no new keys here: what is counted after that is the truth. And from then on
        clients are told ASK for keys that are not here. That must be short, so the keys are looked up before: clients
        are about that do not heed ASK where it names a master which had no slots when they last read the division
        (redis-py 6 raises an AttributeError). It is no transaction, as Valkey waits for replicas at SETSLOT.
        """
        target = self.masters[shift.target]
        keys = self.ask(shift.source, "CLUSTER", "GETKEYSINSLOT", shift.slot, self.batch)
        try:
            self.ask(shift.source, "CLUSTER", "SETSLOT", shift.slot, "MIGRATING", target.id)
        except NoAnswer as error:
            if NOT_OWNER in str(error):
                return 0, 0  # it has given the slot away already, and was cut short then
            raise
        began = self.now()
        if keys:  # as long as the source has one, it is the source that serves it: what the taker may have is older
            where = (target.address, target.port, "", 0, MIGRATE_MS)
            self.ask(shift.source, "MIGRATE", *where, "REPLACE", "AUTH2", *self.login, "KEYS", *keys)
            self.keys += len(keys)
            fitting = round(len(keys) * HELD_UP / max(self.now() - began, 0.001))
            self.batch = max(FEWEST, min(fitting, 2 * self.batch, MOST))
        return self.ask(shift.source, "CLUSTER", "COUNTKEYSINSLOT", shift.slot), len(keys)


def share(
    groups: Sequence[Mapping[str, Any]],
    connect: Callable[[Mapping[str, Any]], contextlib.AbstractContextManager[Callable[..., Any]]],
    own: Mapping[str, Any],
    emptied: Collection[str],
    login: tuple[str, str],
    rate: float,
    seconds: float,
) -> dict[str, int]:
    """Move slots between shards for a while, those first that are half moved; how many, how many are left, and keys.

    Args:
        groups: every shard, `{name, members: [M]}`.
        connect: opens a connection to a member.
        own: the member that is asked how the cluster is.
        emptied: the shards that are to have no slots.
        login: user and password by which one master comes to another.
        rate: keys a second at most.
        seconds: for how long.

    Raises ValueError where the cluster is not whole, or too few masters would be left, NoAnswer where a node fails.
    """
    if 0 < len(groups) - len(emptied) < MASTERS:
        raise ValueError("fewer than three masters would be left: with one of them gone nobody could elect another")
    with contextlib.ExitStack() as connections:
        ask = connections.enter_context(connect(own))
        info, seen = fields(ask("CLUSTER", "INFO")), nodes(ask("CLUSTER", "NODES"))
        if info.get("cluster_state") != "ok" or info.get("cluster_slots_ok") != str(SLOTS):
            raise ValueError("not every slot is served")
        places = {(m["address"], m["ports"]["main"]): (group["name"], m) for group in groups for m in group["members"]}
        shards = {node.id: places[node.address, node.port][0] for node in seen if (node.address, node.port) in places}
        masters: dict[str, Node] = {}
        asks: dict[str, Callable[..., Any]] = {}
        for node in seen:
            if node.id in shards and node.master is None and not node.fails:
                name, member = places[node.address, node.port]
                if name in masters:
                    raise ValueError(f"{name} has two masters")
                masters[name] = node
                asks[name] = connections.enter_context(connect(member))
        if missing := [group["name"] for group in groups if group["name"] not in masters]:
            raise ValueError(f"{' and '.join(missing)} has no master")
        until = time.monotonic() + seconds
        mover = Mover(masters, lambda shard, *words: asks[shard](*words), login, rate, until)
        said = {name: asks[name]("CLUSTER", "NODES") for name in masters}
        moved = mover.move(half_moved(shards, said))
        shifts = plan({name: _own_slots(asks[name]("CLUSTER", "NODES")) for name in masters}, emptied)
        made = mover.move(shifts)
        return {"moved": moved + made, "left": len(shifts) - made, "keys": mover.keys}


def _own_slots(text: str) -> list[int]:
    """The slots of the node that answered this to CLUSTER NODES."""
    return spread(next(node for node in nodes(text) if "myself" in node.flags).slots)
