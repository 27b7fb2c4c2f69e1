# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kafka among what looks at a whole site: controllers that resign as they end, brokers each of which leads in part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.services import programs_of, row_of
from ansible_collections.rackspread.ha.plugins.plugin_utils import forgetting
from ansible_collections.rackspread.ha.plugins.plugin_utils.draining import can_spare, drain, handovers
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.operating import _check_rest
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.screen import draw
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing
from small_site import member

GROUPS: dict[str, dict[str, Any]] = {
    f"kafka_{component}1": {
        "service": "kafka", "component": component, "index": 1, "members": [member(n, main=9092) for n in (1, 2, 3)],
    }
    for component in ("controller", "broker")
}  # fmt: skip


def standing(in_sync: tuple[int, ...] = (1, 2, 3), away: int = 0) -> Standing:
    """Controller 1 is the active one; by every broker's word these have all their replicas in sync."""
    seen = {
        (row.name, key): [
            Observation(
                n, f"r{n}h1", rack=f"rack{n}", state=State.STOPPED if n == away else State.JOINED,
                live={"role": "leader" if key == "kafka_controller1" and n == 1 else "follower", "in_sync": in_sync},
            )
            for n in (1, 2, 3)
        ]
        for key, group in GROUPS.items() for row in programs_of(group)
    }  # fmt: skip
    return Standing(GROUPS, seen)


def test_a_broker_whose_replicas_are_not_in_sync_stands_out() -> None:
    assert not standing().ailments()
    assert standing(in_sync=(1, 3)).ailments() == ["member 2 on r2h1 of kafka_broker1 not in sync"]
    lines = draw(standing(in_sync=(1, 3)), ["rack1", "rack2", "rack3"]).splitlines()
    assert [cell.strip() for cell in lines[-1].split("   ") if cell][:4] == [
        "kafka_broker1", "r1h1", "r2h1 NOT IN SYNC", "r3h1"
    ]  # fmt: skip


def test_writes_need_two_brokers() -> None:
    racks = ["rack1", "rack2", "rack3"]
    assert standing().survives(racks) == {rack: [] for rack in racks}
    down = standing(in_sync=(1, 3))
    found = down.survives(racks)
    assert found["rack2"] == []
    assert found["rack1"] == found["rack3"] == [
        "kafka_broker1 would lose its writes: 1 of the 2 members that serve would be left, and it needs 2"
    ]


def test_a_host_waits_until_all_replicas_are_in_sync_and_nothing_is_handed_over() -> None:
    assert can_spare(standing(), "r1h1", "rack1")
    assert "not in sync" in can_spare(standing(in_sync=(1, 3)), "r1h1", "rack1").reason
    assert not can_spare(standing(away=2), "r1h1", "rack1")
    assert handovers(standing(), "r1h1") == [], "the active controller resigns as it ends"

    class World:
        clock = 0.0

        def stand(self) -> Standing:
            return standing()

        def now(self) -> float:
            return self.clock

    drain(World(), "r1h1", "rack1", (), 10)  # type: ignore[arg-type] # it asks for nothing else


def test_what_a_lost_broker_had_is_rebuilt_from_brokers_that_are_in_sync() -> None:
    lost = frozenset({("kafka_broker1", 1), ("kafka_controller1", 1)})
    _check_rest(standing(in_sync=(2, 3), away=1), lost)
    with pytest.raises(Refusal, match="RS-112: kafka_broker1 can't be rebuilt: member 3 on r3h1"):
        _check_rest(standing(in_sync=(2,), away=1), lost)


def test_controllers_are_not_forgotten_while_brokers_stand_on_them() -> None:
    members = tuple(Member(n, f"r{n}h1", f"rack{n}") for n in (1, 2, 3))
    lock = Lock("s", 7, {}, {key: LockedGroup(1, 4, members, None, "c") for key in GROUPS})
    with pytest.raises(Refusal, match="RS-130: kafka_broker1 stands on kafka_controller1"):
        forgetting.check(forgetting.leaving(["kafka_controller1"], lock), lock, standing())
    for names in (["kafka"], ["kafka_broker1"]):
        forgetting.check(forgetting.leaving(names, lock), lock, standing())
    stray = replace(lock, groups={"etcd_voter1": LockedGroup(1, 4, members)} | lock.groups)
    forgetting.check(forgetting.leaving(["etcd"], stray), stray, standing())


def test_instances_are_told_by_their_names() -> None:
    names = {
        "kafka_broker1": "kafka_broker", "kafka_controller12": "kafka_controller", "postgres_shard3": "postgres",
        "edge_balancer1_haproxy": "haproxy", "edge_balancer1": None, "kafka": None,
    }  # fmt: skip
    assert {name: row.name if (row := row_of(name)) else None for name in names} == names
