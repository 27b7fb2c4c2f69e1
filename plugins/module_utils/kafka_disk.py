# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies in the log folders of a member of Kafka, by the meta.properties that each has once it is formatted."""

from __future__ import annotations

import os
from typing import Any

from . import host
from .driver import DATA, EMPTY, HALF_FORMED, LEFTOVERS, UNMOUNTED, Found

JOINING = "joining"
"""In the data folder of a controller, while it came with a blank disk and does not vote yet."""
ASIDE = ".new"
"""Behind the name of a log folder that is being formatted."""
NOT_DATA = {".rackspread.json", "lost+found", JOINING}


def meta(folder: str) -> dict[str, str] | None:
    """The meta.properties of a log folder; None where there is none."""
    text = host.read(f"{folder}/meta.properties")
    if text is None:
        return None
    lines = [line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return {name.strip(): value.strip() for name, value in lines}


def found(data: str, own: set[str], folders: list[str], node: int, group: dict[str, Any]) -> Found:
    """What lies in a member's log folders, taken together.

    Args:
        data: the member's data folder.
        own: the names that its log folders have in there.
        folders: all its log folders.
        node: its node id.
        group: the group, with `formed` and `intent` where they are known.
    """
    entries = set(os.listdir(data)) - NOT_DATA if os.path.isdir(data) else set()
    if strange := sorted(entry for entry in entries - own if entry.removesuffix(ASIDE) not in own):
        return Found(LEFTOVERS, detail=f"{data} holds {', '.join(strange[:3])}")
    metas = {folder: meta(folder) for folder in folders}
    for folder, facts in metas.items():
        there = sorted(set(os.listdir(folder)) - {"lost+found"}) if os.path.isdir(folder) else []
        if facts is None and there:
            return Found(LEFTOVERS, detail=f"{folder} holds {', '.join(there[:3])}, and no meta.properties")
        if facts and facts.get("node.id") != str(node):
            return Found(LEFTOVERS, detail=f"{folder} is of node {facts.get('node.id')}, and this is node {node}")
    formatted = [facts for facts in metas.values() if facts]
    if not formatted:
        return Found(EMPTY)
    clusters = {facts.get("cluster.id") for facts in formatted}
    expected = {group.get("formed"), (group.get("intent") or {}).get("cluster_id")} - {None}
    # Where folders are of several clusters, the one that is not ours is what is to be told.
    cluster = min(clusters, key=lambda each: each in expected)
    if blank := [folder for folder, facts in metas.items() if not facts]:
        if group.get("formed"):
            return Found(UNMOUNTED, cluster, f"{' and '.join(blank)} is blank, and other log folders are not")
        return Found(HALF_FORMED, cluster, f"{' and '.join(blank)} is not formatted yet")
    if os.path.exists(f"{data}/{JOINING}"):
        return Found(HALF_FORMED, cluster, "it has not become a voter yet")
    return Found(DATA, cluster)
