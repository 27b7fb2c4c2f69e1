"""A program for the hosts: what Kafka says of itself, by the collection's own client. It prints its answer as JSON.

    asking.py quorum ADDRESS               the voters, {node: directory id}, the leader, the observers
    asking.py topics ADDRESS PASSWORDFILE  by topic and partition {leader, replicas, isr}
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import kafka_client as kafka

PKI = "/etc/rackspread/pki/kafka"


def quorum(address: str) -> dict[str, Any]:
    with kafka.Client(address, 9393, PKI) as client:
        about = client.ask(kafka.DESCRIBE_CLUSTER, endpoint_type=kafka.CONTROLLERS)
    leader = next(node["host"] for node in about["nodes"] if node["id"] == about["controller_id"])
    with kafka.Client(leader, 9393, PKI) as client:
        asked = [{"name": "__cluster_metadata", "partitions": [{"index": 0}]}]
        state = client.ask(kafka.DESCRIBE_QUORUM, topics=asked)["topics"][0]["partitions"][0]
        client.check(state)
    return {
        "leader": state["leader"],
        "voters": {each["id"]: each["directory_id"] for each in state["voters"]},
        "observers": [each["id"] for each in state["observers"]],
    }


def topics(address: str, password: str) -> dict[str, Any]:
    with kafka.Client(address, 9092, PKI, ("admin", Path(password).read_text())) as client:
        found = client.ask(kafka.METADATA, topics=None)["topics"]
    names = ("leader", "replicas", "isr")
    return {
        topic["name"]: {part["index"]: {name: part[name] for name in names} for part in topic["partitions"]}
        for topic in found
    }


if __name__ == "__main__":
    print(json.dumps({"quorum": quorum, "topics": topics}[sys.argv[1]](*sys.argv[2:])))
