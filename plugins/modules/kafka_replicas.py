#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Move the replicas of Kafka's topics to where they should be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_replicas
short_description: Move the replicas of Kafka's topics to where they should be, and leaders home
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Computes where the replicas of topics should be, over as many racks as there are, with the fewest moves, and has
    Kafka move them, at no more than a given rate. Then the preferred leaders are elected.
  - Kafka places a new topic by itself, and never again. Not when a broker comes, goes, or is drained.
  - A run that is killed, or that waited long enough, leaves the moves going on; the next one waits for them, and takes
    the limit of the rate away when all are done.
options:
  address:
    description: The address of a broker.
    type: str
    required: true
  port:
    description: Its port for clients.
    type: int
    required: true
  pki:
    description: The folder with the C(ca.crt) that its certificate is of.
    type: path
    default: /etc/rackspread/pki/kafka
  admin:
    description: The user that acts, one who may do everything.
    type: str
    default: admin
  password:
    description: Its password.
    type: str
    required: true
  topics:
    description: The topics, by name; all of them where not given.
    type: list
    elements: str
  drained:
    description: Ids of brokers that are to have no replica any more.
    type: list
    elements: int
    default: []
  even:
    description: Whether replicas are also moved from brokers that have many to those that have few.
    type: bool
    default: false
  rate:
    description: How much a broker may send, or take, for this, in MiB a second.
    type: int
    default: 50
  wait:
    description: Seconds to wait until all is moved.
    type: int
    default: 3600
attributes:
  check_mode:
    support: full
    description: Tells what it would move.
  diff_mode:
    support: none
    description: Has nothing to show that the list of moves does not.
"""

EXAMPLES = r"""
- name: Take all replicas from broker 3
  rackspread.ha.kafka_replicas:
    address: 192.0.2.11
    port: 9092
    password: "{{ kafka_admin_password }}"
    drained: [3]
"""

RETURN = r"""
moved:
  description: What was (or would be) changed, a partition each, with its brokers before and after.
  returned: success
  type: list
  elements: str
  sample: ["seat.expired-0: 1,4,2 -> 1,2,3"]
copies:
  description: How many replicas were (or would be) copied.
  returned: success
  type: int
elected:
  description: The partitions whose preferred leader took over at the end.
  returned: success
  type: list
  elements: str
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_assignment import Assignment, assign, moves
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_client import (
    ALTER_CONFIGS,
    ALTER_REASSIGNMENTS,
    ELECT_LEADERS,
    LIST_REASSIGNMENTS,
    METADATA,
    NOT_NEEDED,
    Client,
    NoAnswer,
)
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_content import BROKER, SET_TO, TOPIC

DELETE = 1
TIMEOUT_MS = 30000
RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
REPLICAS = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")
POLL_SECONDS = 2.0


def throttle(client: Client, brokers: list[int], topics: list[str], rate: int | None) -> None:
    """Limit the rate of these brokers for these topics; None takes the limits away. Raises NoAnswer."""
    wanted = [(BROKER, str(broker), name, rate and str(rate * 2**20)) for broker in brokers for name in RATES]
    wanted += [(TOPIC, topic, name, rate and "*") for topic in topics for name in REPLICAS]
    resources: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for kind, resource, name, value in wanted:
        config = {"name": name, "operation": SET_TO if value else DELETE, "value": value}
        resources.setdefault((kind, resource), []).append(config)
    asked = [{"type": kind, "name": name, "configs": configs} for (kind, name), configs in resources.items()]
    for result in client.ask(ALTER_CONFIGS, resources=asked, validate_only=False)["results"]:
        client.check(result)


def reassign(client: Client, wanted: Assignment) -> None:
    """Have Kafka begin to move. Raises NoAnswer."""
    topics: dict[str, list[dict[str, Any]]] = {}
    for (topic, index), brokers in wanted.items():
        topics.setdefault(topic, []).append({"index": index, "replicas": brokers})
    asked = [{"name": name, "partitions": partitions} for name, partitions in topics.items()]
    for topic in client.ask(ALTER_REASSIGNMENTS, timeout=TIMEOUT_MS, topics=asked)["results"]:
        for partition in topic["partitions"]:
            client.check(partition)


def under_way(client: Client) -> list[str]:
    """The partitions that are being moved. Raises NoAnswer."""
    answer = client.ask(LIST_REASSIGNMENTS, timeout=TIMEOUT_MS, topics=None)
    return [f"{topic['name']}-{part['index']}" for topic in answer["topics"] for part in topic["partitions"]]


def elect(client: Client, wanted: Assignment) -> list[str]:
    """Have the preferred leaders lead; those that do only now. Raises NoAnswer."""
    topics: dict[str, list[int]] = {}
    for topic, index in wanted:
        topics.setdefault(topic, []).append(index)
    asked = [{"name": name, "partitions": indexes} for name, indexes in topics.items()]
    elected = []
    for topic in client.ask(ELECT_LEADERS, type=0, topics=asked, timeout=TIMEOUT_MS)["results"]:
        for partition in topic["partitions"]:
            if partition["error"] != NOT_NEEDED:
                client.check(partition)
                elected.append(f"{topic['name']}-{partition['index']}")
    return elected


def wait(client: Client, seconds: float) -> None:
    """Wait until nothing is being moved. Raises NoAnswer where it takes longer."""
    deadline = time.monotonic() + seconds
    while left := under_way(client):
        if time.monotonic() > deadline:
            raise NoAnswer(f"{len(left)} partitions are still being moved ({', '.join(left[:3])} …): run again later")
        time.sleep(POLL_SECONDS)


def converge(client: Client, params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Move what is to be moved. Raises NoAnswer, and ValueError where there are too few brokers."""
    if not check:
        wait(client, params["wait"])  # for what an earlier run began
    metadata = client.ask(METADATA, topics=None)
    racks = {broker["id"]: broker["rack"] or "" for broker in metadata["brokers"]}
    has = {
        (topic["name"], part["index"]): part["replicas"]
        for topic in metadata["topics"] for part in topic["partitions"]
        if params["topics"] is None or topic["name"] in params["topics"]
    }  # fmt: skip
    wanted = assign(has, racks, params["drained"], even=params["even"])
    changed = {part: brokers for part, brokers in wanted.items() if brokers != has[part]}
    lines = [
        f"{topic}-{index}: {','.join(map(str, has[topic, index]))} -> {','.join(map(str, brokers))}"
        for (topic, index), brokers in changed.items()
    ]
    elected: list[str] = []
    if not check:
        names = sorted({topic for topic, _index in changed})
        if changed:
            throttle(client, sorted(racks), names, params["rate"])
            reassign(client, changed)
            wait(client, params["wait"])
        throttle(client, sorted(racks), sorted({topic for topic, _index in has}), None)
        elected = elect(client, wanted)
    return {"changed": bool(lines or elected), "moved": lines, "copies": moves(has, wanted), "elected": elected}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "pki": {"type": "path", "default": "/etc/rackspread/pki/kafka"},
            "admin": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "topics": {"type": "list", "elements": "str"},
            "drained": {"type": "list", "elements": "int", "default": []},
            "even": {"type": "bool", "default": False},
            "rate": {"type": "int", "default": 50},
            "wait": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    params = module.params
    login = params["admin"], params["password"]
    try:
        with Client(params["address"], params["port"], params["pki"], login, 60) as client:
            module.exit_json(**converge(client, params, module.check_mode))
    except (NoAnswer, ValueError) as error:
        module.fail_json(msg=f"{error}.")


if __name__ == "__main__":
    main()
