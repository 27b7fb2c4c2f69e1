"""A first run that is killed, on bare hosts each time, and run again: it must end as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
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


def kill_at(words: str, output: Path) -> None:
    """Begin a run, and kill it with all its workers once it has said something."""
    with output.open("w") as file:
        run = subprocess.Popen(
            live.playbook_command("site.yml"), cwd=live.ROOT, env=live.ansible_environment(),
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        live.until(lambda: words in output.read_text() or run.poll() is not None, f"the run says {words!r}", 900, 0.1)
        assert run.poll() is None, output.read_text()[-6000:]
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


@pytest.mark.usefixtures("bare_lab")
@pytest.mark.parametrize("point", POINTS)
def test_a_first_run_that_was_killed_is_finished_by_the_next(point: str, tmp_path: Path) -> None:
    kill_at(POINTS[point], tmp_path / "output")
    again = live.demo()
    assert again.code == 0, again.output[-8000:]
    live.await_whole()
    assert all(group["formed"] for key, group in live.groups().items() if key.startswith(("etcd", "postgres")))
    with live.Load() as load:
        pass
    assert load.lost == 0
    last = live.play()
    assert (last.code, last.changed) == (0, {}), last.output[-8000:]
