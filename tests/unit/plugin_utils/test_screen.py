# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The screen of a site: what each member is, how far behind it is, and what a run would do to it."""

from __future__ import annotations

from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.screen import draw, pending, unfinished
from small_site import standing

RACKS = ["rack1", "rack2", "rack3"]


def rows(text: str) -> dict[str, list[str]]:
    """By group its cells."""
    return {cells[0]: cells[1:] for line in text.splitlines() if (cells := [c.strip() for c in line.split("   ") if c])}


def test_a_whole_site_is_a_line_a_group() -> None:
    assert rows(draw(standing(leader=2), RACKS)) == {
        "group": ["rack1", "rack2", "rack3", "a run would"],
        "etcd_voter1": ["r1h1", "r2h1 leader", "r3h1", "nothing"],
        "postgres_shard1": ["r1h1", "r2h1 leader", "r3h1", "nothing"],
        "edge_balancer1": ["r1h1 VIP", "r2h1", "nothing"],
    }


def test_what_is_wrong_with_a_member_stands_out() -> None:
    shown = rows(draw(standing("r2h1", in_sync=(1,)), RACKS))
    assert shown["postgres_shard1"][:3] == ["r1h1 leader", "r2h1 STOPPED", "r3h1 NOT IN SYNC"]
    assert shown["edge_balancer1"][:2] == ["r1h1 VIP", "r2h1 STOPPED (haproxy)"]


def test_a_copy_that_lags_and_a_shard_that_is_paused_are_told() -> None:
    shown = rows(draw(standing(live={"lag": 4_200_000, "paused": True}), RACKS))
    assert shown["postgres_shard1"][:3] == ["r1h1 leader, PAUSED", "r2h1 4.2 MB behind", "r3h1 4.2 MB behind"]


def test_a_member_that_another_takes_over_from_is_told() -> None:
    shown = rows(draw(standing(leaving=(1,)), RACKS))
    assert shown["postgres_shard1"][:2] == ["r1h1 leader, leaves", "r2h1"]
    assert shown["edge_balancer1"][0] == "r1h1 VIP, leaves"
    assert rows(draw(standing(leaving=(2,)), RACKS))["etcd_voter1"][:2] == ["r1h1 leader", "r2h1 leaves"]


def test_moves_that_are_not_ended_and_hosts_that_were_given_up_are_told() -> None:
    assert unfinished(Lock()) == []
    old, new = Member(1, "r1h1", "rack1", leaving=True), Member(2, "r1h2", "rack1")
    lock = Lock(groups={"etcd_voter1": LockedGroup(1, 3, (old, new), formed="c")}, given_up=("r1h1", "r3h2"))
    assert unfinished(lock) == [
        "Moves that were begun and are not ended (site.yml goes on with them):",
        "  etcd_voter1: member 1 on r1h1 (rack1) -> member 2 on r1h2 (rack1); its data is copied from the others",
        "Given up, they get nothing new (scale.yml takes them back): r1h1, r3h2",
    ]


def test_what_a_run_would_do_is_told_by_member_and_program() -> None:
    assert pending(standing()) == {}
    assert pending(standing(need="reload")) == {
        "etcd_voter1": "reload r1h1, r2h1, r3h1",
        "postgres_shard1": "reload r1h1, r2h1, r3h1",
        "edge_balancer1": "reload haproxy on r1h1, keepalived on r1h1, haproxy on r2h1, keepalived on r2h1",
    }
