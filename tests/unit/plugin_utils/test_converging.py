# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop of converge, run against a model of a cluster that punishes what real ones do.

The model is no mock of the code under test: it has disks, processes and one rule of its own (a cluster is formed by
members that were started for that, and lives where a majority of its voters runs). Real services are tested by
Molecule's scenarios.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES, Service
from ansible_collections.rackspread.ha.plugins.plugin_utils.converging import (
    Convergence,
    Deed,
    Group,
    Outcome,
    Report,
    Wish,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from hypothesis import given, settings
from hypothesis import strategies as st

ETCD, POSTGRES, HAPROXY = SERVICES["etcd"], SERVICES["postgres"], SERVICES["haproxy"]
CONTROLLER, BROKER = SERVICES["kafka_controller"], SERVICES["kafka_broker"]
NAME = "etcd_voter1"
GOOD, SOFT, BAD = "good", "soft", "bad"
"""Configurations: SOFT is taken by a reload that then asks for a restart, nothing starts on BAD."""


class Killed(BaseException):
    """The run was killed."""


@dataclass
class Machine:
    """A host with one member: what is on its disk and what runs.

    `wal` is the cluster whose data it holds, `record` what the host remembers, `running` the version of the
    configuration that the process reads, `put_away` the data of a member that has left.
    """

    wal: str | None = None
    marker: dict[str, Any] | None = None
    record: dict[str, Any] | None = None
    site_id: str | None = None
    running: str | None = None
    current: str | None = None
    previous: str | None = None
    staged: str = GOOD
    reachable: bool = True
    restarts: int = 0
    pending: bool = False
    asked: bool = False
    put_away: str | None = None


@dataclass
class Cluster:
    """Hosts h1, h2, h3 … with a voter each, and the lock's file; a World.

    Args:
        service: its row.
        dies: asked before each step that the world takes; raises Killed to end the run there.

    `counted` are the members that a cluster counts, `voted` those of them that had data once: a membership of its own,
    which ends as the member is removed. `leaving` are members from which others take over, `lost` those that the
    placement has no more.
    """

    service: Service = ETCD
    size: int = 3
    name: str = NAME
    dies: Callable[[], None] = lambda: None
    lock: Lock = field(default_factory=Lock)
    machines: dict[int, Machine] = field(default_factory=dict)
    counted: dict[str, set[int]] = field(default_factory=dict)
    voted: set[tuple[str, int]] = field(default_factory=set)
    leader: int | None = None
    clock: float = 0.0
    said: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    formations: set[str] = field(default_factory=set)
    behind: set[int] = field(default_factory=set)
    leader_first: bool = False
    leaving: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number in range(1, self.size + 1):
            self.machines.setdefault(number, Machine())

    @property
    def group(self) -> Group:
        return Group(
            self.name,
            1,
            tuple(
                {"id": n, "host": f"h{n}", "rack": f"rack{n}", "leader": n == 1, "leaving": n in self.leaving}
                for n in self.machines
                if n not in self.lost
            ),
        )

    def converge(self, check: bool = False, wish: Wish | None = None) -> Report:
        return Convergence(self.service, [self.group], self.lock, self, check, wish).run()

    # The world

    def look(self, groups: Sequence[Group]) -> dict[str, list[Observation]]:
        self.dies()
        self._elect()
        return {group.name: [self._observe(member) for member in group.members] for group in groups}

    def act(self, deeds: Sequence[Deed], lock: Lock) -> list[Outcome]:
        outcomes = []
        for deed in deeds:
            self.dies()
            machine = self.machines[deed.member]
            if not machine.reachable:
                outcomes.append(Outcome(False, "timed out", unreachable=True))
                continue
            try:
                answer = getattr(self, f"_{deed.operation}")(deed, machine, lock) or {}
                outcomes.append(Outcome(True, answer=answer))
            except ValueError as error:
                outcomes.append(Outcome(False, str(error)))
        self._elect()
        return outcomes

    def save(self, lock: Lock) -> Lock:
        self.dies()
        self.lock = replace(lock, generation=lock.generation + 1)
        return self.lock

    def absent_hosts(self) -> list[str]:
        return self.absent

    def say(self, line: str) -> None:
        self.said.append(line)

    def ask(self, lines: Sequence[str]) -> None:
        self.asked += lines

    def now(self) -> float:
        return self.clock

    def pause(self, seconds: float) -> None:
        self.clock += seconds

    # How its members behave

    def alive(self, cluster: str) -> list[int]:
        return [
            n
            for n, each in self.machines.items()
            if each.running in (GOOD, SOFT) and each.wal == cluster and each.reachable
        ]

    def lives(self, cluster: str | None) -> bool:
        """Whether a majority of the voters that the cluster counts runs (a service that does not vote needs one)."""
        if not cluster:
            return False
        voters = self.counted.get(cluster, set())
        return len(voters & set(self.alive(cluster))) > (len(voters) // 2 if self.service.gate == "quorum" else 0)

    def _elect(self) -> None:
        serving = [n for n in self.machines if self._serves(n)]
        if self.leader not in serving:
            self.leader = serving[0] if serving else None

    def _serves(self, number: int) -> bool:
        machine = self.machines[number]
        if not self.service.stateful:
            return machine.running in (GOOD, SOFT)
        return (
            number in self.alive(machine.wal or "")
            and number in self.counted[machine.wal or ""]
            and self.lives(machine.wal)
        )

    def _observe(self, member: Any) -> Observation:
        number = member["id"]
        machine = self.machines[number]
        if not machine.reachable:
            return Observation.unreachable(member, "timed out")
        live = None
        if machine.running:
            serves = self._serves(number)
            live = {
                "cluster_id": machine.wal if serves else None,
                "healthy": serves,
                "role": "leader" if serves and number == self.leader else "follower" if serves else "none",
                "members": sorted(self.counted.get(machine.wal or "", ())) if serves else [],
                "in_sync": [n for n in self.machines if self._serves(n) and n not in self.behind],
                "leader_first": self.leader_first and machine.pending and number == self.leader,
            }
        need = self._need(machine)
        answer = {
            "running": bool(machine.running), "live": live, "record": machine.record, "site_id": machine.site_id,
            "need": need, "staged": machine.staged, "retired": bool(machine.put_away), "asked": machine.asked,
            "found": {"state": "data" if machine.wal else "empty", "cluster_id": machine.wal, "marker": machine.marker},
        }  # fmt: skip
        return Observation.from_answer(member, answer)

    def _need(self, machine: Machine) -> str:
        if not machine.running:
            return "start"
        if machine.pending or machine.asked or (machine.running != machine.staged and machine.staged != SOFT):
            return "restart"
        return "nothing" if machine.running == machine.staged else "reload"

    def _remember_group(self, deed: Deed, machine: Machine, lock: Lock, **facts: Any) -> None:
        locked = lock.groups[deed.group].to_dict()
        before = machine.record or {}
        machine.site_id = lock.site_id
        machine.record = {
            **locked, "members": [dict(each) for each in self.group.members], "member": deed.member, "volume": None,
            "intent": before.get("intent"), **facts, "formed": before.get("formed") or facts.get("formed"),
        }  # fmt: skip

    def _claim(self, deed: Deed, machine: Machine, lock: Lock) -> str:
        assert machine.wal is None or (machine.record or {}).get("intent"), "a member with data was claimed"
        intent = lock.groups[deed.group].intent
        assert intent, "a member was claimed without an intent in the lock"
        self._remember_group(deed, machine, lock, intent=intent)
        machine.marker = {
            "site_id": lock.site_id, "group": deed.group, "member": deed.member, "formation_id": intent["formation_id"],
        }  # fmt: skip
        machine.current = machine.staged
        self.dies()
        return str(intent["cluster_id"] or f"cluster-{intent['formation_id']}")

    def _form(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        if (machine.record or {}).get("formed"):
            raise ValueError("formed before")
        cluster = self._claim(deed, machine, lock)
        assert not any(self.lives(other) for other in self.formations - {cluster}), "formed beside a living cluster"
        self.formations.add(cluster)
        machine.wal = cluster
        self.voted.add((cluster, deed.member))
        together = set(self.machines) if self.service.forms == "together" else {deed.member}
        self.counted.setdefault(cluster, together)
        self.dies()
        machine.running = machine.current

    def _join(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        if machine.wal:
            raise ValueError("only a blank member joins")
        self._claim(deed, machine, lock)
        cluster = deed.arguments["peer"]["cluster"]
        assert deed.member in self.counted[cluster], "it joined without being expected"
        if self.service.gate == "quorum":
            assert (cluster, deed.member) not in self.voted, "a voter without its disk came back as if it remembered"
        machine.wal = cluster
        self.voted.add((cluster, deed.member))
        self.dies()
        machine.running = machine.current

    def _admit(self, deed: Deed, machine: Machine, _lock: Lock) -> dict[str, Any]:
        assert machine.wal
        if not self.lives(machine.wal):
            raise ValueError("no majority")
        self.counted[machine.wal].add(deed.arguments["target"])
        return {"cluster": machine.wal}

    def _expel(self, deed: Deed, machine: Machine, _lock: Lock) -> None:
        assert machine.wal
        target = deed.arguments["target"]
        if target not in self.lost | self.leaving:
            assert self.machines[target].wal is None, "a member with data was expelled"
        if not self.lives(machine.wal):
            raise ValueError("no majority")
        self.counted[machine.wal].discard(target)
        self.voted.discard((machine.wal, target))

    def _start(self, _deed: Deed, machine: Machine, _lock: Lock) -> None:
        machine.current = machine.current or machine.staged
        machine.running = machine.current

    def _activate(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        self._remember_group(deed, machine, lock)
        if self._need(machine) == "reload":
            machine.current = machine.running = machine.staged
            for each in self.machines.values() if self.leader_first else [machine]:
                each.pending = True
            return
        served = self._serves(deed.member)
        machine.previous, machine.current = machine.current, machine.staged
        machine.running, machine.pending, machine.asked = machine.staged, False, False
        machine.restarts += 1
        if served and self.service.gate == "quorum" and machine.wal:
            others = self.counted[machine.wal] & set(self.alive(machine.wal)) - {deed.member}
            assert len(others) > len(self.counted[machine.wal]) // 2, "a restart took the majority"
        if machine.staged == BAD:
            raise ValueError("it does not start: bad")

    def _revert(self, _deed: Deed, machine: Machine, _lock: Lock) -> None:
        machine.running = machine.current = machine.previous

    def _ask(self, _deed: Deed, machine: Machine, _lock: Lock) -> None:
        machine.asked = True

    def _retire(self, deed: Deed, machine: Machine, _lock: Lock) -> dict[str, Any]:
        if machine.put_away:
            return {"remaining": []}
        assert not machine.wal or deed.member not in self.counted[machine.wal] or self.service is POSTGRES
        cluster = machine.wal
        assert deed.member != self.leader, "the leader was stopped"
        machine.running = machine.wal = machine.marker = machine.record = None
        self.dies()  # the data is aside, and the host has yet to write it down
        machine.put_away = cluster or "nothing"
        if cluster:
            self.counted[cluster].discard(deed.member)
            assert self.lives(cluster), "a member left that could not be spared"
        return {"data": "/srv/aside" if cluster else None, "remaining": []}

    def _step_down(self, deed: Deed, _machine: Machine, _lock: Lock) -> None:
        heirs = [member for member in self.machines if member != deed.member and self._serves(member)]
        self.leader = deed.arguments.get("target") or max(heirs)

    def _remember(self, deed: Deed, machine: Machine, lock: Lock) -> None:
        assert self._serves(deed.member)
        self._remember_group(deed, machine, lock, formed=machine.wal)


class Both(Cluster):
    """Two groups of a service under one lock."""

    def __init__(self, one: Cluster, other: Cluster) -> None:
        super().__init__(one.service)
        self.clusters = {one.name: one, other.name: other}

    def converge(self, check: bool = False) -> Report:
        return Convergence(self.service, [each.group for each in self.clusters.values()], self.lock, self, check).run()

    def look(self, groups: Sequence[Group]) -> dict[str, list[Observation]]:
        return {group.name: self.clusters[group.name].look([group])[group.name] for group in groups}

    def act(self, deeds: Sequence[Deed], lock: Lock) -> list[Outcome]:
        return [outcome for deed in deeds for outcome in self.clusters[deed.group].act([deed], lock)]


def steps(report: Report) -> list[str]:
    """The words of its steps, without group and members."""
    return [line.partition(": ")[2].split(" ")[0] for line in report.steps]


def formed(**more: Any) -> Cluster:
    """A group that was formed and is whole."""
    cluster = Cluster(**more)
    if cluster.service is BROKER:
        cluster.lock = Lock(groups={"kafka_controller1": LockedGroup(1, 4, (), formed="c1")})
    assert not cluster.converge().refusals
    return cluster


def stage(cluster: Cluster, version: str) -> None:
    """Stage another version everywhere."""
    for machine in cluster.machines.values():
        machine.staged = version


def codes(report: Report) -> list[str]:
    return [refusal.code for refusal in report.refusals]


# Formation


def test_a_first_run_forms_and_a_second_finds_nothing_to_do() -> None:
    cluster = Cluster()
    first = cluster.converge()
    assert steps(first) == ["form"]
    assert cluster.lock.groups[NAME].formed in cluster.formations
    assert all(machine.record["formed"] for machine in cluster.machines.values() if machine.record)
    generation = cluster.lock.generation
    assert cluster.converge().steps == []
    assert cluster.lock.generation == generation


def test_where_one_begins_the_others_join_it() -> None:
    cluster = Cluster(service=POSTGRES)
    report = cluster.converge()
    assert steps(report) == ["form", "join"]
    assert cluster.leader == 1
    assert len(cluster.alive(next(iter(cluster.formations)))) == 3


def test_check_mode_tells_and_does_nothing() -> None:
    cluster = Cluster()
    assert steps(cluster.converge(check=True)) == ["form"]
    assert cluster.lock == Lock()
    assert not any(machine.running for machine in cluster.machines.values())


def test_nothing_is_formed_while_a_host_is_away() -> None:
    cluster = Cluster()
    cluster.machines[2].reachable = False
    report = cluster.converge()
    assert not report.refusals
    assert "h2" in report.unconverged[0]
    assert not cluster.formations
    cluster.machines[2].reachable = True
    assert steps(cluster.converge()) == ["form"]


def test_two_stopped_and_a_blank_third_are_started_and_repaired() -> None:
    cluster = formed()
    for machine in cluster.machines.values():
        machine.running = None
    cluster.machines[3].wal = cluster.machines[3].marker = None
    assert steps(cluster.converge()) == ["start", "repair"]
    assert len(cluster.formations) == 1


def test_blank_disks_everywhere_are_refused() -> None:
    cluster = formed()
    for machine in cluster.machines.values():
        machine.running = machine.wal = machine.marker = None
    assert codes(cluster.converge()) == ["RS-066"]
    assert len(cluster.formations) == 1


def test_blank_hosts_and_a_lock_that_knows_better_are_refused() -> None:
    cluster = formed()
    cluster.machines = {number: Machine() for number in cluster.machines}
    assert codes(cluster.converge()) == ["RS-066"]


def test_living_hosts_and_no_lock_are_refused() -> None:
    cluster = formed()
    cluster.lock = Lock()
    assert codes(cluster.converge()) == ["RS-060"]
    assert len(cluster.formations) == 1


def test_a_group_grows_by_one_member_at_a_time() -> None:
    cluster = formed(size=3)
    cluster.machines |= {4: Machine(), 5: Machine()}
    assert steps(cluster.converge()) == ["join", "join"]
    assert cluster.counted[next(iter(cluster.formations))] == {1, 2, 3, 4, 5}
    assert cluster.lock.groups[NAME].next_id == 6


def test_a_member_that_never_joins_is_told_after_its_time() -> None:
    cluster = formed()
    cluster.counted[next(iter(cluster.formations))].discard(3)
    cluster.machines[3].wal = next(iter(cluster.formations))
    assert codes(cluster.converge()) == ["RS-068"]
    assert cluster.clock >= ETCD.start


def test_ids_of_a_cluster_and_its_disks_are_made_before_it_is_formed() -> None:
    controllers = Cluster(service=CONTROLLER, name="kafka_controller1")
    assert controllers.converge().refusals == []
    intent = controllers.lock.groups["kafka_controller1"].intent or {}
    assert set(intent["directory_ids"]) == {"1", "2", "3"}
    assert len({intent["cluster_id"], *intent["directory_ids"].values()}) == 4
    assert all(machine.record["intent"] == intent for machine in controllers.machines.values() if machine.record)


def test_brokers_are_formed_with_the_id_that_the_controllers_have_and_not_before() -> None:
    brokers = Cluster(service=BROKER, name="kafka_broker1")
    assert codes(brokers.converge()) == ["RS-074"]
    assert all(machine.wal is None for machine in brokers.machines.values())
    controllers = LockedGroup(1, 4, (), {"formation_id": "f", "cluster_id": "c1"}, "c1")
    brokers.lock = Lock(brokers.lock.site_id, brokers.lock.generation, {}, {"kafka_controller1": controllers})
    assert brokers.converge().refusals == []
    assert (brokers.lock.groups["kafka_broker1"].intent or {})["cluster_id"] == "c1"


def test_nothing_staged_is_told() -> None:
    cluster = Cluster()
    cluster.machines[2].staged = None  # type: ignore[assignment]
    assert codes(cluster.converge()) == ["RS-070"]
    assert not cluster.formations


# Roll


def test_a_change_goes_to_followers_first_and_the_leader_hands_over() -> None:
    cluster = formed()
    for machine in cluster.machines.values():
        machine.pending = True
    cluster.leader = 1
    report = cluster.converge()
    assert [line.split(" on ")[1] for line in report.steps] == ["h2", "h3", "h1"]
    assert any("hands over" in line for line in cluster.said)
    assert all(machine.restarts == 1 for machine in cluster.machines.values())


def test_a_bad_change_meets_one_member_and_is_taken_back() -> None:
    cluster = formed()
    stage(cluster, BAD)
    report = cluster.converge()
    assert codes(report) == ["RS-081"]
    assert "it does not start: bad" in str(report.refusals[0])
    assert sorted(machine.restarts for machine in cluster.machines.values()) == [0, 0, 1]
    assert all(machine.running == GOOD for machine in cluster.machines.values())
    for machine in cluster.machines.values():
        machine.staged = GOOD
    assert cluster.converge().steps == []


def test_a_broken_member_is_rolled_first_and_the_others_left_alone() -> None:
    cluster = formed()
    cluster.machines[3].running = "broken"
    assert list(cluster.converge().steps) == [f"{NAME}: restart member 3 on h3"]


def test_nothing_is_restarted_while_another_host_of_the_site_is_away() -> None:
    cluster = formed()
    stage(cluster, BAD)
    cluster.absent = ["h9"]
    report = cluster.converge()
    assert report.steps == []
    assert "h9" in report.unconverged[0]


def test_nothing_is_restarted_while_another_group_of_the_service_is_not_whole() -> None:
    well, ill = Cluster(POSTGRES, name="postgres_shard1"), Cluster(POSTGRES, name="postgres_shard2")
    site = Both(well, ill)
    assert not site.converge().refusals
    stage(well, SOFT)
    ill.machines[2].reachable = False
    report = site.converge()
    assert report.steps == []
    assert any("nothing is restarted before postgres_shard2 is whole" in line for line in report.unconverged)
    ill.machines[2].reachable = True
    assert {step.partition(":")[0] for step in site.converge().steps} == {"postgres_shard1"}


def test_the_last_balancer_is_not_taken_away() -> None:
    cluster = Cluster(service=HAPROXY, size=2)
    assert steps(cluster.converge()) == ["start"]
    for machine in cluster.machines.values():
        machine.pending = True
    report = cluster.converge()
    assert steps(report) == ["restart", "restart"]
    assert all(step.split(":")[0].endswith("_haproxy") for step in report.steps), report.steps


def failing(cluster: Cluster, operation: str, sentence: str) -> None:
    """Have an operation fail on every host from now on."""

    def fail(*_arguments: Any) -> None:
        raise ValueError(sentence)

    setattr(cluster, f"_{operation}", fail)


def test_a_member_that_comes_up_with_neither_is_told() -> None:
    cluster = formed()
    stage(cluster, BAD)
    failing(cluster, "revert", "no space left")
    report = cluster.converge()
    assert codes(report) == ["RS-082"]
    assert "no space left" in report.refusals[0].sentence
    assert sorted(machine.restarts for machine in cluster.machines.values()) == [0, 0, 1]


def test_a_leader_that_does_not_hand_over_is_not_restarted() -> None:
    cluster = formed()
    cluster.machines[1].pending = True
    failing(cluster, "step_down", "nobody in sync")
    assert codes(cluster.converge()) == ["RS-084"]
    assert cluster.machines[1].restarts == 0


def test_a_member_that_the_others_can_not_spare_is_not_restarted() -> None:
    cluster = formed(service=POSTGRES)
    cluster.machines[2].pending = True
    cluster.behind = {3}
    report = cluster.converge()
    assert codes(report) == ["RS-080"]
    assert "h3" in report.refusals[0].sentence
    assert cluster.machines[2].restarts == 0
    assert cluster.clock >= POSTGRES.spare


def test_a_step_that_fails_is_told_with_its_reason() -> None:
    cluster = Cluster()
    failing(cluster, "form", "no space left")
    report = cluster.converge()
    assert codes(report) == ["RS-069"]
    assert "no space left" in report.refusals[0].sentence


def test_a_reload_that_shows_the_need_of_a_restart_sends_the_member_through_once_more() -> None:
    cluster = formed()
    stage(cluster, SOFT)
    report = cluster.converge()
    assert [" ".join(line.split(" ")[1:4]) for line in report.steps] == [
        f"{act} member {number}" for number in (2, 3, 1) for act in ("reload", "restart")
    ]
    assert all(machine.restarts == 1 for machine in cluster.machines.values())
    assert cluster.converge().steps == []


def test_the_leader_comes_first_where_a_reload_shows_that_it_must() -> None:
    cluster = formed(leader_first=True)
    stage(cluster, SOFT)
    restarts = [line.split(" on ")[1].split(" ")[0] for line in cluster.converge().steps if "restart" in line]
    assert restarts == ["h1", "h2", "h3"]
    assert not any("hands over" in line for line in cluster.said)


# What an operator asks for


def test_restarts_that_are_asked_for_are_shown_and_done_once() -> None:
    cluster = formed()
    cluster.leader = 1
    report = cluster.converge(wish=Wish(restart=True, ask=True))
    assert [line.split(" on ")[1] for line in cluster.asked] == ["h2", "h3", "h1, which hands over before"]
    assert [line.split(" on ")[1] for line in report.steps] == ["h2", "h3", "h1"]
    assert all(machine.restarts == 1 for machine in cluster.machines.values())
    assert cluster.converge().steps == []


def test_restarts_that_are_not_confirmed_are_not_asked_for() -> None:
    cluster = formed()

    def refuse(_lines: Sequence[str]) -> None:
        raise Refusal("RS-105", "It was not confirmed.")

    cluster.ask = refuse  # type: ignore[method-assign]
    assert codes(cluster.converge(wish=Wish(restart=True, ask=True))) == ["RS-105"]
    assert cluster.converge().steps == []


def test_restarts_that_an_earlier_run_was_asked_for_are_ended_and_not_begun_anew() -> None:
    cluster = formed()
    cluster.machines[3].asked = True
    assert [line.split(" on ")[1] for line in cluster.converge(wish=Wish(restart=True)).steps] == ["h3"]


def test_check_mode_tells_what_would_be_restarted() -> None:
    cluster = formed()
    report = cluster.converge(check=True, wish=Wish(restart=True))
    assert len(report.steps) == 3
    assert not any(machine.asked or machine.restarts for machine in cluster.machines.values())


def test_leaders_go_home_where_all_is_whole() -> None:
    cluster = formed(service=POSTGRES)
    cluster.leader = 3
    assert cluster.converge().steps == []
    assert steps(cluster.converge(check=True, wish=Wish(home=True))) == ["member"]
    assert cluster.leader == 3
    assert "h1, its home" in cluster.converge(wish=Wish(home=True)).steps[0]
    assert cluster.leader == 1


def test_leaders_stay_where_a_copy_is_behind() -> None:
    cluster = formed(service=POSTGRES)
    cluster.leader, cluster.behind = 3, {1}
    report = cluster.converge(wish=Wish(home=True))
    assert "its leader stays on h3" in report.unconverged[0]
    assert cluster.leader == 3


# Moves


def moving(service: Service, number: int = 2) -> Cluster:
    """A whole group, one of whose members shall leave as another comes."""
    cluster = formed(service=service)
    cluster.machines[4] = Machine()
    cluster.leaving = {number}
    return cluster


def bereft(service: Service, number: int = 2) -> Cluster:
    """A whole group, one of whose hosts is lost for good, with a new member in its place."""
    cluster = formed(service=service)
    cluster.machines[4] = Machine()
    cluster.machines[number].reachable, cluster.lost = False, {number}
    group = cluster.lock.groups[NAME]
    gone = tuple(member for member in group.members if member.id == number)
    cluster.lock = cluster.lock.with_group(NAME, gone=gone)
    if cluster.leader == number:
        cluster.leader = None
    return cluster


MOVING = [ETCD, POSTGRES, CONTROLLER, BROKER]


@pytest.mark.parametrize("service", MOVING)
def test_a_member_that_moves_is_there_before_the_old_one_goes(service: Service) -> None:
    cluster = moving(service)
    report = cluster.converge()
    assert steps(report) == ["join", "retire"]
    assert {member.id for member in cluster.lock.groups[NAME].members} == {1, 3, 4}
    assert cluster.machines[2].put_away
    assert any("stays on h2 in /srv/aside" in line for line in cluster.said)
    assert cluster.converge().steps == []


@pytest.mark.parametrize("service", MOVING)
def test_a_leader_that_moves_hands_over_to_one_that_stays(service: Service) -> None:
    cluster = moving(service, 1)
    assert steps(cluster.converge()) == ["join", "retire"]
    assert cluster.leader in (2, 3, 4)
    assert any("hands over" in line for line in cluster.said) is (service.heir != "none")


@pytest.mark.parametrize("service", MOVING)
def test_a_host_that_is_lost_is_forgotten_and_replaced(service: Service) -> None:
    cluster = bereft(service)
    # What a broker had is copied to another one, which has to be there for that.
    assert steps(cluster.converge()) == (["join", "expel"] if service is BROKER else ["expel", "join"])
    assert not cluster.lock.groups[NAME].gone
    assert {member.id for member in cluster.lock.groups[NAME].members} == {1, 3, 4}
    assert cluster.converge().steps == []


def test_balancers_change_places() -> None:
    cluster = Cluster(service=HAPROXY, size=2)
    cluster.converge()
    cluster.machines[3], cluster.leaving = Machine(), {1}
    assert steps(cluster.converge()) == ["start", "retire"]
    assert {member.id for member in cluster.lock.groups[NAME].members} == {2, 3}


@pytest.mark.parametrize("size", [1, 2])
def test_balancers_hear_of_another_before_it_starts_even_one_that_serves_alone(size: int) -> None:
    cluster = Cluster(service=HAPROXY, size=size)
    cluster.converge()
    for machine in cluster.machines.values():
        machine.staged = SOFT
    cluster.machines[3] = Machine()
    start, running = cluster._start, []

    def noting(deed: Deed, machine: Machine, lock: Lock) -> None:
        running.extend(cluster.machines[number].running for number in range(1, size + 1))
        start(deed, machine, lock)

    cluster._start = noting  # type: ignore[method-assign]
    assert not cluster.converge().refusals
    assert running == [SOFT] * size


def test_who_is_there_takes_what_is_staged_before_another_joins() -> None:
    cluster = moving(POSTGRES)
    for number in (1, 2, 3):
        cluster.machines[number].staged = SOFT
    join, running = cluster._join, []

    def noting(deed: Deed, machine: Machine, lock: Lock) -> None:
        running.extend(cluster.machines[number].running for number in (1, 2, 3))
        join(deed, machine, lock)

    cluster._join = noting  # type: ignore[method-assign]
    assert not cluster.converge().refusals
    assert running == [SOFT] * 3


@pytest.mark.parametrize("service", [ETCD, POSTGRES])
def test_who_lost_its_disk_is_repaired_before_the_others_take_what_is_staged(service: Service) -> None:
    cluster = formed(service=service)
    stage(cluster, SOFT)
    machine = cluster.machines[3]
    machine.running = machine.wal = machine.marker = None
    report = cluster.converge()
    assert not report.refusals
    assert steps(report)[0] == "repair"


def test_moves_of_several_groups_are_made_one_after_another() -> None:
    one, other = Cluster(POSTGRES, name="postgres_shard1"), Cluster(POSTGRES, name="postgres_shard2")
    site = Both(one, other)
    assert not site.converge().refusals
    for each in (one, other):
        each.machines[4], each.leaving = Machine(), {2}
    assert [line.partition(" (")[0] for line in site.converge().steps] == [
        "postgres_shard1: join", "postgres_shard1: retire", "postgres_shard2: join", "postgres_shard2: retire"
    ]  # fmt: skip


def test_a_member_that_can_not_leave_is_told_and_stays() -> None:
    cluster = moving(POSTGRES)
    failing(cluster, "retire", "the disk is read-only")
    report = cluster.converge()
    assert codes(report) == ["RS-110"]
    assert "read-only" in report.refusals[0].sentence
    assert {member.id for member in cluster.lock.groups[NAME].members} == {1, 2, 3, 4}


def test_a_run_that_began_before_the_move_ended_does_not_bring_the_old_one_back() -> None:
    cluster = moving(ETCD)
    before = cluster.group
    cluster.converge()
    assert Convergence(ETCD, [before], cluster.lock, cluster).run().steps == []
    assert {member.id for member in cluster.lock.groups[NAME].members} == {1, 3, 4}


@pytest.mark.parametrize("service", MOVING)
@pytest.mark.parametrize("begin", [moving, bereft])
@pytest.mark.parametrize("number", [1, 2])
@settings(deadline=None, derandomize=True, max_examples=60)
@given(deaths=st.lists(st.integers(0, 25), max_size=5))
def test_however_often_a_move_is_killed_it_is_ended(
    begin: Callable[[Service, int], Cluster], number: int, service: Service, deaths: list[int]
) -> None:
    cluster = killed_often(begin(service, number), deaths)
    report = cluster.converge()
    assert not report.refusals
    assert {member.id for member in cluster.lock.groups[NAME].members} == {1, 2, 3, 4} - {number}
    assert all(cluster._serves(each) for each in {1, 2, 3, 4} - {number})
    assert cluster.counted[next(iter(cluster.formations))] - {number} == {1, 2, 3, 4} - {number}
    assert len(cluster.formations) == 1
    assert bool(cluster.machines[number].put_away) is (begin is moving)
    assert cluster.converge().steps == []


# Runs that are killed


def chaos(service: Service, deaths: list[int], wreck: list[int]) -> Cluster:
    """Run, be killed after so many steps, run again …, with a disk lost here and there; then a last run in peace."""
    return killed_often(Cluster(service=service), deaths, wreck)


def killed_often(cluster: Cluster, deaths: list[int], wreck: Sequence[int] = ()) -> Cluster:
    """The same with a cluster that is there."""
    for count, victim in zip(deaths, [*wreck, *[0] * len(deaths)], strict=False):
        left = count

        def dies() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        cluster.dies = dies
        with contextlib.suppress(Killed):
            cluster.converge()
        if victim and cluster.machines[victim].wal:
            cluster.machines[victim].running = cluster.machines[victim].wal = cluster.machines[victim].marker = None
    cluster.dies = lambda: None
    return cluster


@pytest.mark.parametrize("service", [ETCD, POSTGRES])
@settings(deadline=None, derandomize=True, max_examples=150)
@given(deaths=st.lists(st.integers(0, 25), max_size=5))
def test_however_often_it_is_killed_one_cluster_is_formed_once(service: Service, deaths: list[int]) -> None:
    cluster = chaos(service, deaths, [])
    report = cluster.converge()
    assert not report.refusals
    assert not report.unconverged
    assert len(cluster.formations) == 1
    assert all(cluster._serves(number) for number in cluster.machines)
    assert cluster.converge().steps == []


@pytest.mark.parametrize("service", [ETCD, POSTGRES])
@settings(deadline=None, derandomize=True, max_examples=150)
@given(deaths=st.lists(st.integers(0, 25), max_size=5), wreck=st.lists(st.integers(0, 3), max_size=5))
def test_whatever_is_lost_in_between_no_second_cluster_is_formed(
    service: Service, deaths: list[int], wreck: list[int]
) -> None:
    cluster = chaos(service, deaths, wreck)
    report = cluster.converge()
    assert len(cluster.formations) <= 1
    if report.refusals:
        assert set(codes(report)) <= {"RS-065", "RS-066", "RS-067", "RS-068"}
    else:
        assert all(cluster._serves(number) for number in cluster.machines)
