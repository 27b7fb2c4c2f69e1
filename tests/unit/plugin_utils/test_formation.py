# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group needs next, for every state of three members, and the cases that would destroy something.

`decisions.tsv` has a row for every combination, to be read by people. This file, run as a program, writes it anew.
"""

from __future__ import annotations

import csv
import sys
from itertools import combinations_with_replacement, permutations, product
from pathlib import Path

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[3] / ".collections"))

from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES, Service
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import (
    Action,
    Known,
    Observation,
    State,
    classify,
    classify_stateless,
    decide,
    intents,
    was_formed,
)

TABLE = Path(__file__).with_name("decisions.tsv")
ETCD, POSTGRES = SERVICES["etcd"], SERVICES["postgres"]
SITE, GROUP = "site-1", "etcd_voter1"
INTENT = {"formation_id": "f-1", "cluster_id": None, "directory_ids": {}}
KNOWN = Known(GROUP, SITE, INTENT, "c-1")
BEGUN = Known(GROUP, SITE, INTENT, None)
NEW = Known(GROUP, SITE)
PROOF = {State.LOST, State.STOPPED, State.FORMED, State.JOINED}
"""States that no member of a group has that was never formed."""


def members(*states: str) -> list[Observation]:
    """Members 1, 2, 3 … in these states. The joined ones count all but those that are new; the first of them leads."""
    counted = [number for number, state in enumerate(states, 1) if state != "empty"]
    seen = []
    for number, state in enumerate(states, 1):
        joined = state == "joined"
        live = {"members": counted, "healthy": True, "role": "follower"} if joined else None
        if joined and not any(each.leads for each in seen):
            live["role"] = "leader"
        seen.append(
            Observation(
                member=number,
                host=f"h{number}",
                running=state in ("joined", "formed"),
                live=live,
                state=State(state),
                staged="v1",
            )
        )
    return seen


def rows() -> list[list[str]]:
    """The table: what is known before, the states of three members, the step and whom it is for."""
    found = []
    for formed, states in product(("never", "before"), combinations_with_replacement(State, 3)):
        seen = members(*states)
        decision = decide(GROUP, seen, formed == "before", ETCD)
        whom = ",".join(seen[each - 1].state for each in decision.members)
        found.append([formed, *states, decision.action, whom, decision.code or ""])
    return found


HEADER = ["formed", "state", "state", "state", "step", "of", "code"]


def table() -> list[list[str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t"))


def step(*states: str, formed: bool = True, service: Service = ETCD) -> tuple[str, tuple[int, ...], str | None]:
    decision = decide(GROUP, members(*states), formed, service)
    return decision.action.value, decision.members, decision.code


# The table


def test_every_combination_is_decided_as_the_table_says() -> None:
    assert [HEADER, *rows()] == table()


def test_the_table_is_whole() -> None:
    assert len(table()) == 1 + 2 * 220  # multisets of three out of ten states


@pytest.mark.parametrize("service", [ETCD, POSTGRES])
def test_nothing_is_formed_that_anybody_saw_formed_or_could_not_see(service: Service) -> None:
    for formed, states in product((True, False), product(State, repeat=3)):
        decision = decide(GROUP, members(*states), formed, service)
        if decision.action is Action.FORM:
            assert not formed
            assert set(states) <= {State.EMPTY, State.HALF_FORMED}


def test_only_starts_and_forms_touch_several_voters_at_once() -> None:
    for formed, states in product((True, False), product(State, repeat=3)):
        decision = decide(GROUP, members(*states), formed, ETCD)
        if decision.action in (Action.JOIN, Action.REPAIR):
            assert len(decision.members) == 1


def test_a_member_is_only_taken_in_by_a_majority() -> None:
    for states in product(State, repeat=3):
        seen = members(*states)
        decision = decide(GROUP, seen, True, ETCD)
        if decision.action in (Action.JOIN, Action.REPAIR):
            counted = next(each.counted for each in seen if each.state is State.JOINED)
            assert states.count(State.JOINED) > len(counted) // 2


def test_an_absent_or_foreign_member_stops_everything() -> None:
    for formed, states in product((True, False), product(State, repeat=3)):
        if {State.UNREACHABLE, State.FOREIGN, State.UNMOUNTED, State.LEFTOVERS} & set(states):
            assert decide(GROUP, members(*states), formed, ETCD).action is Action.REFUSE


def test_the_order_of_members_does_not_matter() -> None:
    for states in combinations_with_replacement(State, 3):
        found = {
            (decision.action, tuple(sorted(order[each - 1] for each in decision.members)), decision.code)
            for order in set(permutations(states))
            for decision in [decide(GROUP, members(*order), True, ETCD)]
        }
        assert len(found) == 1, states


def test_every_refusal_names_a_code_and_a_host() -> None:
    for formed, states in product((True, False), product(State, repeat=3)):
        decision = decide(GROUP, members(*states), formed, ETCD)
        if decision.action is Action.REFUSE:
            assert decision.code
            assert decision.facts["hosts"]


# The dangers, one by one


def test_two_stopped_with_data_and_a_blank_third_are_started_then_repaired_never_formed() -> None:
    assert step("stopped", "stopped", "lost") == ("start", (1, 2), None)
    assert step("joined", "joined", "lost") == ("repair", (3,), None)
    assert step("stopped", "stopped", "empty", formed=False) == ("start", (1, 2), None)


def test_a_blank_third_that_its_cluster_counts_is_repaired_though_its_record_is_gone_too() -> None:
    seen = members("joined", "joined", "empty")
    seen = [Observation(**{**fields(each), "live": each.live and {**each.live, "members": [1, 2, 3]}}) for each in seen]
    assert decide(GROUP, seen, True, ETCD).action is Action.REPAIR


def test_all_disks_blank_after_it_was_formed() -> None:
    assert step("lost", "lost", "lost") == ("refuse", (1, 2, 3), "RS-066")
    assert step("empty", "empty", "empty") == ("refuse", (1, 2, 3), "RS-066")
    assert step("empty", "empty", "lost", formed=False) == ("refuse", (1, 2, 3), "RS-066")


def test_two_of_three_lost() -> None:
    assert step("joined", "lost", "lost") == ("refuse", (2, 3), "RS-067")
    assert step("stopped", "lost", "lost") == ("refuse", (2, 3), "RS-067")
    assert step("stopped", "lost", "lost", service=POSTGRES) == ("start", (1,), None)
    assert step("joined", "lost", "lost", service=POSTGRES) == ("refuse", (2, 3), "RS-067")


def test_a_foreign_member_is_never_touched_nor_its_group() -> None:
    assert step("foreign", "empty", "empty", formed=False) == ("refuse", (1,), "RS-060")
    assert step("foreign", "stopped", "stopped") == ("refuse", (1,), "RS-060")


def test_an_unreachable_member_keeps_the_group_as_it_is() -> None:
    assert step("unreachable", "empty", "empty", formed=False) == ("refuse", (1,), "RS-061")
    assert step("unreachable", "stopped", "joined") == ("refuse", (1,), "RS-061")


def test_a_first_formation_is_of_all_voters_or_of_the_preferred_leader() -> None:
    assert step("empty", "empty", "empty", formed=False) == ("form", (1, 2, 3), None)
    seen = members("empty", "empty", "empty")
    seen[1] = Observation(**{**fields(seen[1]), "preferred": True})
    assert decide(GROUP, seen, False, POSTGRES).members == (2,)


def test_a_half_formed_group_goes_on_where_it_was_begun() -> None:
    assert step("half_formed", "half_formed", "empty", formed=False) == ("form", (1, 2, 3), None)
    seen = members("empty", "empty", "half_formed")
    seen[0] = Observation(**{**fields(seen[0]), "preferred": True})
    assert decide(GROUP, seen, False, POSTGRES).members == (3,)


def test_a_half_formed_group_goes_on_under_one_intent_only() -> None:
    seen = members("half_formed", "half_formed", "empty")
    one, other = {"intent": INTENT}, {"intent": {**INTENT, "formation_id": "f-2"}}
    seen = [
        Observation(**{**fields(each), "record": record}) for each, record in zip(seen, (one, other, None), strict=True)
    ]
    assert decide(GROUP, seen, False, ETCD).code == "RS-064"
    seen[1] = Observation(**{**fields(seen[1]), "record": one})
    assert decide(GROUP, seen, False, ETCD).action is Action.FORM
    assert set(intents(seen, NEW)) == {"f-1"}


def test_members_that_already_run_are_not_formed_again_but_waited_for() -> None:
    seen = [Observation(**{**fields(each), "running": True}) for each in members(*["half_formed"] * 3)]
    assert decide(GROUP, seen, False, ETCD).action is Action.WAIT
    seen[2] = members(*["half_formed"] * 3)[2]
    assert decide(GROUP, seen, False, ETCD).members == (3,)


def test_empty_members_join_one_by_one_where_they_vote_and_side_by_side_where_they_do_not() -> None:
    assert step("joined", "empty", "empty") == ("join", (2,), None)
    assert step("joined", "empty", "empty", service=POSTGRES) == ("join", (2, 3), None)


def test_nobody_joins_a_group_without_a_leader() -> None:
    seen = members("joined", "empty", "empty")
    seen[0] = Observation(**{**fields(seen[0]), "live": {**seen[0].live, "role": "follower"}})
    assert decide(GROUP, seen, True, POSTGRES).code == "RS-065"


# Classification


def fields(seen: Observation) -> dict:
    return {name: getattr(seen, name) for name in seen.__slots__}


MARKER = {"site_id": SITE, "group": GROUP, "member": 2, "formation_id": "f-1"}
RECORD = {"index": 1, "intent": INTENT, "formed": "c-1", "members": [], "member": 2, "volume": None}
DATA = {"state": "data", "cluster_id": "c-1", "marker": MARKER}
LIVE = {"cluster_id": "c-1", "healthy": True, "members": [1, 2, 3], "role": "follower"}
BLANK = {"state": "empty", "cluster_id": None, "marker": None}


def looked(**answer: object) -> Observation:
    return Observation.from_answer({"id": 2, "host": "h2", "rack": "rack2"}, {"site_id": SITE, **answer})


@pytest.mark.parametrize(
    ("known", "answer", "state"),
    [
        (NEW, {"found": BLANK, "site_id": None}, "empty"),
        (KNOWN, {"found": BLANK, "site_id": None}, "empty"),
        (KNOWN, {"found": BLANK, "record": RECORD}, "lost"),
        (NEW, {"found": BLANK, "record": RECORD}, "lost"),
        (BEGUN, {"found": BLANK, "record": {**RECORD, "formed": None}}, "empty"),
        (KNOWN, {"found": {"state": "leftovers"}}, "leftovers"),
        (KNOWN, {"found": DATA, "record": RECORD}, "stopped"),
        (KNOWN, {"found": DATA}, "stopped"),  # the system disk was lost, the data volume was not
        (NEW, {"found": DATA, "record": RECORD}, "stopped"),
        (KNOWN, {"found": DATA, "record": RECORD, "running": True}, "formed"),
        (KNOWN, {"found": DATA, "record": RECORD, "running": True, "live": {**LIVE, "members": [1, 3]}}, "formed"),
        (KNOWN, {"found": DATA, "record": RECORD, "running": True, "live": {**LIVE, "healthy": False}}, "formed"),
        (KNOWN, {"found": DATA, "record": RECORD, "running": True, "live": LIVE}, "joined"),
        (BEGUN, {"found": DATA, "running": True, "live": LIVE}, "joined"),
        (BEGUN, {"found": {**DATA, "cluster_id": None}}, "half_formed"),
        (BEGUN, {"found": {**DATA, "cluster_id": None}, "running": True}, "half_formed"),
        (KNOWN, {"found": {**DATA, "state": "half_formed", "cluster_id": None}, "running": True}, "half_formed"),
        (KNOWN, {"found": BLANK, "running": True}, "half_formed"),  # it clones
        # another cluster's
        (KNOWN, {"found": {**DATA, "cluster_id": "c-2"}, "record": RECORD}, "foreign"),
        (KNOWN, {"found": DATA, "record": RECORD, "running": True, "live": {**LIVE, "cluster_id": "c-2"}}, "foreign"),
        (KNOWN, {"found": DATA, "record": {**RECORD, "formed": "c-2"}}, "foreign"),
        (NEW, {"found": {**DATA, "marker": None}, "site_id": None}, "foreign"),
        (BEGUN, {"found": {**DATA, "marker": None}}, "foreign"),
        # another site's, group's, member's, formation's
        (KNOWN, {"found": BLANK, "site_id": "site-2"}, "foreign"),
        (KNOWN, {"found": {**DATA, "marker": {**MARKER, "site_id": "site-2"}}}, "foreign"),
        (KNOWN, {"found": {**DATA, "marker": {**MARKER, "group": "etcd_voter2"}}}, "foreign"),
        (KNOWN, {"found": {**DATA, "marker": {**MARKER, "member": 3}}}, "foreign"),
        (BEGUN, {"found": {**DATA, "marker": {**MARKER, "formation_id": "f-2"}}}, "foreign"),
    ],
)
def test_a_member_is_classified(known: Known, answer: dict, state: str) -> None:
    assert classify(looked(**answer), known).value == state


VOLUME = {"uuid": "u-1", "path": "/srv/data"}


@pytest.mark.parametrize(
    ("volume", "state"),
    [
        ({**VOLUME, "mounted": True}, "stopped"),
        ({**VOLUME, "mounted": False}, "unmounted"),
        ({**VOLUME, "uuid": "u-2", "mounted": True}, "unmounted"),
        (None, "unmounted"),
    ],
)
def test_the_recorded_volume_must_be_mounted(volume: dict | None, state: str) -> None:
    answer = {"found": DATA, "record": {**RECORD, "volume": VOLUME}, "volume": volume}
    assert classify(looked(**answer), KNOWN).value == state


def test_a_blank_mount_point_is_unmounted_and_not_lost() -> None:
    answer = {"found": BLANK, "record": {**RECORD, "volume": VOLUME}, "volume": {**VOLUME, "mounted": False}}
    assert classify(looked(**answer), KNOWN).value == "unmounted"


def test_an_unreachable_member_is_nothing_else() -> None:
    gone = Observation.unreachable({"id": 2, "host": "h2"}, "timed out")
    assert classify(gone, KNOWN) is State.UNREACHABLE
    assert classify_stateless(gone) is State.UNREACHABLE


def test_a_member_without_data_serves_or_runs_or_does_not() -> None:
    assert classify_stateless(looked(running=True, live={"healthy": True})) is State.JOINED
    assert classify_stateless(looked(running=True, live={"healthy": False})) is State.FORMED
    assert classify_stateless(looked(running=False)) is State.STOPPED


def test_whoever_saw_the_group_formed_is_believed() -> None:
    blank = [looked(found=BLANK)]
    assert not was_formed(blank, NEW)
    assert was_formed(blank, KNOWN)
    assert was_formed([*blank, looked(found=BLANK, record=RECORD)], NEW)


if __name__ == "__main__":
    with TABLE.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out, delimiter="\t", lineterminator="\n").writerows([HEADER, *rows()])
