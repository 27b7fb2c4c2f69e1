# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts remember against what the lock says, and the lock made anew of it."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils.living import compare, rebuild
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

SITE = "site-1"
INTENT = {"formation_id": "f-1", "cluster_id": None, "directory_ids": {}}


def member(number: int, host: str) -> Member:
    return Member(number, host, f"rack{number}", number == 1, f"192.0.2.{number}", {"main": 2379})


VOTERS = tuple(member(number, f"h{number}") for number in (1, 2, 3))
BALANCERS = tuple(member(number, f"h{number}") for number in (2, 3))
LOCK = Lock(
    SITE,
    7,
    {"etcd_voter": 3, "edge_balancer": 2},
    {
        "etcd_voter2": LockedGroup(2, 5, VOTERS, INTENT, "c-1"),
        "edge_balancer1": LockedGroup(1, 4, BALANCERS),
    },
)


def records() -> dict[str, Any]:
    """What the hosts remember when all is well; h9 never had anything to do."""
    found: dict[str, Any] = {"h9": None}
    for key, group in LOCK.groups.items():
        names = ["edge_balancer1_haproxy", "edge_balancer1_keepalived"] if key == "edge_balancer1" else [key]
        for each in group.members:
            record = found.setdefault(each.host, {"version": 1, "site_id": SITE, "generation": 6, "groups": {}})
            for name in names:
                record["groups"][name] = {**group.to_dict(), "member": each.id, "volume": None}
    return deepcopy(found)


def codes(lock: Lock, found: dict[str, Any]) -> list[str]:
    return [refusal.code for refusal in compare(lock, found)]


def test_hosts_that_remember_the_same_are_no_contradiction() -> None:
    assert compare(LOCK, records()) == []
    assert compare(LOCK, {"h9": None}) == []


def test_a_first_run_finds_nothing_to_compare() -> None:
    assert compare(Lock(), {"h1": None, "h2": None}) == []


def test_a_living_site_without_a_lock_is_refused() -> None:
    assert codes(Lock(), records()) == ["RS-047"]
    assert "etcd_voter2" in str(compare(Lock(), {"h1": records()["h1"]})[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"site_id": "site-2"}, "site site-2"),
        ({"generation": 8}, "generation 8"),
        ({"groups": {"etcd_voter9": {"index": 9, "member": 1, "formed": None}}}, "etcd_voter9"),
        ({"groups": {"etcd_voter2": {"index": 2, "member": 3, "formed": None}}}, "h3"),
        ({"groups": {"etcd_voter2": {"index": 2, "member": 9, "formed": None}}}, "nowhere"),
        ({"groups": {"etcd_voter2": {"index": 2, "member": 1, "formed": "c-2"}}}, "c-2"),
    ],
)
def test_a_host_that_remembers_otherwise_is_refused(change: dict[str, Any], words: str) -> None:
    found = records()
    found["h1"] |= change
    [refusal] = compare(LOCK, found)
    assert refusal.code == "RS-048"
    assert refusal.sentence.startswith("h1 ")
    assert words in refusal.sentence


def test_the_rebuilt_lock_has_the_same_members_ids_and_indices(tmp_path: Path) -> None:
    rebuilt = locks.write(tmp_path / "lock.yml", rebuild(records()), replaces=0)
    assert rebuilt.site_id == SITE
    assert rebuilt.groups == LOCK.groups
    assert rebuilt.components == LOCK.components
    assert rebuilt.generation > max(record["generation"] for record in records().values() if record)
    assert compare(rebuilt, records()) == []
    assert locks.read(tmp_path / "lock.yml") == rebuilt


def test_the_latest_record_says_who_is_a_member() -> None:
    found = records()
    found["h1"]["groups"]["etcd_voter2"]["members"].pop()  # h1 was away when the third came
    found["h1"]["generation"] = 3
    assert rebuild(found).groups["etcd_voter2"].members == VOTERS


def test_a_group_seen_formed_by_one_host_only_is_formed() -> None:
    found = records()
    found["h1"]["groups"]["etcd_voter2"]["formed"] = None
    assert rebuild(found).groups["etcd_voter2"].formed == "c-1"


@pytest.mark.parametrize(
    "change",
    [
        {"formed": "c-2"},
        {"intent": {**INTENT, "formation_id": "f-2"}},
        {"index": 3},
        {"member": 2},
    ],
)
def test_hosts_that_contradict_each_other_make_no_lock(change: dict[str, Any]) -> None:
    found = records()
    found["h1"]["groups"]["etcd_voter2"] |= change
    with pytest.raises(Refusal, match="RS-049"):
        rebuild(found)


def test_hosts_of_two_sites_make_no_lock() -> None:
    found = records()
    found["h1"]["site_id"] = "site-2"
    with pytest.raises(Refusal, match="RS-049"):
        rebuild(found)


def test_nothing_is_rebuilt_of_nothing() -> None:
    with pytest.raises(Refusal, match="RS-049"):
        rebuild({"h1": None})
