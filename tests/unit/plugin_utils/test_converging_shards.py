"""The loop of converge over groups that are one cluster, against a model that knows what Redis Cluster knows.

Nodes have ids, slots, a master and acquaintances, on disks that can be lost. They do nothing by themselves but what
Redis does: gossip, and elect a replica of a dead master where a majority of masters lives.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import redis_slots
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils.converging import (
    TRIES,
    Convergence,
    Deed,
    Group,
    Outcome,
    Report,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from hypothesis import given, settings
from hypothesis import strategies as st

REDIS = SERVICES["redis"]
Key = tuple[str, int]
IDS = itertools.count(1)


class Killed(BaseException):
    """The run was killed."""


@dataclass
class Node:
    """What lies on a member's disk. `known` are the ids of the nodes that it knows, itself included."""

    id: int = field(default_factory=lambda: next(IDS))
    slots: str | None = None
    master: int | None = None
    shard: str = ""
    known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.known.add(self.id)
        self.shard = self.shard or f"shard-{self.id}"


@dataclass
class Machine:
    """A place: its disk, what its host remembers, and whether its process runs."""

    node: Node | None = None
    marker: dict[str, Any] | None = None
    record: dict[str, Any] | None = None
    site_id: str | None = None
    running: bool = False
    reachable: bool = True
    need: str = "nothing"
    retired: bool = False


