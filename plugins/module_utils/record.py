# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's record: what it knows of itself, whichever controller asks.

It is written as JSON, which every YAML reader takes, because the start guard and the modules must read it on a host
that has nothing but Python's standard library. The shape is in docs/architecture.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import host
from .start_guard import Paths, load

VERSION = 1


def read(root: str = "/") -> dict[str, Any] | None:
    """The record, None where the host has none yet. Raises Failed where it can't be read."""
    path = Paths("", root).record
    try:
        record = load(path)
    except ValueError as error:
        raise host.Failed(str(error)) from error
    if record is not None and record.get("version") != VERSION:
        raise host.Failed(f"{path} has version {record.get('version')}, and this collection knows {VERSION}")
    return record


def part(record: dict[str, Any] | None, group: str) -> dict[str, Any] | None:
    """What a record says of one group, None where it says nothing."""
    return record["groups"].get(group) if record else None


@contextmanager
def update(root: str = "/") -> Iterator[dict[str, Any]]:
    """The record, to be changed in place: written back whole at the end of the block, not at all where it raises."""
    paths = Paths("record", root)
    with host.flock(paths.lock):
        record = read(root) or {"version": VERSION, "groups": {}}
        yield record
        host.write_atomic(paths.record, json.dumps(record, indent=2, sort_keys=True) + "\n", mode=0o600)


def belong(record: dict[str, Any], site_id: str, own_host: str, rack: str, generation: int, root: str = "/") -> None:
    """Write down whose host this is.

    Raises Failed where the record says that it is another's, or where a run with a higher `generation` of the lock was
    here.
    """
    for key, wanted in (("site_id", site_id), ("host", own_host)):
        if record.get(key, wanted) != wanted:
            raise host.Failed(f"this host's record says {key} {record[key]}, and the run says {wanted}")
    if record.get("generation", generation) > generation:
        newer = record["generation"]
        raise host.Failed(f"this host was changed by a run with lock generation {newer}, and this run has {generation}")
    record.update(site_id=site_id, host=own_host, rack=rack, generation=generation, machine_id=host.machine_id(root))
