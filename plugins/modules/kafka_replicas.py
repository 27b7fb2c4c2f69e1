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
  - While a broker is away that is not O(drained), nothing is moved. What it has would be copied to the others, though
    it may come back.
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
  replicas:
    description:
      - By topic how many replicas each of its partitions is to have, where they have fewer. None is taken away.
      - A topic that is not there is passed over.
    type: dict
    default: {}
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_client import Client, NoAnswer
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_moving import carry_out, plan, wait


def converge(client: Client, params: dict[str, Any], check: bool) -> dict[str, Any]:
    """Move what is to be moved. Raises NoAnswer, and ValueError where there are too few brokers."""
    if not check:
        wait(client, params["wait"])  # for what an earlier run began
    replicas = {topic: int(count) for topic, count in params["replicas"].items()}
    moving = plan(client, params["topics"], params["drained"], params["even"], replicas)
    elected = [] if check else carry_out(client, moving, params["rate"], params["wait"])
    lines = str(moving).splitlines()
    return {"changed": bool(lines or elected), "moved": lines, "copies": moving.copies, "elected": elected}


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
            "replicas": {"type": "dict", "default": {}},
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
