# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which member a group can spare, and when it is whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.gate import healthy, may_restart, roll_order
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State


def seen(*states: str, leader: int | None = 1, in_sync: tuple[int, ...] = (2, 3, 4, 5)) -> list[Observation]:
    """Members 1, 2, 3 … in these states, each in a rack of its own."""
    return [
        Observation(
            member=number,
            host=f"h{number}",
            rack=f"rack{number}",
            live={"role": "leader" if number == leader else "follower", "in_sync": in_sync},
            state=State(state),
        )
        for number, state in enumerate(states, 1)
    ]


J, F, S, U = "joined", "formed", "stopped", "unreachable"


@pytest.mark.parametrize(
    ("states", "member", "rule", "ok"),
    [
        ((J, J, J), 2, "quorum", True),
        ((J, J, J), 1, "quorum", True),
        ((J, J, F), 2, "quorum", False),  # another rack is out already
        ((J, J, F), 3, "quorum", True),  # what does not serve can't be missed
        ((F, F, F), 1, "quorum", True),
        ((J, J, J, J, U), 1, "quorum", False),
        ((J, J), 1, "quorum", False),
        ((J,), 1, "quorum", True),  # nobody else is there to be waited for
        ((J, J), 1, "any_other", True),
        ((J, S), 1, "any_other", False),
        ((J, S), 2, "any_other", True),
        ((J, J, J), 2, "in_sync", True),
        ((J, J, S), 2, "in_sync", False),
        ((J, J, S), 3, "in_sync", True),
    ],
)
def test_who_can_be_spared(states: tuple[str, ...], member: int, rule: str, ok: bool) -> None:
    verdict = may_restart("group", seen(*states), member, rule)
    assert bool(verdict) is ok, verdict.reason
    assert verdict.reason


def test_two_members_of_one_rack_may_be_away_together_while_a_majority_is_left() -> None:
    five = seen(J, J, J, J, S)
    assert not may_restart("group", five, 4, "quorum")
    five[3] = replace(five[3], rack="rack5")
    assert may_restart("group", five, 4, "quorum")


def test_a_replica_waits_until_all_copies_are_complete() -> None:
    assert not may_restart("group", seen(J, J, J, in_sync=(2,)), 2, "in_sync")
    assert not may_restart("group", seen(J, J, J, leader=None), 2, "in_sync")
    assert may_restart("group", seen(F, F, F, leader=None), 2, "in_sync")  # all are broken: there is nothing to lose


def test_a_broker_waits_until_everybody_counts_all_copies_as_complete() -> None:
    whole = seen(J, J, J, leader=None, in_sync=(1, 2, 3))
    assert may_restart("group", whole, 2, "copies")
    assert healthy("group", whole, "copies")
    whole[0] = replace(whole[0], live={"in_sync": (1, 2)}, detail="4 replicas lag")
    assert not may_restart("group", whole, 2, "copies")
    assert may_restart("group", whole, 3, "copies")  # the one that lags itself
    assert "h3" in healthy("group", whole, "copies").reason
    assert not may_restart("group", seen(J, J, S, in_sync=(1, 2, 3)), 2, "copies")
    assert may_restart("group", seen(J, S, F, in_sync=(1,)), 3, "copies")  # it serves nobody


def test_a_group_is_whole_or_says_what_is_missing() -> None:
    assert healthy("group", seen(J, J, J), "quorum")
    assert "h3" in healthy("group", seen(J, J, S), "quorum").reason
    assert "no leader" in healthy("group", seen(J, J, J, leader=None), "in_sync").reason
    assert "h3" in healthy("group", seen(J, J, J, in_sync=(2,)), "in_sync").reason


def test_broken_members_come_first_and_the_leader_last() -> None:
    assert [each.member for each in roll_order(seen(J, J, F))] == [3, 2, 1]


def test_the_leader_comes_before_the_followers_where_it_says_so() -> None:
    three = seen(J, J, J, leader=2)
    three[1] = replace(three[1], live={**(three[1].live or {}), "leader_first": True})
    assert [each.member for each in roll_order(three)] == [2, 1, 3]
