# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: the file of a site that says where members are and which groups are formed. What is in it does not move.

It lies at `<inventory>/.rackspread/lock.yml` and belongs into version control beside the inventory. Parsing only reads
it; site.yml writes it before the first act on a group, whole groups at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from .files import exclusive, write_whole
from .placement.model import Member, Placement
from .refusals import Refusal

VERSION = 1
HEAD = "# Where the members of this site are. Written by rackspread; keep it with the inventory.\n"
STATE = ".rackspread"
"""The folder beside the inventory that holds a site's state; of any other folder Ansible would make inventory."""


@dataclass(frozen=True, slots=True)
class LockedGroup:
    """A group in the lock.

    `intent` is what the first formation was begun with ({formation_id, cluster_id, directory_ids}), or None; `formed`
    the cluster's id once the group was seen formed, which is never taken back. `gone` are members whose host or disk is
    lost for good, for as long as the group's cluster has not forgotten them yet.
    """

    index: int
    next_id: int
    members: tuple[Member, ...]
    intent: Mapping[str, Any] | None = None
    formed: str | None = None
    gone: tuple[Member, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The group as it stands in the file."""
        gone = {"gone": [member.to_dict() for member in self.gone]} if self.gone else {}
        return gone | {
            "index": self.index,
            "next_id": self.next_id,
            "members": [member.to_dict() for member in self.members],
            "intent": None if self.intent is None else dict(self.intent),
            "formed": self.formed,
        }

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> LockedGroup:
        """The inverse of `to_dict`. Raises KeyError or TypeError where the shape is another."""
        members, gone = (tuple(map(Member.from_dict, those)) for those in (shape["members"], shape.get("gone", ())))
        return cls(shape["index"], shape["next_id"], members, shape["intent"], shape["formed"], gone)


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of a site; the empty one stands for a site that was never built.

    `components` holds the index that each component gives next; `generation` counts the writes; `given_up` are hosts
    that carry nothing any more and get nothing new (replace.yml, retire.yml).
    """

    site_id: str | None = None
    generation: int = 0
    components: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, LockedGroup] = field(default_factory=dict)
    given_up: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The lock as it stands in the file."""
        given_up = {"given_up": list(self.given_up)} if self.given_up else {}
        return given_up | {
            "version": VERSION,
            "site_id": self.site_id,
            "generation": self.generation,
            "components": dict(self.components),
            "groups": {key: group.to_dict() for key, group in self.groups.items()},
        }

    def with_group(self, key: str, **changes: Any) -> Lock:
        """A copy in which fields of one group are changed: `lock.with_group("etcd_voter1", formed="…")`."""
        return replace(self, groups={**self.groups, key: replace(self.groups[key], **changes)})


def merge(lock: Lock, placement: Placement, keys: Iterable[str] | None = None) -> Lock:
    """The lock with groups of a placement in it, each whole; their intent and formation stay as they were.

    Args:
        lock: what is there already.
        placement: what is planned.
        keys: the groups that are about to be acted on; None for all.
    """
    groups = dict(lock.groups)
    for key in placement.groups if keys is None else keys:
        group = placement.groups[key]
        before = groups.get(key) or LockedGroup(group.index, group.next_id, ())
        groups[key] = replace(before, index=group.index, next_id=group.next_id, members=group.members)
    return _counted(replace(lock, site_id=lock.site_id or str(uuid4()), groups=groups))


def _counted(lock: Lock) -> Lock:
    """The lock with counters that are past every index in it, so that none is ever given twice."""
    components = dict(lock.components)
    for key, group in lock.groups.items():
        component = key.removesuffix(str(group.index))
        components[component] = max(components.get(component, 1), group.index + 1)
    return replace(lock, components=components)


def path_for(inventory: str | os.PathLike[str]) -> Path:
    """The lock's path for an inventory, given its folder or a file in it."""
    inventory = Path(inventory)
    return (inventory if inventory.is_dir() else inventory.parent) / STATE / "lock.yml"


def read(path: str | os.PathLike[str]) -> Lock:
    """Read a lock; the empty one where there is no file. Raises Refusal RS-032 where it can't be understood."""
    path = Path(path)
    try:
        shape = _parse(path.read_text(encoding="utf-8"))
        if shape["version"] != VERSION:
            raise Refusal("RS-032", f"{path} is of version {shape['version']}, and this is {VERSION}.", path=path)
        groups = {key: LockedGroup.from_dict(group) for key, group in shape["groups"].items()}
        given_up = tuple(shape.get("given_up", ()))
        return Lock(shape["site_id"], shape["generation"], shape["components"], groups, given_up)
    except FileNotFoundError:
        return Lock()
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise Refusal("RS-032", f"{path} is not a lock ({type(error).__name__}: {error}).", path=path) from error


def write(path: str | os.PathLike[str], lock: Lock, replaces: int | None = None) -> Lock:
    """Put a lock in the place of the one that it was read from, and return it with its new generation.

    Writes nothing where the file says the same already, and puts counters right that lag behind the groups.

    Args:
        path: of the file.
        lock: what it shall say.
        replaces: the generation that the file has, where that is not the lock's own: of one made anew.

    Raises Refusal RS-030 where another run has written meanwhile.
    """
    path, lock = Path(path), _counted(lock)
    with exclusive(path.parent):
        present = read(path)
        expected = lock.generation if replaces is None else replaces
        if present.generation != expected:
            raise Refusal("RS-030", f"{path} is at generation {present.generation}, and this run began at {expected}.")
        if present == lock:
            return lock
        written = replace(lock, generation=lock.generation + 1)
        write_whole(path, _text(written.to_dict()), 0o644)
        return written


def _text(shape: Mapping[str, Any]) -> str:
    """A lock as JSON, sorted, with a line for each member, so that a change is seen in a few lines.

    JSON is YAML, too, and ten thousand groups are read in a fraction of a second, not in ten.
    """
    groups = (f"{_json(key)}: {_group(own)}" for key, own in sorted(shape["groups"].items()))
    parts = {key: _json(value) for key, value in shape.items()} | {"groups": _within("{", groups, "}")}
    return HEAD + _within("{", (f'"{key}": {part}' for key, part in sorted(parts.items())), "}") + "\n"


def _group(own: Mapping[str, Any]) -> str:
    parts = [f'"{key}": {_json(value)}' for key, value in sorted(own.items()) if key != "members"]
    return f'{{{", ".join(parts)}, "members": {_within("[", map(_json, own["members"]), "]")}}}'


def _within(start: str, parts: Iterable[str], end: str) -> str:
    return start + "\n" + ",\n".join(parts) + "\n" + end


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _parse(text: str) -> Any:
    """A lock's text: JSON as it was written, or, edited by hand, any YAML. Raises ValueError for what is neither."""
    try:
        return json.loads(text.removeprefix(HEAD))
    except ValueError:
        import yaml  # the engine alone is of use without it

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
