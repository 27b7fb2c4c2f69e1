"""A first run that is killed, on bare hosts each time, and run again: it must end as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import live
import pytest

pytestmark = pytest.mark.long

POINTS = {
    "hosts half prepared": "base : Open the managed ports",
    "etcd forming": "etcd_voter1: form",
    "Postgres half installed": "patroni : Install Postgres",
    "shards forming": "postgres_shard2: form",
    "replicas joining": "postgres_shard1: join",
    "balancers starting": "haproxy : Start the balancers",
}
"""What the run has just said when it is killed."""


@pytest.fixture
def bare_lab() -> Iterator[None]:
    live.lab("down")
    try:
        live.lab("up")
        yield
    finally:
        live.lab("down", check=False)


@pytest.mark.usefixtures("bare_lab")
@pytest.mark.parametrize("point", POINTS)
def test_a_first_run_that_was_killed_is_finished_by_the_next(point: str, tmp_path: Path) -> None:
    live.kill_at(POINTS[point], tmp_path / "output")
    again = live.demo()
    assert again.code == 0, again.output[-8000:]
    live.await_whole()
    assert all(group["formed"] for key, group in live.groups().items() if key.startswith(("etcd", "postgres")))
    with live.Load() as load:
        pass
    assert load.lost == 0
    last = live.play()
    assert (last.code, last.changed) == (0, {}), last.output[-8000:]