@dataclass
class Shards:
    """Shards with a member in each of three racks; a World."""

    count: int = 3
    homes: Sequence[int] = (1, 2, 3, 1, 2)
    leaving: frozenset[int] = frozenset()
    dies: Callable[[], None] = lambda: None
    lock: Lock = field(default_factory=Lock)
    machines: dict[Key, Machine] = field(default_factory=dict)
    clock: float = 0.0
    said: list[str] = field(default_factory=list)
    most: int = 0
    parts: dict[str, int] = field(default_factory=dict)
    whole_share: int = 3000
    moved: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)

    @property
    def groups(self) -> list[Group]:
        found = []
        for index in range(1, self.count + 1):
            members = tuple(
                {"id": n, "host": f"h{n}", "rack": f"rack{n}", "leader": n == self.homes[index - 1]}
                | ({"leader": False, "leaving": True} if index in self.leaving else {})
                for n in (1, 2, 3)
            )
            name = f"redis_shard{index}"
            found.append(Group(name, index, self.moved.get(name, members)))
        for key in ((group.name, member["id"]) for group in found for member in group.members):
            self.machines.setdefault(key, Machine())
        return found

    def converge(self, check: bool = False) -> Report:
        return Convergence(REDIS, self.groups, self.lock, self, check).run()

    # The world

    def look(self, groups: Sequence[Group]) -> dict[str, list[Observation]]:
        self.dies()
        self._live()
        return {group.name: [self._observe(group, member) for member in group.members] for group in groups}

    def act(self, deeds: Sequence[Deed], lock: Lock) -> list[Outcome]:
        outcomes = []
        for deed in deeds:
            self.dies()
            try:
                answer = getattr(self, f"_{deed.operation}")(deed, self.machines[deed.group, deed.member], lock)
                outcomes.append(Outcome(True, answer=answer or {}))
            except ValueError as error:
                outcomes.append(Outcome(False, str(error)))
        self._live()
        return outcomes

    def save(self, lock: Lock) -> Lock:
        self.dies()
        self.lock = Lock(lock.site_id, lock.generation + 1, lock.components, lock.groups)
        return self.lock

    def absent_hosts(self) -> list[str]:
        return []

    def say(self, line: str) -> None:
        self.said.append(line)

    def now(self) -> float:
        return self.clock

    def pause(self, seconds: float) -> None:
        self.clock += seconds

    # How nodes behave

    @property
    def up(self) -> dict[Key, Node]:
        return {key: each.node for key, each in self.machines.items() if each.running and each.node and each.reachable}

    def _live(self) -> None:
        """Gossip, and elect."""
        alive = list(self.up.values())
        for _round in alive:
            for one, other in itertools.permutations(alive, 2):
                if other.id in one.known:
                    one.known |= other.known
                    other.known |= one.known
        ids = {node.id for node in alive}
        for node in self._disks():
            masters = [each for each in self._disks() if each.slots and each.id in node.known]
            if node.id not in ids or node.master is None or node.master in ids:
                continue
            if 2 * len([each for each in masters if each.id in ids]) > len(masters):
                self._take_over(node)
        self.most = max([self.most, *Counter(n for (_group, n), node in self.up.items() if node.slots).values()])

    def _disks(self) -> list[Node]:
        return [machine.node for machine in self.machines.values() if machine.node]

    def _take_over(self, heir: Node) -> None:
        former = next((node for node in self._disks() if node.id == heir.master), None)
        shard = [node for node in self._disks() if heir.master in (node.id, node.master)]
        heir.slots = former.slots if former else self._slots.get(heir.shard)
        for node in shard:
            node.master = heir.id
        if former:
            former.slots = None
        heir.master = None

    @property
    def _slots(self) -> dict[str, str]:
        """By shard what it was begun with."""
        return {
            group.formed: group.intent["slots"]
            for group in self.lock.groups.values() if group.formed and group.intent and group.intent["slots"]
        }  # fmt: skip

    def _master(self, node: Node) -> Node | None:
        return node if node.master is None else next((each for each in self._disks() if each.id == node.master), None)

    def _observe(self, group: Group, member: Any) -> Observation:
        machine = self.machines[group.name, member["id"]]
        if not machine.reachable:
            return Observation.unreachable(member, "timed out")
        formed = self.lock.groups[group.name].formed if group.name in self.lock.groups else None
        node = machine.node
        found: dict[str, Any] = {"state": "empty", "cluster_id": None, "marker": machine.marker}
        live = None
        if node:
            followers = [each for each in self._disks() if each.master == node.id and each.id in node.known]
            attached = node.slots or node.master or followers or node.shard == formed
            found["state"], found["cluster_id"] = ("data", node.shard) if attached else ("half_formed", None)
        if node and machine.running:
            live = self._tell(group, member, node, formed)
        answer = {
            "running": machine.running, "live": live, "record": machine.record, "site_id": machine.site_id,
            "need": machine.need if machine.running else "start", "staged": "v1", "found": found,
            "retired": machine.retired,
        }  # fmt: skip
        return Observation.from_answer(member, answer)

    def _tell(self, group: Group, member: Any, node: Node, formed: str | None) -> dict[str, Any]:
        master = self._master(node)
        own = {key[1]: each for key, each in self.up.items() if key[0] == group.name}
        hanging = [n for n, each in own.items() if master and master.id in (each.id, each.master)]
        role = "none"
        if node.master:
            role = "follower" if master in own.values() else "none"
        elif node.slots or len(hanging) > 1 or (formed in (None, node.shard) and self._begins(group, member, own)):
            role = "leader"
        covered = {each.slots for each in self._disks() if each.slots and each.id in node.known}
        whole = len(covered | set(self._slots.values())) == len(covered) >= 3
        healthy = role != "none" and whole
        return {
            "cluster_id": node.shard if healthy else None, "role": role, "healthy": healthy,
            "members": hanging if role != "none" else [], "in_sync": hanging,
            "unfinished": role == "none" or (not formed and not whole),
            "slots": self._ranges(node.shard) if role == "leader" else None,
        }  # fmt: skip

    def _ranges(self, shard: str) -> list[str]:
        """So many slots as the shard has."""
        count = self.parts.get(shard, 0)
        return [f"0-{count - 1}"] if count else []

    @staticmethod
    def _begins(group: Group, member: Any, own: dict[int, Node]) -> bool:
        first = min(group.members, key=lambda each: (not each["leader"], each["id"]))
        return first == member and not any(each.slots or each.master for n, each in own.items() if n != member["id"])

    # What is done to them

    def _claim(self, deed: Deed, machine: Machine, lock: Lock) -> Node:
        if (machine.record or {}).get("formed") and deed.operation == "form":
            raise ValueError("formed before")
        intent = lock.groups[deed.group].intent
        assert intent, "claimed without an intent in the lock"
        self._note(deed, machine, lock, intent=intent)
        formation = intent["formation_id"]
        machine.marker = {
            "site_id": lock.site_id, "group": deed.group, "member": deed.member, "formation_id": formation,
        }  # fmt: skip
        self.dies()
        machine.node = machine.node or Node()
        machine.running = True
        self.dies()
        return machine.node

    def _note(self, deed: Deed, machine: Machine, lock: Lock, **facts: Any) -> None:
        before = machine.record or {}
        machine.site_id = lock.site_id
        machine.record = {
            **lock.groups[deed.group].to_dict(), "member": deed.member, "volume": None, "intent": before.get("intent"),
            **facts, "formed": before.get("formed") or facts.get("formed"),
        }  # fmt: skip

    def _form(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        assert all(each.reachable for each in self.machines.values()), "formed without having seen all"
        node = self._claim(deed, machine, lock)
        node.slots = deed.arguments["intent"]["slots"]
        if node.slots:
            first, last = map(int, node.slots.split("-"))
            self.parts[node.shard] = last - first + 1
        self.dies()
        for (name, _n), other in self.up.items():
            if name != deed.group:
                node.known.add(other.id)
                self.dies()
        for each in self._disks():  # ids that no disk has any more
            each.known &= {other.id for other in self._disks()}

    def _join(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        node = self._claim(deed, machine, lock)
        assert not node.slots, "a master was attached to another"
        peer = deed.arguments["peer"]
        node.known.add(peer["node"])
        self.dies()
        node.master, node.shard = peer["node"], peer["shard"]

    def _admit(self, deed: Deed, machine: Machine, _lock: Lock) -> dict[str, Any]:
        assert machine.node
        return {"node": machine.node.id, "shard": machine.node.shard}

    def _expel(self, deed: Deed, _machine: Machine, _lock: Lock) -> None:
        target = self.machines[deed.group, deed.arguments["target"]]
        if deed.arguments["target"] not in self._leaving(deed.group):
            assert target.node is None or not target.reachable, "a member with data was forgotten"

    def _start(self, _deed: Deed, machine: Machine, _lock: Lock) -> None:
        machine.running = True

    def _activate(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        assert machine.node
        assert not machine.node.slots or machine.need == "reload", "a master was restarted"
        others = [key for key, each in self.machines.items() if not each.running]
        assert not others or machine.need == "reload", "restarted while others are down"
        self._note(deed, machine, lock)
        machine.need = "nothing"

    def _step_down(self, deed: Deed, machine: Machine, _lock: Lock) -> None:
        heir = self.machines[deed.group, deed.arguments["target"]].node
        assert heir
        assert machine.node
        if machine.node.slots:
            assert heir.master == machine.node.id
            self._take_over(heir)

    def _leaving(self, name: str) -> set[int]:
        return {m.id for m in self.lock.groups[name].members if m.leaving}

    def _share(self, deed: Deed, _machine: Machine, _lock: Lock) -> dict[str, int]:
        """Some parts at a time; the masters that have any elect."""
        self.dies()
        assert all(each.running for each in self.machines.values() if not each.retired), "moved while one is away"
        shards = {group.formed: key for key, group in self.lock.groups.items() if group.formed}
        owned = {key: list(range(self.parts.get(shard, 0))) for shard, key in shards.items()}
        shifts = redis_slots.plan(owned, deed.arguments["emptied"])
        ids = {key: shard for shard, key in shards.items()}
        for shift in shifts[: self.whole_share]:
            self.parts[ids[shift.source]] -= 1
            self.parts[ids[shift.target]] = self.parts.get(ids[shift.target], 0) + 1
        for node in self.up.values():
            if node.master is None and node.shard in shards:
                has = self.parts.get(node.shard, 0)
                node.slots = (node.slots or f"{20000 + node.id}-later") if has else None
        moved = min(len(shifts), self.whole_share)
        return {"moved": moved, "left": len(shifts) - moved}

    def _retire(self, deed: Deed, machine: Machine, _lock: Lock) -> dict[str, Any]:
        assert machine.retired or deed.member in self._leaving(deed.group) or not machine.reachable
        self.dies()
        if machine.node:
            assert not machine.node.slots, "a master with slots was stopped for good"
            for each in self._disks():
                each.known -= {machine.node.id}
            machine.node.known = {machine.node.id}
        machine.running = False
        self.dies()
        machine.node, machine.marker, machine.record, machine.retired = None, None, None, True
        return {}

    def _remember(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        assert machine.node
        self._note(deed, machine, lock, formed=machine.node.shard)

    # What is asked of the outcome

    def racks(self) -> list[int]:
        """The rack of each master, by its slots."""
        masters = {node.slots: n for (_group, n), node in self.up.items() if node.slots}
        return [masters[slots] for slots in sorted(masters, key=lambda slots: int(slots.split("-")[0]))]

    def whole(self) -> bool:
        by_group = [[node for (name, _n), node in self.up.items() if name == group.name] for group in self.groups]
        return all(
            len(nodes) == 3 and sum(node.master is None for node in nodes) == 1 and len({n.shard for n in nodes}) == 1
            for nodes in by_group
        )


def steps(report: Report) -> Counter[str]:
    return Counter(line.partition(": ")[2].split(" ")[0] for line in report.steps)


def codes(report: Report) -> set[str]:
    return {refusal.code for refusal in report.refusals}


def formed(**more: Any) -> Shards:
    shards = Shards(**more)
    report = shards.converge()
    assert not report.refusals, report.refusals
    return shards


def test_a_first_run_forms_each_shard_at_home_and_a_second_does_nothing() -> None:
    shards = Shards()
    assert steps(shards.converge()) == {"form": 3, "join": 3}
    assert shards.whole()
    assert shards.racks() == [1, 2, 3]
    intents = [shards.lock.groups[group.name].intent for group in shards.groups]
    assert [intent and intent["slots"] for intent in intents] == ["0-5461", "5462-10922", "10923-16383"]
    assert shards.converge().steps == []


def test_nothing_is_formed_while_one_member_of_one_shard_is_away() -> None:
    shards = Shards()
    shards.groups  # noqa: B018  # makes the machines
    shards.machines["redis_shard2", 3].reachable = False
    report = shards.converge()
    assert codes(report) == {"RS-071"}
    assert not any(machine.node for machine in shards.machines.values())
    shards.machines["redis_shard2", 3].reachable = True
    assert not shards.converge().refusals


def test_two_shards_are_refused() -> None:
    assert codes(Shards(count=2).converge()) == {"RS-072"}


def test_shards_that_come_later_are_begun_without_slots() -> None:
    shards = formed()
    shards.count = 5
    shards.whole_share = 1
    with contextlib.suppress(Killed):
        shards.dies = lambda: None if "share" not in " ".join(shards.said) else (_ for _ in ()).throw(Killed())
        shards.converge()
    assert [shards.lock.groups[f"redis_shard{n}"].intent["slots"] for n in (4, 5)] == [None, None]  # type: ignore[index]
    assert len({node.id for node in shards.up.values()} - next(iter(shards.up.values())).known) == 0


def shares(shards: Shards) -> list[int]:
    return [shards.parts.get(group.formed or "", 0) for _key, group in sorted(shards.lock.groups.items())]


def grown() -> Shards:
    shards = formed()
    shards.count = 5
    report = shards.converge()
    assert not report.refusals, report.refusals
    return shards


def test_shards_that_are_added_get_their_share_of_the_slots_and_a_second_run_does_nothing() -> None:
    shards = formed()
    assert shares(shards) == [5462, 5461, 5461]
    shards.count = 5
    report = shards.converge()
    assert not report.refusals
    assert steps(report) == {"form": 2, "join": 2, "share": 3}
    assert sorted(shares(shards)) == [3276, 3277, 3277, 3277, 3277]
    assert shards.converge().steps == []
    assert shards.racks() == [1, 2, 3, 1, 2]


def test_a_check_tells_of_slots_and_moves_none() -> None:
    shards = grown()
    shards.parts[shards.lock.groups["redis_shard4"].formed or ""] -= 7
    before = shares(shards)
    (line,) = shards.converge(check=True).steps
    assert "redis_shard4 has 3270 slots of 3276" in line
    assert shares(shards) == before


def test_no_slot_moves_while_a_member_is_away() -> None:
    shards = grown()
    shards.parts[shards.lock.groups["redis_shard4"].formed or ""] -= 7
    shards.machines["redis_shard1", 2].reachable = False
    shards.said.clear()
    shards.converge()
    assert "share" not in " ".join(shards.said)
    shards.machines["redis_shard1", 2].reachable = True
    shards.converge()
    assert "redis_shard1: share (redis_shard4 has 3270 slots of 3276)" in shards.said


def test_slots_that_do_not_move_are_told_after_some_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(*_what: object) -> None:
        raise ValueError("slots do not move: NOREPLICAS")

    shards = formed()
    shards.count = 5
    monkeypatch.setattr(shards, "_share", stuck, raising=False)
    report = shards.converge()
    assert codes(report) == {"RS-073"}
    assert "NOREPLICAS" in str(report.refusals[0])
    assert steps(report)["share"] == TRIES
    monkeypatch.undo()
    assert not shards.converge().refusals
    assert max(shares(shards)) - min(shares(shards)) <= 1


def test_shards_that_leave_hand_on_their_slots_before_their_members_stop() -> None:
    shards = grown()
    shards.leaving = frozenset({4, 5})
    dissolve(shards)
    report = shards.converge()
    assert not report.refusals, report.refusals
    assert steps(report) == {"share": 3, "retire": 2}
    assert list(shards.lock.groups) == ["redis_shard1", "redis_shard2", "redis_shard3"]
    assert shares(shards) == [5461, 5461, 5462] or sorted(shares(shards)) == [5461, 5461, 5462]
    assert all(shards.machines[f"redis_shard{n}", m].retired for n in (4, 5) for m in (1, 2, 3))
    shards.count, shards.leaving = 3, frozenset()
    assert shards.converge().steps == []
    assert shards.racks() == [1, 2, 3]


def dissolve(shards: Shards) -> None:
    """As scale.yml writes it into the lock."""
    for index in shards.leaving:
        key = f"redis_shard{index}"
        members = tuple(replace(m, leaving=True, leader=False) for m in shards.lock.groups[key].members)
        shards.lock = shards.lock.with_group(key, members=members)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(deaths=st.lists(st.integers(0, 60), max_size=4))
def test_growth_and_its_undoing_are_killed_anywhere_and_ended_by_the_next(deaths: list[int]) -> None:
    shards = formed()
    shards.count = 5
    killed(shards, deaths)
    report = shards.converge()
    assert not report.refusals, report.refusals
    assert sorted(shares(shards)) == [3276, 3277, 3277, 3277, 3277]
    assert shards.whole()
    shards.leaving = frozenset({4, 5})
    dissolve(shards)
    killed(shards, deaths)
    report = shards.converge()
    assert not report.refusals, report.refusals
    assert len(shards.lock.groups) == 3
    assert sorted(shares(shards)) == [5461, 5461, 5462]


def killed(shards: Shards, deaths: list[int]) -> None:
    """Run, and be killed after so many steps; again and again."""
    for count in deaths:
        left = count

        def dies() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        shards.dies = dies
        with contextlib.suppress(Killed):
            shards.converge()
    shards.dies = lambda: None


def test_a_dead_replica_is_forgotten_and_another_host_takes_its_place() -> None:
    shards = formed()
    name = "redis_shard1"
    shards.machines[name, 3].reachable = False
    here = [m for m in shards.groups[0].members if m["id"] != 3]
    shards.moved[name] = (*here, {"id": 4, "host": "h3b", "rack": "rack3", "leader": False})
    gone = next(m for m in shards.lock.groups[name].members if m.id == 3)
    left = tuple(m for m in shards.lock.groups[name].members if m.id != 3)
    shards.lock = shards.lock.with_group(name, members=left, gone=(gone,), next_id=5)
    for key in ((name, 1), (name, 2)):  # what is staged names the new place
        shards.machines[key].need = "reload"
    report = shards.converge()
    assert not report.refusals, report.refusals
    assert steps(report) == {"expel": 1, "reload": 2, "join": 1}
    assert not shards.lock.groups[name].gone
    assert [m.id for m in shards.lock.groups[name].members] == [1, 2, 4]
    assert shards.machines[name, 4].node.shard == shards.lock.groups[name].formed  # type: ignore[union-attr]
    assert shards.converge().steps == []


def test_a_master_whose_host_is_emptied_hands_over_and_leaves() -> None:
    shards = formed()
    name = "redis_shard1"
    old, *others = shards.groups[0].members
    shards.moved[name] = (
        {**old, "leader": False, "leaving": True}, *others, {"id": 4, "host": "h1b", "rack": "rack1", "leader": True},
    )  # fmt: skip
    left = replace(shards.lock.groups[name].members[0], leader=False, leaving=True)
    new = replace(left, id=4, host="h1b", leader=True, leaving=False)
    members = (left, *shards.lock.groups[name].members[1:], new)
    shards.lock = shards.lock.with_group(name, members=members, next_id=5)
    report = shards.converge()
    assert not report.refusals, report.refusals
    assert steps(report) == {"join": 1, "retire": 1}
    assert shards.machines[name, 1].retired
    assert "hands over to member 4 on h1b" in " ".join(shards.said)
    assert shards.racks() == [4, 2, 3]


def test_a_fourth_shard_on_three_racks_is_refused_and_the_three_go_on() -> None:
    shards = formed()
    shards.count = 4
    shards.machines["redis_shard1", 2].running = False
    report = shards.converge()
    assert codes(report) == {"RS-017"}
    assert steps(report) == {"start": 1}


def test_a_blank_disk_comes_back_under_its_master_and_nothing_is_formed() -> None:
    shards = formed()
    lost = shards.machines["redis_shard1", 1]
    lost.node, lost.marker, lost.running = None, None, False
    shards._live()
    assert shards.racks() == [2, 2, 3]
    report = shards.converge()
    assert steps(report) == {"repair": 1, "hand": 1}
    assert shards.whole()
    assert shards.racks() == [1, 2, 3], "and it is home again"


def test_masters_are_brought_home_by_a_run() -> None:
    shards = formed()
    shards._take_over(shards.machines["redis_shard3", 2].node)  # type: ignore[arg-type]
    assert shards.racks() == [1, 2, 2]
    assert steps(shards.converge()) == {"hand": 1}
    assert shards.racks() == [1, 2, 3]


def test_a_roll_hands_over_before_each_master_and_home_again_after_it() -> None:
    shards = formed()
    shards.most = 0
    for machine in shards.machines.values():
        machine.need = "restart"
    report = shards.converge()
    assert not report.refusals, report.refusals
    assert steps(report) == {"restart": 9, "hand": 3}
    assert shards.racks() == [1, 2, 3]
    assert shards.most == 2, "never more than the one that hands over for its own restart"
    assert shards.whole()


def test_a_master_that_can_not_go_home_is_told() -> None:
    shards = formed()
    shards._take_over(shards.machines["redis_shard3", 2].node)  # type: ignore[arg-type]
    shards.machines["redis_shard3", 3].reachable = False
    assert not shards.converge().steps
    assert shards.racks() == [1, 2, 2]


def chaos(deaths: list[int], wreck: list[int]) -> Shards:
    """Run, be killed after so many steps, run again …, with a disk lost here and there."""
    shards = Shards()
    keys = [(group.name, n) for group in shards.groups for n in (1, 2, 3)]
    for count, victim in zip(deaths, [*wreck, *[0] * len(deaths)], strict=False):
        left = count

        def dies() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        shards.dies = dies
        with contextlib.suppress(Killed):
            shards.converge()
        if victim:
            lost = shards.machines[keys[victim - 1]]
            lost.node, lost.marker, lost.running = None, None, False
    shards.dies = lambda: None
    return shards


@settings(deadline=None, derandomize=True, max_examples=200)
@given(deaths=st.lists(st.integers(0, 60), max_size=5))
def test_however_often_it_is_killed_one_cluster_is_formed_once(deaths: list[int]) -> None:
    shards = chaos(deaths, [])
    report = shards.converge()
    assert not report.refusals, report.refusals
    assert shards.whole()
    assert shards.racks() == [1, 2, 3]
    assert shards.converge().steps == []


@settings(deadline=None, derandomize=True, max_examples=200)
@given(deaths=st.lists(st.integers(0, 60), max_size=5), wreck=st.lists(st.integers(0, 9), max_size=5))
def test_whatever_is_lost_in_between_no_slots_are_led_twice(deaths: list[int], wreck: list[int]) -> None:
    shards = chaos(deaths, wreck)
    report = shards.converge()
    owned = [node.slots for node in shards.up.values() if node.slots]
    assert len(owned) == len(set(owned))
    if report.refusals:
        assert codes(report) <= {"RS-065", "RS-066", "RS-067", "RS-068", "RS-071"}
    else:
        assert shards.whole()
