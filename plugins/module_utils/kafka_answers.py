# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the answers of Kafka mean: who votes, who is heard of and who is late, and whose replicas are complete."""

from __future__ import annotations

from typing import Any

from .kafka_client import DESCRIBE_QUORUM, Client

LATE_MS = 3000
"""Who is behind the active controller by more than this has not caught up: it writes something twice a second."""
SILENT_MS = 5000
"""A voter whose disk is lost is one of whom the active controller has heard nothing for so long."""


def quorum(client: Client) -> dict[str, Any]:
    """The state of the metadata's one partition, `{leader, voters, observers, …}`. Raises NoAnswer."""
    wanted = {"name": "__cluster_metadata", "partitions": [{"index": 0}]}
    state: dict[str, Any] = client.ask(DESCRIBE_QUORUM, topics=[wanted])["topics"][0]["partitions"][0]
    client.check(state)
    return state


def votes(state: dict[str, Any], node: int, directory: str | None = None) -> bool:
    """Whether a node, with this directory id or any, is among the voters."""
    return any(each["id"] == node and directory in (None, each["directory_id"]) for each in state["voters"])


def heard(state: dict[str, Any], node: int) -> bool:
    """Whether the leader has heard of a voter lately, by its own clock; of itself it has."""
    now = _leaders_clock(state)
    lately = any(each["id"] == node and each["last_fetch"] > now - SILENT_MS for each in state["voters"])
    return lately or node == state["leader"]


def behind(state: dict[str, Any]) -> set[int]:
    """The nodes that have not caught up with the leader lately, voters and observers, by the leader's own clock."""
    all_of_them = [*state["voters"], *state["observers"]]
    now = _leaders_clock(state)
    late = {each["id"] for each in all_of_them if each["last_caught_up"] < now - LATE_MS}
    # A node that came back under another directory id stands beside what it was before for a while.
    return late - {each["id"] for each in all_of_them if each["last_caught_up"] >= now - LATE_MS}


def _leaders_clock(state: dict[str, Any]) -> int:
    """What it showed, in milliseconds, as the quorum was described: a leader has caught up with itself just now."""
    return max((each["last_caught_up"] for each in state["voters"] if each["id"] == state["leader"]), default=0)


def under_replicated(metadata: dict[str, Any]) -> dict[int, int]:
    """By node how many of its replicas are not in sync."""
    found: dict[int, int] = {}
    for topic in metadata["topics"]:
        for partition in topic["partitions"]:
            for node in set(partition["replicas"]) - set(partition["isr"]):
                found[node] = found.get(node, 0) + 1
    return found


def only_on(node: int, metadata: dict[str, Any]) -> list[str]:
    """The partitions of which nobody but a node has a complete copy."""
    return [
        f"{topic['name']}-{partition['index']}"
        for topic in metadata["topics"] for partition in topic["partitions"]
        if node in partition["replicas"] and not set(partition["isr"]) - {node}
    ]  # fmt: skip
