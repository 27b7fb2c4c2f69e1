# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves replicas by Kafka's own reassignment, at a limited rate, and has brokers forgotten that have none any more.

Kafka goes on by itself once it was told: whoever waits for it may be killed, and the next one waits for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from . import host
from .kafka_assignment import Assignment, assign, moves
from .kafka_client import (
    ALTER_CONFIGS,
    ALTER_REASSIGNMENTS,
    BROKERS,
    DESCRIBE_CLUSTER,
    ELECT_LEADERS,
    LIST_REASSIGNMENTS,
    METADATA,
    NOT_NEEDED,
    NOT_REGISTERED,
    UNREGISTER_BROKER,
    Client,
    NoAnswer,
)
from .kafka_content import BROKER, DELETE, SET_TO, TOPIC

TIMEOUT_MS = 30000
POLL_SECONDS = 2.0
RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
"""Of all brokers, in bytes a second."""
REPLICAS = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")
"""Of a topic, to which of its replicas that applies; those that are in sync it never slows down."""


@dataclass(frozen=True)
class Plan:
    """Where replicas are, and where they should be."""

    has: Assignment
    wanted: Assignment

    @property
    def changed(self) -> Assignment:
        """The partitions that are to be on others, or to be led by others."""
        return {part: brokers for part, brokers in self.wanted.items() if brokers != self.has[part]}

    @property
    def copies(self) -> int:
        """How many replicas are copied for that."""
        return moves(self.has, self.wanted)

    def __str__(self) -> str:
        """A line a partition that changes."""
        return "\n".join(
            f"{topic}-{index}: {','.join(map(str, self.has[topic, index]))} -> {','.join(map(str, brokers))}"
            for (topic, index), brokers in self.changed.items()
        )


def plan(
    client: Client, topics: Collection[str] | None = None, drained: Collection[int] = (), even: bool = False,
    replicas: Mapping[str, int] | None = None,
) -> Plan:
    """Where the replicas of topics (all where not given) should be; see kafka_assignment.assign for the rest.

    Raises NoAnswer, and ValueError where there are too few brokers, where partitions would have fewer replicas than
    they have, or where a broker is away: what it has would be copied to the others, though it may come back.
    """
    nodes = client.ask(DESCRIBE_CLUSTER, endpoint_type=BROKERS, fenced=True)["nodes"]
    if away := sorted(each["id"] for each in nodes if each["fenced"] and each["id"] not in drained):
        raise ValueError(f"broker {' and '.join(map(str, away))} is fenced: nothing is moved before it is back")
    has = {
        (topic["name"], part["index"]): part["replicas"]
        for topic in client.ask(METADATA, topics=None)["topics"] for part in topic["partitions"]
        if topics is None or topic["name"] in topics
    }  # fmt: skip
    for (topic, index), brokers in has.items():
        if len(brokers) > (wanted := (replicas or {}).get(topic, len(brokers))):
            raise ValueError(f"{topic}-{index} has {len(brokers)} replicas, and none is taken away to have {wanted}")
    return Plan(has, assign(has, {each["id"]: each["rack"] or "" for each in nodes}, drained, replicas, even))


def carry_out(client: Client, moving: Plan, rate: int, seconds: float) -> list[str]:
    """Move, wait until that is done, and have the preferred leaders lead.

    Args:
        client: a connection to any broker.
        moving: what is to be moved.
        rate: MiB a second that each broker may send, and take, for it.
        seconds: how long to wait.

    Returns the partitions whose preferred leader leads only now. Raises NoAnswer, also where it takes longer.
    """
    if changed := moving.changed:
        _throttle(client, {topic for topic, _index in changed}, rate)
        _reassign(client, changed)
        wait(client, seconds)
    _throttle(client, {topic for topic, _index in moving.has}, None)
    return _elect(client, moving.wanted)


def wait(client: Client, seconds: float) -> None:
    """Wait until nothing is being moved. Raises NoAnswer where it takes longer."""
    deadline = time.monotonic() + seconds
    while left := _under_way(client):
        if time.monotonic() > deadline:
            raise NoAnswer(f"{len(left)} partitions are still being moved ({', '.join(left[:3])} …): run again later")
        time.sleep(POLL_SECONDS)


def check_empty(client: Client, node: int) -> None:
    """Raise Failed where a broker still has replicas, and NoAnswer."""
    metadata = client.ask(METADATA, topics=None)
    if left := sum(node in part["replicas"] for topic in metadata["topics"] for part in topic["partitions"]):
        raise host.Failed(f"broker {node} still has {left} replicas: it is not forgotten")


def unregister(client: Client, node: int) -> None:
    """Have the cluster forget a broker that has stopped; nothing where it is forgotten. Raises NoAnswer."""
    try:
        client.ask(UNREGISTER_BROKER, id=node)
    except NoAnswer as error:
        if error.code != NOT_REGISTERED:
            raise


def _under_way(client: Client) -> list[str]:
    answer = client.ask(LIST_REASSIGNMENTS, timeout=TIMEOUT_MS, topics=None)
    return [f"{topic['name']}-{part['index']}" for topic in answer["topics"] for part in topic["partitions"]]


def _throttle(client: Client, topics: Collection[str], rate: int | None) -> None:
    """Limit the rate of all brokers for these topics; None takes the limits away."""
    wanted = {(BROKER, ""): dict.fromkeys(RATES, rate and str(rate * 2**20))}
    wanted |= {(TOPIC, topic): dict.fromkeys(REPLICAS, rate and "*") for topic in sorted(topics)}
    asked = [
        {"type": kind, "name": name, "configs": [
            {"name": key, "operation": SET_TO if value else DELETE, "value": value} for key, value in configs.items()
        ]}
        for (kind, name), configs in wanted.items()
    ]  # fmt: skip
    for result in client.ask(ALTER_CONFIGS, resources=asked, validate_only=False)["results"]:
        client.check(result)


def _reassign(client: Client, wanted: Assignment) -> None:
    asked = [
        {"name": topic, "partitions": [{"index": index, "replicas": wanted[topic, index]} for index in indexes]}
        for topic, indexes in _by_topic(wanted).items()
    ]
    for topic in client.ask(ALTER_REASSIGNMENTS, timeout=TIMEOUT_MS, topics=asked)["results"]:
        for partition in topic["partitions"]:
            client.check(partition)


def _elect(client: Client, wanted: Assignment) -> list[str]:
    """Have the preferred leaders lead; those that do only now."""
    asked = [{"name": topic, "partitions": indexes} for topic, indexes in _by_topic(wanted).items()]
    elected = []
    for topic in client.ask(ELECT_LEADERS, type=0, topics=asked, timeout=TIMEOUT_MS)["results"]:
        for partition in topic["partitions"]:
            if partition["error"] != NOT_NEEDED:
                client.check(partition)
                elected.append(f"{topic['name']}-{partition['index']}")
    return elected


def _by_topic(parts: Collection[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[Any]] = {}
    for topic, index in parts:
        found.setdefault(topic, []).append(index)
    return found
