"""Which slots go where, and how one goes: over a model of masters that may be cut short at any command."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.redis_home import NoAnswer, Node, nodes
from ansible_collections.rackspread.ha.plugins.module_utils.redis_slots import (
    BATCH,
    SLOTS,
    Mover,
    Shift,
    half_moved,
    plan,
    spread,
)
from hypothesis import given
from hypothesis import strategies as st


def owned(*sizes: int) -> dict[str, list[int]]:
    """Shards with so many slots each, one range after another."""
    ends = list(itertools.accumulate(sizes, initial=0))
    return {f"s{n}": list(range(*ends[n - 1 : n + 1])) for n in range(1, len(sizes) + 1)}


def after(before: dict[str, list[int]], shifts: list[Shift]) -> dict[str, int]:
    places = {slot: name for name, slots in before.items() for slot in slots}
    for shift in shifts:
        assert places[shift.slot] == shift.source
        places[shift.slot] = shift.target
    return dict.fromkeys(before, 0) | Counter(places.values())


@pytest.mark.parametrize(
    ("sizes", "emptied", "moved", "then"),
    [
        ((5462, 5461, 5461), (), 0, [5462, 5461, 5461]),
        ((5462, 5461, 5461, 0, 0), (), 6553, [3277, 3277, 3277, 3277, 3276]),
        ((3277, 3277, 3277, 3277, 3276), ("s4", "s5"), 6553, [5462, 5461, 5461, 0, 0]),
        ((0, 10923, 5461), (), 5461, [5461, 5462, 5461]),
    ],
)
def test_shards_have_the_same_share_afterwards(
    sizes: tuple[int, ...], emptied: tuple[str, ...], moved: int, then: list[int]
) -> None:
    before = owned(*sizes)
    shifts = plan(before, emptied)
    assert len(shifts) == moved
    assert list(after(before, shifts).values()) == then


@given(st.lists(st.integers(0, 60), min_size=2, max_size=7), st.data())
def test_no_plan_moves_more_than_it_must(sizes: list[int], data: st.DataObject) -> None:
    before = owned(*sizes)
    emptied = data.draw(st.sets(st.sampled_from(sorted(before)), max_size=len(before) - 1))
    shifts = plan(before, emptied)
    then = after(before, shifts)
    staying = [then[name] for name in before if name not in emptied]
    assert max(staying) - min(staying) <= 1
    assert all(not then[name] for name in emptied)
    assert len(shifts) == sum(max(0, len(slots) - then[name]) for name, slots in before.items())
    assert plan({name: list(range(count)) for name, count in then.items()}, emptied) == []


def test_who_takes_and_who_gives_take_turns_so_that_new_masters_come_together() -> None:
    shifts = plan(owned(5462, 5461, 5461, 0, 0))
    assert {shift.target for shift in shifts[:2]} == {"s4", "s5"}
    shrinking = plan(owned(3277, 3277, 3277, 3277, 3276), ("s4", "s5"))
    assert {shift.source for shift in shrinking[-3:]} == {"s4", "s5"}


def test_somebody_must_have_the_slots() -> None:
    with pytest.raises(ValueError, match="no shard"):
        plan(owned(8, 8), ("s1", "s2"))


def test_ranges_are_spread() -> None:
    assert spread(["0-2", "7"]) == [0, 1, 2, 7]
    assert len(spread(["0-16383"])) == SLOTS


class Masters:
    """Three masters that keep the rules of Redis Cluster, and vanish before the command that a test names."""

    def __init__(self) -> None:
        self.nodes = {
            name: Node(f"id-{name}", f"192.0.2.{n}", 16379, frozenset({"master"}), None, True)
            for n, name in enumerate(("s1", "s2", "s3"), 1)
        }
        self.slots = {"s1": {7}, "s2": set(), "s3": set()}
        self.keys: dict[str, dict[str, int]] = {"s1": {f"k{n}": n for n in range(BATCH + 20)}, "s2": {}, "s3": {}}
        self.open: dict[str, dict[int, str]] = {"s1": {}, "s2": {}, "s3": {}}
        self.paused = 0.0
        self.left = 10**6

    def _named(self, node_id: object) -> str:
        return str(node_id).removeprefix("id-")

    def ask(self, name: str, *words: Any) -> Any:
        if not self.left:
            raise NoAnswer("gone")
        self.left -= 1
        match words:
            case ("CLUSTER", "SETSLOT", slot, "IMPORTING", other):
                if slot in self.slots[name]:
                    raise NoAnswer(f"ERR I'm already the owner of hash slot {slot}")
                self.open[name][slot] = f"[{slot}-<-{other}]"
            case ("CLUSTER", "SETSLOT", slot, "MIGRATING", other):
                if slot not in self.slots[name]:
                    raise NoAnswer(f"ERR I'm not the owner of hash slot {slot}")
                self.open[name][slot] = f"[{slot}->-{other}]"
            case ("CLUSTER", "GETKEYSINSLOT", _slot, count):
                return list(self.keys[name])[:count]
            case ("MIGRATE", address, _port, "", 0, _seconds, "REPLACE", "AUTH2", "admin", "hidden", "KEYS", *keys):
                target = next(each for each, node in self.nodes.items() if node.address == address)
                assert 7 in self.open[target] or 7 in self.slots[target], "it would be sent on"
                self.keys[target] |= {key: self.keys[name][key] for key in keys}
                if not self.left:  # the answer is lost
                    raise NoAnswer("gone")
                for key in keys:
                    del self.keys[name][key]
            case ("CLUSTER", "SETSLOT", slot, "NODE", other):
                owner = self._named(other)
                assert owner == name or not self.keys[name], "a slot is given away with keys in it"
                if owner == name:
                    for each in self.slots.values():
                        each.discard(slot)
                    self.slots[name].add(slot)
                self.open[name].pop(slot, None)
            case ("CLUSTER", "NODES"):
                words = " ".join([*map(str, sorted(self.slots[name])), *self.open[name].values()])
                return f"id-{name} 192.0.2.1:16379@26379 myself,master - 0 0 1 connected {words}"
            case _:
                raise AssertionError(words)
        return "OK"

    def mover(self, attempts: int = 1) -> Mover:
        def pause(seconds: float) -> None:
            self.paused += seconds

        return Mover(self.nodes, self.ask, ("admin", "hidden"), 100, attempts, pause)


def test_a_slot_goes_with_all_its_keys_at_a_bounded_rate() -> None:
    world = Masters()
    mover = world.mover()
    mover.move(Shift(7, "s1", "s2"))
    assert mover.keys == BATCH + 20
    assert world.slots == {"s1": set(), "s2": {7}, "s3": set()}
    assert (len(world.keys["s1"]), len(world.keys["s2"])) == (0, BATCH + 20)
    assert world.paused == pytest.approx((BATCH + 20) / 100)


@pytest.mark.parametrize("left", range(1, 11))
def test_cut_short_anywhere_it_is_ended_by_the_next_and_no_key_is_lost(left: int) -> None:
    world = Masters()
    everything = dict(world.keys["s1"])
    world.left = left
    with contextlib.suppress(NoAnswer):
        world.mover().move(Shift(7, "s1", "s2"))
    world.left = 10**6
    raw = {name: world.ask(name, "CLUSTER", "NODES") for name in world.nodes}
    assert [node.slots for node in nodes(raw["s3"])] == [()]
    for shift in half_moved(world.nodes, raw) or [Shift(7, "s1", "s2")][: 7 in world.slots["s1"]]:
        assert shift == Shift(7, "s1", "s2")
        world.mover().move(shift)
    assert world.slots == {"s1": set(), "s2": {7}, "s3": set()}
    assert (world.keys["s1"], world.keys["s2"]) == ({}, everything)
    assert not any(world.open.values())


def test_a_hiccup_of_a_master_is_waited_for() -> None:
    world, asked = Masters(), []

    def once_in_a_while(name: str, *words: Any) -> Any:
        asked.append(words)
        if len(asked) in (3, 9):
            raise NoAnswer("NOREPLICAS Not enough good replicas to write.")
        return world.ask(name, *words)

    mover = world.mover(attempts=3)
    mover.ask = once_in_a_while
    mover.move(Shift(7, "s1", "s2"))
    assert world.slots["s2"] == {7}
    assert len(world.keys["s2"]) == BATCH + 20


def test_a_slot_on_its_way_to_somebody_else_is_told() -> None:
    world = Masters()
    world.ask("s1", "CLUSTER", "SETSLOT", 7, "MIGRATING", "stranger")
    with pytest.raises(ValueError, match="stranger, which leads no shard"):
        half_moved(world.nodes, {"s1": world.ask("s1", "CLUSTER", "NODES")})
