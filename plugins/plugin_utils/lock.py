# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: the file of a site that says where members are and which groups are formed. What is in it does not move.

It lies at `<inventory>/.rackspread/lock.yml` and belongs into version control beside the inventory. Parsing only reads
it; site.yml writes it before the first act on a group, whole groups at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from .placement.model import Member, Placement
from .refusals import Refusal

VERSION = 1
STATE = ".rackspread"
"""The folder beside the inventory that holds a site's state; of any other folder Ansible would make inventory."""


@dataclass(frozen=True, slots=True)
class LockedGroup:
    """A group in the lock.

    `intent` is what the first formation was begun with ({formation_id, cluster_id, directory_ids}), or None; `formed`
    the cluster's id once the group was seen formed, which is never taken back.
    """

    index: int
    next_id: int
    members: tuple[Member, ...]
    intent: Mapping[str, Any] | None = None
    formed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The group as it stands in the file."""
        return {
            "index": self.index,
            "next_id": self.next_id,
            "members": [member.to_dict() for member in self.members],
            "intent": None if self.intent is None else dict(self.intent),
            "formed": self.formed,
        }

    @classmethod
    def from_dict(cls, shape: Mapping[str, Any]) -> LockedGroup:
        """The inverse of `to_dict`. Raises KeyError or TypeError where the shape is another."""
        members = tuple(Member.from_dict(member) for member in shape["members"])
        return cls(shape["index"], shape["next_id"], members, shape["intent"], shape["formed"])


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of a site; the empty one stands for a site that was never built.

    `components` holds the index that each component gives next; `generation` counts the writes.
    """

    site_id: str | None = None
    generation: int = 0
    components: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, LockedGroup] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The lock as it stands in the file."""
        return {
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
        before = groups.get(key)
        groups[key] = LockedGroup(
            group.index,
            group.next_id,
            group.members,
            before.intent if before else None,
            before.formed if before else None,
        )
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
        return Lock(shape["site_id"], shape["generation"], shape["components"], groups)
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
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _exclusive(path.parent) as folder:
        present = read(path)
        expected = lock.generation if replaces is None else replaces
        if present.generation != expected:
            raise Refusal("RS-030", f"{path} is at generation {present.generation}, and this run began at {expected}.")
        if present == lock:
            return lock
        written = replace(lock, generation=lock.generation + 1)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in _lines(written.to_dict()))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
        os.fsync(folder)
        return written


@contextmanager
def _exclusive(folder: Path) -> Iterator[int]:
    """Hold the folder's flock, so that comparing and replacing are one step."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


_PLAIN = re.compile(r"[a-z][a-z0-9_]*\d")
"""Names that need no quotes in YAML: those of groups do not, since they end with their index."""
_LINE = re.compile(r"( *)(- )?(?:([a-z][a-z0-9_]*|\"(?:[^\"\\]|\\.)*\"):(?: |$))?(.*)")


def _lines(shape: Mapping[str, Any]) -> Iterator[str]:
    """A lock as YAML: keys sorted, a line for each member, so that a change is seen in a few lines, and values as JSON.

    JSON is YAML too, and written and read twenty times quicker.
    """
    yield "# Where the members of this site are. Written by rackspread; keep it with the inventory."
    for key, value in sorted(shape.items()):
        if key != "groups" or not value:
            yield f"{key}: {_json(value)}"
            continue
        yield "groups:"
        for name, group in sorted(value.items()):
            yield f"  {name if _PLAIN.fullmatch(name) else _json(name)}:"
            for part, content in sorted(group.items()):
                if part == "members" and content:
                    yield "    members:"
                    yield from (f"    - {_json(member)}" for member in content)
                else:
                    yield f"    {part}: {_json(content)}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _parse(text: str) -> Any:
    """A lock's text: line by line where it is as `_lines` writes it, and else, edited by hand, as any YAML."""
    try:
        return _quick(text)
    except (AttributeError, KeyError, TypeError, ValueError):
        import yaml  # the engine alone is of use without it

        try:
            return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # a safe one
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error


def _quick(text: str) -> dict[str, Any]:
    """Raises one of several errors where a line is not as `_lines` writes it."""
    shape: dict[str, Any] = {}
    group: dict[str, Any] | None = None
    members: list[Any] | None = None
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise ValueError(line)
        indent, item, key, value = found.groups()
        name = json.loads(key) if key and key.startswith('"') else key
        if item:
            if indent != "    " or name is not None or members is None:
                raise ValueError(line)
            members.append(json.loads(value))
            continue
        into = {"": shape, "  ": shape["groups"] if indent else None, "    ": group}[indent]
        if name is None or into is None or name in into:
            raise ValueError(line)
        if value:
            into[name], members = json.loads(value), None
        elif indent == "    " and name == "members":
            into[name] = members = []
        elif indent == "  ":
            into[name] = group = {}
        elif name == "groups":
            into[name] = {}
        else:
            raise ValueError(line)
    return shape
