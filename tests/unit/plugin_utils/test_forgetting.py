# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves management: what a name means, what must not leave alone, and what the lock says afterwards."""

from __future__ import annotations

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.forgetting import (
    check,
    describe,
    helper,
    leaving,
    require_answers,
    without,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from small_site import standing


def locked() -> Lock:
    members = tuple(Member(number, f"r{number}h1", f"rack{number}") for number in (1, 2, 3))
    keys = ("etcd_voter1", "postgres_shard1", "postgres_shard2", "edge_balancer1")
    components = {key[:-1]: 3 for key in keys}
    return Lock("s", 7, components, {key: LockedGroup(int(key[-1]), 4, members, None, "c") for key in keys})


def named(*names: str) -> list[tuple[str, list[int], bool]]:
    return [(each.group, [one.id for one in each.members], each.whole) for each in leaving(names, locked())]


def test_a_name_is_a_service_a_group_or_a_member() -> None:
    assert named("postgres") == [("postgres_shard1", [1, 2, 3], True), ("postgres_shard2", [1, 2, 3], True)]
    assert named("postgres_shard2") == [("postgres_shard2", [1, 2, 3], True)]
    assert named("postgres_shard2/3", "postgres_shard2/1") == [("postgres_shard2", [1, 3], False)]
    assert named("postgres_shard2/3", "postgres_shard2") == [("postgres_shard2", [1, 2, 3], True)]


@pytest.mark.parametrize("name", ["postgre", "postgres_shard3", "postgres_shard2/9", "postgres/1", "r1h1"])
def test_a_name_that_means_nothing_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="RS-127: The lock knows no"):
        leaving([name], locked())


def test_what_is_forgotten_leaves_the_lock_and_its_numbers_stay_used() -> None:
    lock = without(locked(), leaving(["postgres_shard2", "postgres_shard1/2"], locked()))
    assert set(lock.groups) == {"etcd_voter1", "postgres_shard1", "edge_balancer1"}
    assert [member.id for member in lock.groups["postgres_shard1"].members] == [1, 3]
    assert lock.groups["postgres_shard1"].next_id == 4
    assert lock.components["postgres_shard"] == 3
    assert without(lock, []) == lock


def test_what_others_stand_on_stays_with_them() -> None:
    with pytest.raises(Refusal, match="RS-130: postgres_shard1, postgres_shard2 stands on etcd_voter1"):
        check(leaving(["etcd"], locked()), locked(), standing())
    check(leaving(["etcd", "postgres"], locked()), locked(), standing())
    check(leaving(["postgres_shard1"], locked()), locked(), standing())


def test_a_member_that_runs_does_not_leave_its_group_alone() -> None:
    with pytest.raises(Refusal, match=r"RS-130: member 3 on r3h1 of postgres_shard1 runs.*disable --now rackspread-"):
        check(leaving(["postgres_shard1/3"], locked()), locked(), standing())
    check(leaving(["postgres_shard1/3"], locked()), locked(), standing("r3h1"))


def test_nothing_is_forgotten_while_a_host_can_not_forget_it() -> None:
    require_answers([])
    with pytest.raises(Refusal, match="RS-128: r1h1, r2h1 can't be reached"):
        require_answers(["r1h1", "r2h1"])


def test_a_voter_that_leaves_alone_is_removed_from_its_cluster_by_another() -> None:
    without_postgres = without(locked(), leaving(["postgres"], locked()))
    (voter,) = leaving(["etcd_voter1/3"], without_postgres)
    assert helper(voter, standing("r3h1", leader=2)) == 2
    (shard,) = leaving(["postgres_shard1/3"], locked())
    assert helper(shard, standing("r3h1")) is None
    (whole,) = leaving(["etcd_voter1"], without_postgres)
    assert helper(whole, standing("r3h1")) is None


def test_it_is_told_what_is_forgotten_and_what_that_means() -> None:
    lines = describe(leaving(["postgres_shard2", "postgres_shard1/3"], locked()))
    assert lines[0] == "postgres_shard1 is forgotten: of the group the members 3 on r3h1."
    assert lines[1] == "postgres_shard2 is forgotten: the group with its members 1 on r1h1, 2 on r2h1, 3 on r3h1."
    assert any("RS-129" in line for line in lines)
