"""The short form of what test_moves.py does at length: plans, refusals, and, as a long test, a roll under clients.

Run after test_upkeep.py, on the same lab.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import live
import pytest

Tell = Callable[[str], None]

pytestmark = pytest.mark.usefixtures("demo")


def options(**given: object) -> list[str]:
    return ["--extra-vars", json.dumps({"confirm": True, **given})]


def test_a_plan_is_shown_and_changes_nothing() -> None:
    live.await_whole()  # else a plan is refused for that (RS-115)
    lock = (live.STATE / "lock.yml").read_text()
    host = live.members("postgres_shard")["postgres_shard1"][0]["host"]
    run = live.play("playbooks/retire.yml", "--check", *options(retire_hosts=host))
    assert run.code == 0, run.output[-6000:]
    assert re.search(rf"postgres_shard1: member \d+ on {host} \S+ -> member \d+ on", run.output)
    assert not run.changed or set(run.changed) == {"localhost"}
    assert (live.STATE / "lock.yml").read_text() == lock


@pytest.mark.parametrize(
    ("playbook", "given", "code"),
    [
        ("replace", {"replace_hosts": "r1h1"}, "RS-111"),
        ("retire", {"retire_hosts": "r9h9"}, "RS-114"),
        ("retire", {"retire_hosts": "r1h1", "confirm": False}, "RS-113"),
    ],
)
def test_what_must_not_be_is_refused(playbook: str, given: dict[str, object], code: str) -> None:
    live.await_whole()
    lock = (live.STATE / "lock.yml").read_text()
    run = live.play(f"playbooks/{playbook}.yml", *options(**given))
    assert run.code != 0
    assert code in run.output
    assert (live.STATE / "lock.yml").read_text() == lock


@pytest.mark.long
def test_postgres_is_restarted_while_clients_write(told: Tell) -> None:
    """The goal of 3 s is held by the long test; here it may be a busy machine."""
    live.await_whole()
    with live.Load() as load:
        run = live.play("playbooks/roll.yml", *options(roll_services=["postgres"], roll_restart=True))
    assert run.code == 0, run.output[-6000:]
    told(f"a roll of Postgres: clients out {load.outage():.2f} s, {load.lost} lost")
    assert load.lost == 0
    assert load.outage() <= 15
