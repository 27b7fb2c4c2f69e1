"""What tests of a whole site share: the demo, brought up once from nothing and taken down at the end. Needs root."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import live  # noqa: E402


@pytest.fixture(scope="session")
def demo() -> Iterator[live.Run]:
    """The demo's first run. With RACKSPREAD_KEEP_DEMO in the environment it is used as it stands, and left standing."""
    keep = "RACKSPREAD_KEEP_DEMO" in os.environ
    if not keep:
        live.lab("down")
    try:
        run = live.demo()
        assert run.code == 0, run.output[-12000:]
        yield run
    finally:
        if not keep:
            live.lab("down", check=False)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure where whoever runs the tests sees it, also of a test that passes."""

    def tell(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}", flush=True)

    return tell


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The demo's inventory as another clone has it: without the site's state."""
    target = tmp_path / "inventory"
    shutil.copytree(live.INVENTORY, target, ignore=shutil.ignore_patterns(".rackspread"))
    return target
