# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is in a cluster of Kafka, topics, users and what they may do, and what brings it to what is asked for.

`changes` compares and names requests, which is all that there is to decide; `read` and `apply` speak to a broker.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from .kafka_client import (
    ALTER_CONFIGS,
    ALTER_SCRAM,
    CREATE_ACLS,
    CREATE_PARTITIONS,
    CREATE_TOPICS,
    DELETE_ACLS,
    DESCRIBE_ACLS,
    DESCRIBE_CONFIGS,
    ITERATIONS,
    METADATA,
    TOPIC_EXISTS,
    Api,
    Client,
    salted_password,
)

TIMEOUT_MS = 30000
SCRAM_SHA_512 = 2
TOPIC, BROKER = 2, 4
"""Types of resources that have settings (org.apache.kafka.common.config.ConfigResource)."""
SET_TO, DELETE = 0, 1
ANY = 1
ALLOW = 3
RESOURCES = {"topic": 2, "group": 3, "transaction": 5}
LITERAL, PREFIXED = 3, 4
OPERATIONS = {"read": 3, "write": 4, "describe": 8}
"""Codes of access control (org.apache.kafka.common.resource and .acl)."""
SOURCE_TOPIC, SOURCE_CLUSTER = 1, 3
"""Whence a setting comes: the topic itself, the default of all brokers."""
OWN_USERS = ("admin", "broker", "node")
"""Who may do everything already. `node` is no user, but what the certificates of members map to."""


DEFAULT_REPLICAS = -1
"""Of CREATE_TOPICS: as many as the cluster's own default says."""


