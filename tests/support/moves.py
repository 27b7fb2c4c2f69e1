"""The playbooks of operation as tests run them, and where members are by the lock. For tests on booted hosts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import live

SPEC = live.INVENTORY / "services.rackspread.yml"


def options(check: bool = False, **given: Any) -> list[str]:
    """What to say to a playbook of operation that asks."""
    return ["--extra-vars", json.dumps({"confirm": True, **given}), *(["--check"] if check else [])]


def play(playbook: str, check: bool = False, **given: Any) -> live.Run:
    """One of the playbooks, to a good end."""
    run = live.play(f"playbooks/{playbook}.yml", *options(check, **given), seconds=1800)
    assert run.code == 0, run.output[-8000:]
    return run


def places() -> dict[str, set[str]]:
    """By group the hosts of its members."""
    return {key: {member["host"] for member in group["members"]} for key, group in live.groups().items()}


def carriers(prefix: str) -> list[str]:
    """The hosts that carry members of groups whose key begins so."""
    return sorted(set.union(*(hosts for key, hosts in places().items() if key.startswith(prefix))))


def killed_twice(playbook: str, points: tuple[str, str], folder: Path, **given: Any) -> None:
    """Run it, kill it at two points, and run it to its end."""
    for number, point in enumerate(points):
        live.kill_at(point, folder / f"{number}.log", f"playbooks/{playbook}.yml", *options(**given))
    play(playbook, **given)
