"""A program for the hosts: what Kafka says of itself, by the collection's own client. It prints its answer as JSON.

    asking.py quorum ADDRESS               the voters, {node: directory id}, the leader, the observers
    asking.py topics ADDRESS PASSWORDFILE  by topic and partition {leader, replicas, isr}
    asking.py truncate ADDRESS PASSWORDFILE TOPIC PARTITION OFFSET
                                           removes the records before that offset; asked of the partition's leader
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import kafka_client as kafka

PKI = "/etc/rackspread/pki/kafka"
DELETE_RECORDS = kafka.Api(
    21, 2,
    "topics[name:string partitions[index:int32 offset:int64]] timeout:int32",
    "throttle:int32 topics[name:string partitions[index:int32 first:int64 error:int16]]",
)  # fmt: skip


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


def truncate(address: str, password: str, topic: str, partition: str, offset: str) -> int:
    asked = [{"name": topic, "partitions": [{"index": int(partition), "offset": int(offset)}]}]
    with kafka.Client(address, 9092, PKI, ("admin", Path(password).read_text())) as client:
        told = client.ask(DELETE_RECORDS, topics=asked, timeout=10000)["topics"][0]["partitions"][0]
        client.check(told)
    return int(told["first"])


if __name__ == "__main__":
    print(json.dumps({"quorum": quorum, "topics": topics, "truncate": truncate}[sys.argv[1]](*sys.argv[2:])))
