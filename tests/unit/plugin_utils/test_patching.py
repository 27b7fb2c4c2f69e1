# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts are patched in which order, and that each is drained before and waited for afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils import draining, patching
from ansible_collections.rackspread.ha.plugins.plugin_utils.draining import Handover, can_spare, handovers
from ansible_collections.rackspread.ha.plugins.plugin_utils.patching import (
    System,
    Turn,
    describe,
    plan,
    run,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing
from small_site import standing

RACKS = {f"rack{number}": [f"r{number}h1"] for number in (1, 2, 3)}
HOSTS = [host for hosts in RACKS.values() for host in hosts]


def systems(**known: System) -> dict[str, System]:
    return {host: known.get(host, System(boot="b")) for host in HOSTS}


def hosts(turns: list[Turn]) -> list[str]:
    return [turn.host for turn in turns]


# The plan


def test_a_host_where_nothing_is_due_is_left_alone() -> None:
    assert plan(RACKS, systems(), "needed", standing()) == []
    assert describe([], 3, "needed") == ["Nothing is due on any of the 3 hosts (reboots: needed)."]
    (turn,) = plan(RACKS, systems(r2h1=System(("bash",), (), "b")), "needed", standing())
    assert str(turn) == "r2h1: updates of bash; reboot (where the updates need it)"


@pytest.mark.parametrize(
    ("policy", "system", "reboot"),
    [
        ("needed", System(reasons=("a kernel",)), "a kernel"),
        ("never", System(("bash",), ("a kernel",)), ""),
        ("always", System(), "as asked"),
        ("always", System(reasons=("a kernel",)), "a kernel"),
    ],
)
def test_a_reboot_is_by_the_policy(policy: patching.Policy, system: System, reboot: str) -> None:
    (turn,) = plan({"rack2": ["r2h1"]}, {"r2h1": system}, policy, standing())
    assert turn.reboot == reboot


def test_the_rack_with_the_virtual_address_comes_last() -> None:
    assert hosts(plan(RACKS, systems(), "always", standing(holders=(1,)))) == ["r2h1", "r3h1", "r1h1"]
    assert hosts(plan(RACKS, systems(), "always", standing(holders=(2,)))) == ["r1h1", "r3h1", "r2h1"]


def test_within_a_rack_the_one_that_leads_least_comes_first() -> None:
    racks = {"rack1": ["r1h1", "r1h2"], "rack2": ["r2h1"]}
    known = dict.fromkeys(("r1h1", "r1h2", "r2h1"), System())
    assert hosts(plan(racks, known, "always", standing(holders=(2,)))) == ["r1h2", "r1h1", "r2h1"]


def test_a_round_of_reboots_goes_on_where_it_was_killed() -> None:
    known = systems(r2h1=System(boot="another"))
    begun = dict.fromkeys(HOSTS, "b")
    assert hosts(plan(RACKS, known, "always", standing(), begun)) == ["r3h1", "r1h1"]


def test_a_host_that_was_given_up_and_is_away_keeps_no_other_from_its_updates() -> None:
    known = systems()
    del known["r1h1"]
    turns = plan(RACKS, known, "always", standing())
    assert hosts(turns) == ["r2h1", "r3h1"]
    assert describe(turns, 2, "always", ["r1h1"])[-1] == "  r1h1 was given up and does not answer: it is left alone."
    assert describe([], 2, "needed", ["r1h1"])[-1] == "  r1h1 was given up and does not answer: it is left alone."


# What may be spared, and what is handed over


def test_one_budget_is_that_of_the_whole_site() -> None:
    assert can_spare(standing(), "r1h1", "rack1")
    assert can_spare(standing("r1h1"), "r1h1", "rack1")
    verdict = can_spare(standing("r3h1"), "r1h1", "rack1")
    assert not verdict
    assert verdict.reason == "member 3 on r3h1 of etcd_voter1 not joined"
    assert not can_spare(standing("r3h1"), "r1h2", "rack1"), "a host without members waits as well"
    assert can_spare(standing("r3h1"), "r3h2", "rack3"), "but not in the rack that is out"


def test_shards_are_handed_over_first_and_the_address_last() -> None:
    assert [(each.service, each.target) for each in handovers(standing(leader=1, holders=(1,)), "r1h1")] == [
        ("postgres", None), ("etcd", 2), ("keepalived", None),
    ]  # fmt: skip
    assert handovers(standing(leader=2, holders=(2,)), "r1h1") == []


def test_who_is_done_already_takes_over() -> None:
    assert {each.target for each in handovers(standing(), "r1h1", favoured=["r3h1"])} == {3, None}
    assert {each.target for each in handovers(standing(in_sync=(1, 2)), "r1h1", favoured=["r3h1"])} == {2, None}


def test_a_shard_that_is_paused_is_told() -> None:
    assert draining.paused(standing()) == []
    assert "postgres_shard1" in draining.paused(standing(live={"paused": True}))


# The course


@dataclass
class Model:
    """A site in which leaders move, and hosts go away for some looks."""

    leader: int = 1
    holder: int = 1
    away: dict[str, int] = field(default_factory=dict)
    known: dict[str, System] = field(default_factory=systems)
    deaf: tuple[str, ...] = ()
    said: list[str] = field(default_factory=list)
    clock: float = 0

    def stand(self) -> Standing:
        self.away = {host: left - 1 for host, left in self.away.items() if left > 1}
        return standing(*self.away, leader=self.leader, holders=(self.holder,))

    def hand_over(self, handover: Handover) -> str:
        self.said.append(f"hand over {handover.group}")
        if handover.group in self.deaf:
            return "it does not"
        if handover.service == "keepalived":
            self.holder = 3 - self.holder
        else:  # this site's shard and voters are led by one number
            self.leader = handover.target or handover.member % 3 + 1
        return ""

    def system(self, host: str) -> System | None:
        return None if host in self.away else self.known[host]

    def upgrade(self, host: str) -> str:
        assert self._led(host) == []
        self.said.append(f"upgrade {host}")
        self.known[host] = System((), self.known[host].reasons or ("a kernel",), self.known[host].boot)
        return ""

    def reboot(self, host: str) -> str:
        assert self._led(host) == []
        assert not self.away
        self.said.append(f"reboot {host}")
        self.away = {host: 3}
        self.known[host] = System(boot=self.known[host].boot + "+")
        return ""

    def _led(self, host: str) -> list[Any]:
        return list(handovers(standing(leader=self.leader, holders=(self.holder,)), host))

    def say(self, line: str) -> None:
        self.clock += 0

    def now(self) -> float:
        return self.clock

    def pause(self, seconds: float) -> None:
        self.clock += seconds
        self.stand()


def take(world: Model, policy: patching.Policy) -> list[str]:
    turns = plan(RACKS, world.known, policy, world.stand())
    return run(world, turns, policy, patience=60, boot_seconds=60)


def test_each_host_is_drained_rebooted_and_waited_for() -> None:
    world = Model()
    assert take(world, "always") == ["r2h1: reboot", "r3h1: reboot", "r1h1: reboot"]
    assert world.said[:2] == ["reboot r2h1", "reboot r3h1"]
    assert world.said[-1] == "reboot r1h1"
    assert world.leader in (2, 3)
    assert world.holder == 2


def test_a_host_is_rebooted_where_its_updates_need_it() -> None:
    world = Model(known=systems(r2h1=System(("bash",), (), "b")))
    assert take(world, "needed") == ["r2h1: updates", "r2h1: reboot"]
    assert plan(RACKS, world.known, "needed", world.stand()) == [], "a second run finds nothing due"


def test_a_leader_that_does_not_hand_over_ends_the_round() -> None:
    world = Model(deaf=("postgres_shard1",))
    with pytest.raises(Refusal, match="RS-084: postgres_shard1 was not handed over by r1h1: it does not"):
        take(world, "always")
    assert "reboot r1h1" not in world.said


def test_a_host_that_stays_away_ends_the_round() -> None:
    world = Model()

    def reboot(host: str) -> str:
        world.away = {host: 10**6}
        return ""

    world.reboot = reboot  # type: ignore[method-assign]
    with pytest.raises(Refusal, match="RS-123: r2h1 did not come back within 60 s"):
        take(world, "always")


def test_a_site_that_misses_another_rack_gives_no_host() -> None:
    world = Model(away={"r3h1": 10**6})
    with pytest.raises(Refusal, match="RS-122: r2h1 can't be spared: member 3 on r3h1"):
        take(world, "always")
    assert world.said == []


def test_an_upgrade_that_fails_ends_the_round_without_a_reboot() -> None:
    world = Model(known=systems(r2h1=System(("bash",), ("a kernel",), "b")))
    world.upgrade = lambda _host: "no space left"  # type: ignore[method-assign]
    with pytest.raises(Refusal, match="RS-124: r2h1: no space left"):
        take(world, "needed")
    assert world.said == []


def test_a_host_that_goes_away_by_itself_is_not_taken_for_done() -> None:
    world = Model()
    world.system = lambda _host: None  # type: ignore[method-assign]
    with pytest.raises(Refusal, match="RS-123: r2h1 does not answer any more"):
        take(world, "always")
    assert world.said == []
