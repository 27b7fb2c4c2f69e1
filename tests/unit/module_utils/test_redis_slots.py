"""Which slots go where, and how one goes: over a model of masters that may be cut short at any command."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.rackspread.ha.plugins.module_utils import redis_slots
from ansible_collections.rackspread.ha.plugins.module_utils.redis_home import NoAnswer, Node
from ansible_collections.rackspread.ha.plugins.module_utils.redis_slots import (
    FEWEST,
    HELD_UP,
    MIGRATE_MS,
    MOST,
    SLOTS,
    Mover,
    Shift,
    half_moved,
    plan,
    share,
    spread,
)
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]


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


def test_slots_stay_together_in_few_ranges() -> None:
    before = owned(5462, 5461, 5461, 0, 0)
    places = {slot: name for name, slots in before.items() for slot in slots}
    for number, shift in enumerate(plan(before)):
        places[shift.slot] = shift.target
        if number % 100:
            continue
        ranges = 1 + sum(places[slot] != places[slot - 1] for slot in range(1, SLOTS))
        assert ranges <= 3 + 2 + 3, "clients read them all whenever they are sent elsewhere"


def test_somebody_must_have_the_slots() -> None:
    with pytest.raises(ValueError, match="no shard"):
        plan(owned(8, 8), ("s1", "s2"))


def test_ranges_are_spread() -> None:
    assert spread(["0-2", "7"]) == [0, 1, 2, 7]
    assert len(spread(["0-16383"])) == SLOTS


class Masters:
    """Three masters that keep the rules of Redis Cluster, and vanish before the command that a test names."""

    def __init__(self, keys: int = 3 * FEWEST + 5) -> None:
        self.nodes = {
            name: Node(f"id-{name}", f"192.0.2.{n}", 16379, frozenset({"master"}), None, True)
            for n, name in enumerate(("s1", "s2", "s3"), 1)
        }
        self.slots = {"s1": {7}, "s2": set(), "s3": set()}
        self.keys: dict[str, dict[str, int]] = {"s1": {f"k{n}": n for n in range(keys)}, "s2": {}, "s3": {}}
        self.open: dict[str, dict[int, str]] = {"s1": {}, "s2": {}, "s3": {}}
        self.batches: list[int] = []
        self.clock = self.paused = 0.0
        self.each = 0.0
        self.left = 10**6

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
            case ("CLUSTER", "COUNTKEYSINSLOT", _slot):
                return len(self.keys[name])
            case ("MIGRATE", address, _port, "", 0, _wait, "REPLACE", "AUTH2", "admin", "hidden", "KEYS", *keys):
                target = next(each for each, node in self.nodes.items() if node.address == address)
                assert 7 in self.open[target] or 7 in self.slots[target], "it would be sent on"
                assert 7 in self.open[name], "who asks for a key that is gone would be told that there is none"
                self.batches.append(len(keys))
                self.clock += self.each * len(keys)
                self.keys[target] |= {key: self.keys[name][key] for key in keys}
                for key in keys:
                    del self.keys[name][key]
            case ("CLUSTER", "SETSLOT", slot, "NODE", other):
                owner = str(other).removeprefix("id-")
                if owner != name and slot in self.slots[name] and self.keys[name]:
                    raise NoAnswer("ERR Can't assign hashslot 7 to a different node while I still hold keys")
                if owner == name:
                    former = next((each for each in self.slots if each != name and slot in self.slots[each]), None)
                    assert not (former and self.keys[former]), "they are deleted where the slot was, as Redis does"
                    for each in self.slots.values():
                        each.discard(slot)
                    self.slots[name].add(slot)
                self.open[name].pop(slot, None)
            case ("CLUSTER", "NODES"):
                return self.told(name)
            case ("CLUSTER", "INFO"):
                return f"cluster_state:ok\ncluster_slots_ok:{SLOTS}"
            case _:
                raise AssertionError(words)
        return "OK"

    def told(self, name: str) -> str:
        lines = []
        for each, node in self.nodes.items():
            slots = " ".join(map(str, sorted(self.slots[each])))
            more = " ".join(self.open[each].values()) if each == name else ""
            flags = "myself,master" if each == name else "master"
            lines.append(f"{node.id} {node.address}:16379@26379 {flags} - 0 0 1 connected {slots} {more}".strip())
        return "\n".join(lines)

    def pause(self, seconds: float) -> None:
        self.paused += seconds
        self.clock += seconds

    def mover(self, attempts: int = 1, **more: Any) -> Mover:
        clock = {"pause": self.pause, "now": lambda: self.clock}
        return Mover(self.nodes, self.ask, ("admin", "hidden"), 100, attempts=attempts, **clock, **more)

    @property
    def shards(self) -> dict[str, str]:
        return {node.id: name for name, node in self.nodes.items()}


SHIFT = Shift(7, "s1", "s2")


def test_a_slot_goes_with_all_its_keys_at_a_bounded_rate() -> None:
    world = Masters()
    mover = world.mover()
    assert mover.move([SHIFT]) == 1
    assert mover.keys == 3 * FEWEST + 5
    assert world.slots == {"s1": set(), "s2": {7}, "s3": set()}
    assert (len(world.keys["s1"]), len(world.keys["s2"])) == (0, 3 * FEWEST + 5)
    assert world.paused == pytest.approx((3 * FEWEST + 5) / 100)
    assert not any(world.open.values())


def test_more_keys_go_at_once_while_that_holds_nobody_up() -> None:
    small, large = Masters(5000), Masters(300)
    large.each = HELD_UP
    for world in (small, large):
        world.mover().move([SHIFT])
    assert max(small.batches) == MOST
    assert max(large.batches) == FEWEST


def test_a_slot_that_gets_a_key_meanwhile_is_not_given_before_that_went_too() -> None:
    world = Masters(5)
    ask = world.ask

    def written_meanwhile(name: str, *words: Any) -> Any:
        answer = ask(name, *words)
        if words[1:2] == ("GETKEYSINSLOT",) and "late" not in world.keys["s2"] and not world.open["s1"]:
            world.keys["s1"]["late"] = 1
        return answer

    mover = world.mover()
    mover.ask = written_meanwhile
    mover.move([SHIFT])
    assert "late" in world.keys["s2"]
    assert world.slots["s2"] == {7}


@pytest.mark.parametrize("left", range(1, 30))
def test_cut_short_anywhere_it_is_ended_by_the_next_and_no_key_is_lost(left: int) -> None:
    world = Masters()
    everything = dict(world.keys["s1"])
    world.left = left
    with contextlib.suppress(NoAnswer):
        world.mover().move([SHIFT])
    world.left = 10**6
    raw = {name: world.ask(name, "CLUSTER", "NODES") for name in world.nodes}
    shifts = half_moved(world.shards, raw) or [SHIFT][: 7 in world.slots["s1"]]
    assert shifts in ([SHIFT], [])
    world.mover().move(shifts)
    assert world.slots == {"s1": set(), "s2": {7}, "s3": set()}
    assert (world.keys["s1"], world.keys["s2"]) == ({}, everything)
    assert not any(world.open.values())


def test_a_hiccup_of_a_master_is_waited_for() -> None:
    world, asked = Masters(), []

    def once_in_a_while(name: str, *words: Any) -> Any:
        asked.append(words)
        if len(asked) in (4, 12):
            raise NoAnswer("NOREPLICAS Not enough good replicas to write.")
        return world.ask(name, *words)

    mover = world.mover(attempts=3)
    mover.ask = once_in_a_while
    mover.move([SHIFT])
    assert world.slots["s2"] == {7}
    assert len(world.keys["s2"]) == 3 * FEWEST + 5


def test_when_the_time_is_up_what_is_begun_stays_open_and_no_other_is_begun() -> None:
    world = Masters()
    assert world.mover(until=0.05).move([SHIFT, Shift(8, "s1", "s3")]) == 0
    assert world.slots["s1"] == {7}
    assert 0 < len(world.keys["s1"]) < 3 * FEWEST + 5
    assert half_moved(world.shards, {name: world.told(name) for name in world.nodes}) == [SHIFT]


def test_a_slot_on_its_way_to_a_node_that_leads_no_more_goes_to_its_shard() -> None:
    world = Masters()
    world.ask("s1", "CLUSTER", "SETSLOT", 7, "MIGRATING", "former")
    raw = {"s1": world.ask("s1", "CLUSTER", "NODES")}
    assert half_moved({**world.shards, "former": "s2"}, raw) == [SHIFT]
    with pytest.raises(ValueError, match="former, a node of no shard"):
        half_moved(world.shards, raw)


def test_a_master_waits_for_its_taker_less_than_it_takes_to_be_thought_dead() -> None:
    timers = yaml.safe_load((ROOT / "roles/redis/vars/main.yml").read_text())["__redis_timers"]
    assert all(each["node_timeout"] > 1.5 * MIGRATE_MS for each in timers.values())


# A while of it


GROUPS = [
    {"name": f"s{n}", "members": [{"id": 1, "address": f"192.0.2.{n}", "ports": {"main": 16379}}]} for n in range(1, 5)
]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_slots, "BREATH", 0.0)


class Four(Masters):
    """Four shards, of which the last has nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes["s4"] = Node("id-s4", "192.0.2.4", 16379, frozenset({"master"}), None, True)
        self.slots = {name: set(slots) for name, slots in owned(5462, 5461, 5461, 0).items()}
        self.keys = {name: {} for name in self.nodes}
        self.open = {name: {} for name in self.nodes}

    @contextlib.contextmanager
    def connect(self, member: Any) -> Any:
        name = next(each for each, node in self.nodes.items() if node.address == member["address"])
        yield lambda *words: self.ask(name, *words)

    def share(self, *emptied: str, seconds: float = 60) -> dict[str, int]:
        own = GROUPS[0]["members"][0]  # type: ignore[index]
        return share(GROUPS, self.connect, own, emptied, ("admin", "hidden"), 100, seconds)


def test_slots_are_shared_with_a_shard_that_came_and_given_back_when_it_goes() -> None:
    world = Four()
    assert world.share(seconds=0) == {"moved": 0, "left": 4096, "keys": 0}
    assert world.share() == {"moved": 4096, "left": 0, "keys": 0}
    assert {len(slots) for slots in world.slots.values()} == {4096}
    assert world.share()["moved"] == 0
    assert world.share("s4") == {"moved": 4096, "left": 0, "keys": 0}
    assert sorted(len(slots) for slots in world.slots.values()) == [0, 5461, 5461, 5462]


def test_what_was_half_moved_comes_first() -> None:
    world = Four()
    world.ask("s1", "CLUSTER", "SETSLOT", 3, "MIGRATING", "id-s4")
    assert world.share()["moved"] == 4096
    assert 3 in world.slots["s4"]
    assert not any(world.open.values())


def test_two_masters_are_not_left() -> None:
    with pytest.raises(ValueError, match="fewer than three"):
        Four().share("s3", "s4")


def test_a_cluster_that_is_not_whole_is_left_alone() -> None:
    world = Four()
    del world.nodes["s4"]
    with pytest.raises(ValueError, match="s4 has no master"):
        world.share()
