# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine on a JSON file, for people without Ansible and with nothing but Python.

    python -m plugins.plugin_utils.placement site.json            from the folder of the collection
    python -m plugins.plugin_utils.placement - < site.json --page site.html

The file, all of it but `racks` and `groups` with defaults:

    {"racks": {"rack1": ["a1", "a2"], "rack2": {"b1": 64, "b2": null}},   hosts, or hosts with their capacity
     "groups": {"redis": {"groups": 3, "members": 3, "weight": 1, "hosts": ["a1", "b1"],
                          "votes": false, "leaders": true, "leaders_vote": false, "rack_limit": 3}},
     "within": {"rack1": ["room1"], "rack2": ["room2"]}, "rack_first": false,
     "lock": what an earlier answer has as `lock`, "lost": ["b2"], "moves": 0}   moves: null for all that it takes

The answer has `groups` ({name: {component, members}}), `bounds`, `survival`, `moves` and `lock`. The exit code is 1
where the groups can't be placed; the reason goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..lock import Lock, LockedGroup, merge
from ..refusals import Refusal
from .bounds import bounds
from .engine import place
from .model import Demand, Host
from .page import Picture, page
from .survival import Body, bodies_of, survives


def answer(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the module's text describes. Raises Refusal, and KeyError, TypeError or ValueError where it is not so."""
    within = asked.get("within", {})
    hosts = [
        Host(name, rack, capacity=capacity, within=tuple(within.get(rack, ())))
        for rack, of in asked["racks"].items()
        for name, capacity in (of.items() if isinstance(of, Mapping) else dict.fromkeys(of).items())
    ]
    names = tuple(host.name for host in hosts)
    demands = [_demand(name, of, names, bool(asked.get("rack_first"))) for name, of in asked["groups"].items()]
    shapes = asked.get("lock") or {}
    locked = {key: LockedGroup.from_dict(group) for key, group in shapes.get("groups", {}).items()}
    lock = Lock(shapes.get("site_id"), components=shapes.get("components", {}), groups=locked)
    placement = place(demands, hosts, lock, lost=asked.get("lost", ()), moves=asked.get("moves", 0))
    groups = {
        key: {"component": group.component, "members": [member.to_dict() for member in group.members]}
        for key, group in placement.groups.items()
    }
    bodies: list[Body] = []
    for name, of in asked["groups"].items():
        own = [{"name": key, **group} for key, group in groups.items() if group["component"] == name]
        bodies += bodies_of(own, bool(of.get("votes")), bool(of.get("leaders_vote")))
    return {
        "groups": groups,
        "bounds": bounds(demands, hosts, placement),
        "survival": survives(bodies),
        "moves": {name: {"made": made, "least": least} for name, (made, least) in placement.moves.items()},
        "lock": merge(lock, placement).to_dict(),
    }


def _demand(name: str, of: Mapping[str, Any], names: Sequence[str], rack_first: bool) -> Demand:
    members, votes = of["members"], bool(of.get("votes"))
    return Demand(
        component=name,
        groups=of.get("groups", 1),
        members=members,
        hosts=tuple(of.get("hosts", names)),
        weight=of.get("weight", 1),
        rack_limit=of.get("rack_limit", max(1, (members - 1) // 2) if votes else members),
        rack_first=rack_first,
        leads=of.get("leaders", True),
        leaders_vote=bool(of.get("leaders_vote")),
    )


def _picture(asked: Mapping[str, Any], found: Mapping[str, Any], title: str) -> Picture:
    before = {key: group["members"] for key, group in ((asked.get("lock") or {}).get("groups") or {}).items()}
    return Picture(
        title=title,
        racks={rack: list(of) for rack, of in asked["racks"].items()},
        groups={key: group["members"] for key, group in found["groups"].items()},
        before=before or None,
        bounds=found["bounds"],
        survival=found["survival"],
        moves={name: (made["made"], made["least"]) for name, made in found["moves"].items()},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, place and print; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m plugins.plugin_utils.placement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", help="the JSON file; - is standard input")
    parser.add_argument("--page", type=Path, help="write a page that shows the placement there")
    given = parser.parse_args(arguments)
    try:
        asked = json.loads(sys.stdin.read() if given.file == "-" else Path(given.file).read_text(encoding="utf-8"))
        found = answer(asked)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return 1
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        print(f"{given.file} is not as --help describes it: {error!r}", file=sys.stderr)
        return 2
    if given.page:
        given.page.write_text(page(_picture(asked, found, given.file)), encoding="utf-8")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