class Refused(Exception):
    """What would lose data, or can't be done, in one sentence.

    Args:
        hint: what to do instead.
    """

    def __init__(self, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.hint = hint


@dataclass(frozen=True, order=True)
class Rule:
    """One thing that a user may do.

    Args:
        kind: a key of RESOURCES.
        name: of the resource, or what the names of several begin with.
        prefix: which of both.
        operation: a key of OPERATIONS.
    """

    user: str
    kind: str
    name: str
    prefix: bool
    operation: str

    @property
    def wire(self) -> dict[str, Any]:
        """As requests have it."""
        return {
            "resource_type": RESOURCES[self.kind], "resource_name": self.name,
            "pattern_type": PREFIXED if self.prefix else LITERAL, "principal": f"User:{self.user}", "host": "*",
            "operation": OPERATIONS[self.operation], "permission_type": ALLOW,
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.user} may {self.operation} {self.kind} {self.name}{'*' if self.prefix else ''}"


@dataclass(frozen=True)
class Topic:
    """A topic as it is.

    Args:
        partitions: the brokers of each partition, by index.
        settings: those of its own.
    """

    partitions: Sequence[Sequence[int]]
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Content:
    """What there is.

    Args:
        topics: by name.
        entries: what users may do, each as requests have it.
        settings: the defaults of all brokers.
        brokers: their ids.
    """

    topics: dict[str, Topic]
    entries: list[dict[str, Any]]
    settings: dict[str, str]
    brokers: Sequence[int]


@dataclass(frozen=True)
class Change:
    """One thing to change: what it is, for people, and the request."""

    what: str
    api: Api
    body: dict[str, Any]


def rules(user: dict[str, Any]) -> list[Rule]:
    """What a user is to be allowed, by `{name, writes, reads, groups, transactions}`; a name may end with a star."""
    wanted = [
        *(("topic", name, operation) for name in user.get("writes") or () for operation in ("write", "describe")),
        *(("topic", name, operation) for name in user.get("reads") or () for operation in ("read", "describe")),
        *(("group", name, "read") for name in user.get("groups") or ()),
        *(("transaction", name, op) for name in user.get("transactions") or () for op in ("write", "describe")),
    ]
    return sorted({
        Rule(user["name"], kind, name.removesuffix("*") or "*", name.endswith("*") and name != "*", operation)
        for kind, name, operation in wanted
    })


def changes(
    there: Content, topics: Sequence[dict[str, Any]], users: Sequence[dict[str, Any]], settings: dict[str, Any],
    knows: Callable[[str, str], bool],
) -> Iterator[Change]:
    """What brings the content to what is asked for; what is not named is left alone.

    Args:
        there: what there is.
        topics: `{name, partitions, replicas, settings}` each. Without `replicas` a new one has the cluster's default,
            and one that is there keeps those that it has.
        users: `{name, password, writes, reads, groups, transactions}` each. All that one of them may do is named.
        settings: the defaults of all brokers. One that is right already is not written again: writing
            min.insync.replicas, even unchanged, has Kafka forget which replicas outside of the ISR are complete.
        knows: whether a user comes in with a password.

    Raises Refused, before the first change.
    """
    for each in topics:
        _refuse_loss(each, there)
    for user in users:
        if user["name"] in OWN_USERS:
            raise Refused(f"{user['name']} is a name of Kafka's own members here", "Give that user another name.")
    if changed := _differ(settings, there.settings):
        yield Change(f"settings of all brokers: {_listed(changed)}", ALTER_CONFIGS, _set(BROKER, "", changed))
    for each in topics:
        yield from _topic_changes(each, there.topics.get(each["name"]))
    for user in users:
        yield from _user_changes(user, there, knows)


def _refuse_loss(wanted: dict[str, Any], there: Content) -> None:
    name, topic, replicas = wanted["name"], there.topics.get(wanted["name"]), wanted.get("replicas")
    if replicas and replicas > len(there.brokers):
        raise Refused(
            f"topic {name} is to have {replicas} replicas, of {len(there.brokers)} brokers",
            "Ask for no more replicas than there are brokers, or for more brokers.",
        )
    if topic is None:
        return
    if wanted["partitions"] < len(topic.partitions):
        raise Refused(
            f"topic {name} has {len(topic.partitions)} partitions and is to have {wanted['partitions']}: to take some"
            " away would lose what is in them",
            "Give it back its number, or make another topic and copy.",
        )
    copies = {len(brokers) for brokers in topic.partitions}
    if replicas and replicas < max(copies):
        raise Refused(
            f"topic {name} has {max(copies)} replicas and is to have {replicas}: a run takes no copy away",
            "Give it back its number.",
        )
    if replicas and replicas > min(copies):
        raise Refused(
            f"topic {name} has {min(copies)} replicas and is to have {replicas}: a run copies nothing to have more",
            "Run kafka_replicas.yml, which copies them at a limited rate; then run again.",
        )


def _topic_changes(wanted: dict[str, Any], topic: Topic | None) -> Iterator[Change]:
    name = wanted["name"]
    settings = {key: _text(value) for key, value in (wanted.get("settings") or {}).items()}
    common = {"timeout": TIMEOUT_MS, "validate_only": False}
    if topic is None:
        asked = {
            "name": name, "partitions": wanted["partitions"], "replicas": wanted.get("replicas") or DEFAULT_REPLICAS,
            "configs": [{"name": key, "value": value} for key, value in settings.items()],
        }  # fmt: skip
        yield Change(f"topic {name}", CREATE_TOPICS, {"topics": [asked], **common})
        return
    if wanted["partitions"] > len(topic.partitions):
        more = {"name": name, "count": wanted["partitions"], "assignments": None}
        yield Change(f"topic {name}: {more['count']} partitions", CREATE_PARTITIONS, {"topics": [more], **common})
    if changed := _differ(settings, topic.settings):
        yield Change(f"topic {name}: {_listed(changed)}", ALTER_CONFIGS, _set(TOPIC, name, changed))


def _user_changes(user: dict[str, Any], there: Content, knows: Callable[[str, str], bool]) -> Iterator[Change]:
    name = user["name"]
    if not knows(name, user["password"]):
        salt = os.urandom(24)
        asked = {
            "name": name, "mechanism": SCRAM_SHA_512, "iterations": ITERATIONS, "salt": salt,
            "salted_password": salted_password(user["password"], salt),
        }  # fmt: skip
        yield Change(f"user {name}", ALTER_SCRAM, {"upsertions": [asked]})
    wanted = rules(user)
    has = [entry for entry in there.entries if entry["principal"] == f"User:{name}"]
    if missing := [rule for rule in wanted if rule.wire not in has]:
        what = "; ".join(map(str, missing))
        yield Change(what, CREATE_ACLS, {"creations": [rule.wire for rule in missing]})
    if surplus := [entry for entry in has if entry not in [rule.wire for rule in wanted]]:
        names = ", ".join(sorted({entry["resource_name"] for entry in surplus}))
        yield Change(f"{name} may do less with {names}", DELETE_ACLS, {"filters": surplus})


def _differ(wanted: dict[str, Any], has: dict[str, str]) -> dict[str, str]:
    return {name: _text(value) for name, value in wanted.items() if has.get(name) != _text(value)}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(settings: dict[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(settings.items()))


def _set(kind: int, name: str, settings: dict[str, str]) -> dict[str, Any]:
    configs = [{"name": key, "operation": SET_TO, "value": value} for key, value in sorted(settings.items())]
    return {"resources": [{"type": kind, "name": name, "configs": configs}], "validate_only": False}


def read(client: Client, names: Sequence[str]) -> Content:
    """What there is: of the topics those of these names. Raises NoAnswer."""
    metadata = client.ask(METADATA, topics=None)
    found = {topic["name"]: topic for topic in metadata["topics"] if topic["name"] in names}
    asked = [{"type": TOPIC, "name": name, "keys": None} for name in sorted(found)]
    described = client.ask(DESCRIBE_CONFIGS, resources=[*asked, {"type": BROKER, "name": "", "keys": None}])["results"]
    settings: dict[tuple[int, str], dict[str, str]] = {}
    for each in described:
        client.check(each)
        own = SOURCE_TOPIC if each["type"] == TOPIC else SOURCE_CLUSTER
        settings[each["type"], each["name"]] = {
            config["name"]: config["value"] for config in each["configs"] if config["source"] == own
        }
    topics = {
        name: Topic(
            [part["replicas"] for part in sorted(topic["partitions"], key=lambda part: part["index"])],
            settings[TOPIC, name],
        )
        for name, topic in found.items()
    }
    everything = {"resource_type": ANY, "pattern_type": ANY, "operation": ANY, "permission_type": ANY}
    entries = [
        {"resource_type": each["resource_type"], "resource_name": each["resource_name"],
         "pattern_type": each["pattern_type"], **entry}
        for each in client.ask(DESCRIBE_ACLS, **everything)["resources"] for entry in each["acls"]
    ]  # fmt: skip
    return Content(topics, entries, settings[BROKER, ""], [broker["id"] for broker in metadata["brokers"]])


def apply(client: Client, change: Change) -> None:
    """Make a change. Raises NoAnswer, with Kafka's reason."""
    for result in client.ask(change.api, **change.body)["results"]:
        # A broker that waits too long for the controller asks once more, for what that may have made by then.
        if change.api is not CREATE_TOPICS or result["error"] != TOPIC_EXISTS:
            client.check(result)
