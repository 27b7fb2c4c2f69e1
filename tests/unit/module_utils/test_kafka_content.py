"""What brings topics, users and rules to what is asked for, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import kafka_content as content
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_client import (
    ALTER_CONFIGS,
    CREATE_ACLS,
    CREATE_PARTITIONS,
    CREATE_TOPICS,
    DELETE_ACLS,
    TOPIC_EXISTS,
    Client,
    NoAnswer,
    encode,
    shape,
)


def there(**more: Any) -> content.Content:
    facts: dict[str, Any] = {"topics": {}, "entries": [], "settings": {}, "brokers": [1, 2, 3]}
    return content.Content(**{**facts, **more})


def topic(name: str = "seat.expired", **more: Any) -> dict[str, Any]:
    return {"name": name, "partitions": 2, "replicas": 3, "settings": {}, **more}


def changes(is_there: content.Content, knows: bool = True, **asked: Any) -> list[content.Change]:
    wanted: dict[str, Any] = {"topics": [], "users": [], "settings": {}, **asked}
    found = list(content.changes(is_there, wanted["topics"], wanted["users"], wanted["settings"], lambda *_: knows))
    for change in found:
        encode(shape(change.api.asks), change.body)
    return found


HAS = content.Topic([[1, 2, 3], [2, 3, 1]], {"retention.ms": "5"})


def test_a_topic_is_made_grown_and_set_and_then_left_alone() -> None:
    [made] = changes(there(), topics=[topic(settings={"retention.ms": 5, "preallocate": True})])
    assert made.api is CREATE_TOPICS
    assert made.body["topics"][0]["configs"][1] == {"name": "preallocate", "value": "true"}
    has = there(topics={"seat.expired": HAS})
    assert changes(has, topics=[topic(settings={"retention.ms": 5})]) == []
    grown, changed = changes(has, topics=[topic(partitions=6, settings={"retention.ms": 6})])
    assert (grown.api, changed.api) == (CREATE_PARTITIONS, ALTER_CONFIGS)
    assert changed.what == "topic seat.expired: retention.ms=6"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"partitions": 1}, "would lose"),
        ({"replicas": 2}, "takes no copy away"),
        ({"replicas": 4}, "of 3 brokers"),
        ({"name": "crowded", "replicas": 3}, "has 2 replicas"),
    ],
)
def test_what_would_lose_data_is_refused_before_anything_is_changed(wanted: dict[str, int], reason: str) -> None:
    has = there(topics={"seat.expired": HAS, "crowded": content.Topic([[1, 2], [2, 3]])})
    with pytest.raises(content.Refused, match=reason) as refused:
        changes(has, topics=[topic("another"), topic(**wanted)])
    assert refused.value.hint.endswith(".")


def test_who_names_no_copies_gets_the_clusters_own_number_and_keeps_those_that_are_there() -> None:
    [made] = changes(there(), topics=[topic(replicas=None)])
    assert made.body["topics"][0]["replicas"] == -1
    for copies in ([1, 2], [1, 2, 3]):
        assert changes(there(topics={"seat.expired": content.Topic([copies] * 2)}), topics=[topic(replicas=None)]) == []


def test_a_default_of_all_brokers_that_is_right_is_not_written_again() -> None:
    assert changes(there(settings={"min.insync.replicas": "2"}), settings={"min.insync.replicas": 2}) == []
    [change] = changes(there(), settings={"min.insync.replicas": 2})
    assert change.body["resources"] == [
        {"type": 4, "name": "", "configs": [{"name": "min.insync.replicas", "operation": 0, "value": "2"}]}
    ]


SHOP = {"name": "shop", "password": "x", "writes": ["seat.expired"], "reads": ["pay*"], "groups": ["shop*"]}


def test_a_user_may_do_what_is_named_and_no_more() -> None:
    made, rules = changes(there(), knows=False, users=[SHOP])
    assert made.what == "user shop"
    assert rules.api is CREATE_ACLS
    assert rules.what == (
        "shop may read group shop*; shop may describe topic pay*; shop may read topic pay*;"
        " shop may describe topic seat.expired; shop may write topic seat.expired"
    )
    entries = rules.body["creations"]
    assert changes(there(entries=entries), users=[SHOP]) == []
    [less] = changes(there(entries=entries), users=[{**SHOP, "writes": []}])
    assert less.api is DELETE_ACLS
    assert {entry["resource_name"] for entry in less.body["filters"]} == {"seat.expired"}
    others = [{**entry, "principal": "User:other"} for entry in entries]
    assert len(changes(there(entries=others), users=[SHOP])) == 1


def test_every_topic_is_a_star() -> None:
    [rule, _describe] = reversed(content.rules({"name": "all", "reads": ["*"]}))
    assert (rule.name, rule.prefix, rule.wire["pattern_type"]) == ("*", False, content.LITERAL)


@pytest.mark.parametrize("name", ["admin", "broker", "node"])
def test_a_user_can_not_be_one_of_kafkas_own(name: str) -> None:
    with pytest.raises(content.Refused, match="own members"):
        changes(there(), users=[{**SHOP, "name": name}])


class Answers(Client):
    """A client of a broker that answers every request with the same result."""

    def __init__(self, error: int) -> None:
        self._error = error
        self._where = "r1h1"

    def ask(self, api: Any, **body: Any) -> Any:
        return {"results": [{"error": self._error, "message": None}]}


def test_a_topic_that_the_controller_made_before_the_broker_asked_once_more_is_made() -> None:
    (made,) = changes(there(), topics=[topic()])
    content.apply(Answers(TOPIC_EXISTS), made)
    with pytest.raises(NoAnswer):
        content.apply(Answers(29), made)
    (grown,) = changes(there(topics={"seat.expired": HAS}), topics=[topic(partitions=4, settings={"retention.ms": 5})])
    with pytest.raises(NoAnswer):
        content.apply(Answers(TOPIC_EXISTS), grown)
