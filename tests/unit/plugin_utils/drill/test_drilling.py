# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a drill, over a site that is made up: what is refused, waited for, ended and measured."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill import drilling
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.aims import Aim
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.drilling import Drill
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.faults import FAULTS
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing
from small_site import site, standing

START = 1_700_000_000.0


LOOK = 2.0
"""Seconds that a look takes."""
EVERY = 2 * LOOK


class World:
    """A site whose clients are out for some seconds after a fault, and which is whole some seconds after its end."""

    def __init__(self, out: float = 15, heals: float = 5, broken: str | None = None) -> None:
        self.now = START
        self.out = out
        self.heals = heals
        self.broken = broken
        self.fault: float | None = None
        self.ended: float | None = None
        self.probing = False
        self.done: list[str] = []
        self.looks: list[float] = []
        self.said: list[str] = []

    def _fails(self, step: str) -> None:
        self.done.append(step)
        if self.broken == step:
            raise Refusal("RS-104", f"{step} fails")

    def stand(self) -> Standing:
        self.now += LOOK
        self.looks.append(self.now)
        over = self.ended if self.ended is not None else self.fault
        whole = self.fault is None or (over is not None and self.now > over + self.heals)
        return standing() if whole else standing("r1h1")

    def obstacles(self, drill: Drill, aim: Aim) -> list[str]:
        return ["r1h1: no"] if self.broken == "obstacles" else []

    def start_probes(self, drill: Drill, seconds: float) -> None:
        self.probing = True
        self._fails("start")
        assert seconds > drill.seconds + drill.patience

    def steady(self) -> dict[str, float]:
        self._fails("steady") if self.broken == "steady" and self.fault else None
        if self.broken == "served":
            return {"write of a": 0.0}
        if self.fault is None:
            return {"write of a": self.now - START}
        back = self.now - self.fault - self.out
        return {"write of a": back if back > 0 else 0.0}

    def verdict(self) -> dict[str, Any]:
        self._fails("verify")
        target = {
            "acknowledged": 10, "failed": 1, "lost": [], "duplicated": [], "unacknowledged_but_there": 0,
            "reads": 0, "reads_failed": 0, "stale": 0, "behind": 0,
            "gaps": {"write": [{"t": 100.0 + (self.fault or 0) - START, "seconds": self.out}]},
            "counts": {"write": {"ok": [2, 0, 2], "failed": [0, 1, 0]}}, "errors": {"write": {"no": 1}},
        }  # fmt: skip
        return {"postgres": {"clock": {"t": 100.0, "wall": START}, "targets": {"a": target}}}

    def drop_probes(self) -> None:
        self.probing = False

    def begin(self, drill: Drill, aim: Aim, seconds: float) -> float:
        self._fails("begin")
        assert seconds == drill.seconds + drilling.MARGIN
        self.fault = self.now
        return self.now

    def end(self, drill: Drill, aim: Aim) -> None:
        self.done.append("end")
        if drill.fault.lasts:
            self.ended = self.ended or self.now

    def wall(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def say(self, line: str) -> None:
        self.said.append(line)


def drill(fault: str = "freeze", **more: Any) -> Drill:
    return Drill("postgres", "postgres_shard1", "leader", FAULTS[fault], **more)


def test_a_fault_is_ended_once_clients_are_served_again() -> None:
    world = World(out=15, heals=6)
    result = drilling.run(world, site(), drill())
    assert result.rto == {"write": 15.0}
    assert result.back == 15.0
    assert result.heal == pytest.approx(15 + drilling.STEADY, abs=2)
    assert 6 < (result.redundant_after or 0) <= 6 + EVERY
    assert (result.verdict, world.probing) == ("passed", False)
    assert result.label == "the leader of postgres_shard1 (member 1 on r1h1)"


def test_hosts_rest_between_two_looks_at_the_whole_site() -> None:
    world = World(out=15, heals=30)
    drilling.run(world, site(), drill())
    waiting = [look for look in world.looks if world.ended is not None and look > world.ended]
    assert len(waiting) > 3
    assert {later - look for look, later in itertools.pairwise(waiting)} == {EVERY}


def test_what_keeps_the_site_from_being_whole_is_told_once() -> None:
    world = World(out=15, heals=30)
    drilling.run(world, site(), drill())
    (line,) = [line for line in world.said if "not whole yet" in line]
    assert "r1h1" in line


def test_a_fault_lasts_a_while_even_if_nobody_felt_it_yet() -> None:
    assert (drilling.run(World(out=0), site(), drill()).heal or 0) >= drilling.LEAST


def test_a_fault_is_ended_at_its_time_even_if_clients_are_still_out() -> None:
    world = World(out=70, heals=1)
    result = drilling.run(world, site(), drill(seconds=40))
    assert result.heal == pytest.approx(40, abs=2)
    assert (result.whole or 0) > result.heal
    assert any("still out after 40 s: write of a" in line for line in world.said)
    assert result.verdict == "slow"


def test_what_ends_by_itself_has_no_end() -> None:
    result = drilling.run(World(out=3, heals=8), site(), drill("kill"))
    assert result.heal is None
    assert 8 < (result.redundant_after or 0) <= 8 + EVERY
    assert result.goal == 6.0


def test_nobody_is_believed_to_be_whole_before_the_fault_was_felt() -> None:
    world = World(out=0, heals=0)
    drilling.run(world, site(), drill("kill"))
    assert world.now - (world.fault or 0) > drilling.LEAST


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_no_look_at_the_site_makes_an_outage_longer(fault: str) -> None:
    world = World(out=20)
    drilling.run(world, site(), drill(fault))
    began = world.fault or 0
    assert not [look for look in world.looks if began < look < began + 20]


def test_a_site_that_does_not_come_back_is_told() -> None:
    result = drilling.run(World(heals=10_000), site(), drill(patience=30))
    assert (result.whole, result.verdict) == (None, "failed")


@pytest.mark.parametrize("step", ["start", "begin", "steady", "verify"])
def test_whatever_goes_wrong_the_fault_is_ended_and_no_client_left(step: str) -> None:
    world = World(broken=step)
    with pytest.raises(Refusal, match=f"{step} fails"):
        drilling.run(world, site(), drill())
    assert not world.probing
    assert ("end" in world.done) is (step != "start")


def test_a_site_that_is_not_whole_is_not_broken_further() -> None:
    world = World()
    world.stand = lambda: standing("r3h1")  # type: ignore[method-assign]
    with pytest.raises(Refusal, match=r"RS-102: The site is not whole: member 3 on r3h1 of etcd_voter1 is stopped;"):
        drilling.run(world, site(), drill())
    assert world.done == []


def test_what_can_not_be_made_or_is_not_served_is_refused_before() -> None:
    with pytest.raises(Refusal, match="RS-103: freeze can't be made: r1h1: no"):
        drilling.run(World(broken="obstacles"), site(), drill())
    world = World(broken="served")
    with pytest.raises(Refusal, match="RS-104: The probe was not served within 60 s: write of a"):
        drilling.run(world, site(), drill())
    assert "begin" not in world.done


def test_an_unknown_fault_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(Refusal, match=r"RS-101: There is no fault 'flood'\. Faults are: kill, freeze, blackhole"):
        drilling.fault_named("flood")


def test_of_drills_that_come_to_the_same_one_is_done() -> None:
    words = ("leader", "host", "rack")
    faults = [FAULTS[name] for name in ("kill", "blackhole", "host_loss")]
    many = [Drill("etcd", "etcd_voter1", word, fault) for fault in faults for word in words]
    left = drilling.distinct(site(), many, standing())
    assert [(each.fault.name, each.target) for each in left] == [
        ("kill", "leader"), ("kill", "host"), ("kill", "rack"), ("blackhole", "leader"), ("blackhole", "rack"),
        ("host_loss", "leader"), ("host_loss", "rack"),
    ]  # fmt: skip


def test_a_plan_is_words_and_looks_at_everything_it_needs() -> None:
    said = drilling.plan(World(), site(), [drill("freeze"), drill("kill")], standing())
    assert [line for line in said if not line.startswith(" ")] == [
        "Drill of postgres: freeze of the leader of postgres_shard1 (member 1 on r1h1)",
        "Drill of postgres: kill of the leader of postgres_shard1 (member 1 on r1h1)",
    ]


