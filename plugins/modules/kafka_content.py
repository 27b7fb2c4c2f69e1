#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make topics and users of Kafka."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_content
short_description: Make topics and users of Kafka, and say what they may do
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Brings topics, users and access rules to what is asked for, in one connection to a broker. Topics and users that are
    not named are left alone, and nothing is ever deleted but rules of users that are named.
  - What would lose data is refused (RS-085), before anything is changed. That is fewer partitions, and fewer replicas.
  - A password goes to Kafka salted. Whether it is right already is seen by coming in with it, so a second run changes
    nothing.
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
    description: Topics.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name.
        type: str
        required: true
      partitions:
        description: How many partitions it has. More may be asked for later, fewer may not.
        type: int
        default: 1
      replicas:
        description:
          - On how many brokers each partition is. Where not given, a new topic has the cluster's default, and one that
            is there keeps what it has. M(rackspread.ha.kafka_replicas) makes more of one that is there.
        type: int
      settings:
        description: Settings of its own. Those that are not named are left as they are.
        type: dict
        default: {}
  users:
    description: Users, each with all that it may do. The end of a name may be a star.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the user.
        type: str
        required: true
      password:
        description: Its password.
        type: str
        required: true
      writes:
        description: Topics that it writes.
        type: list
        elements: str
        default: []
      reads:
        description: Topics that it reads.
        type: list
        elements: str
        default: []
      groups:
        description: Consumer groups that it reads as.
        type: list
        elements: str
        default: []
      transactions:
        description: Transactional ids that it writes under.
        type: list
        elements: str
        default: []
  settings:
    description: Defaults of all brokers, as they are kept in the cluster itself.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Tells what it would change.
  diff_mode:
    support: none
    description: Has nothing to show that the list of changes does not.
"""

EXAMPLES = r"""
- name: Make the topics of a ticket shop, and its user
  rackspread.ha.kafka_content:
    address: 192.0.2.11
    port: 9092
    password: "{{ kafka_admin_password }}"
    topics:
      - {name: seat.expired, partitions: 6}
      - {name: payment.completed, partitions: 6, settings: {retention.ms: 604800000}}
    users:
      - name: shop
        password: "{{ shop_password }}"
        writes: [payment.completed]
        reads: [seat.expired]
        groups: ["shop*"]
  no_log: true
"""

RETURN = r"""
made:
  description: What was (or would be) changed, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["topic seat.expired", "user shop", "shop may read topic seat.expired"]
refused:
  description: What would lose data or can't be done, as C(sentence) and C(hint). Then nothing was changed.
  returned: when something is refused
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_client import WRONG_PASSWORD, Client, NoAnswer
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_content import Refused, apply, changes, read


def converge(params: dict[str, Any], check: bool, made: list[str]) -> None:
    """Bring the cluster to what is asked for; notes in `made` what was changed. Raises NoAnswer and Refused."""
    where = params["address"], params["port"], params["pki"]

    def knows(name: str, password: str) -> bool:
        try:
            Client(*where, (name, password)).close()
        except NoAnswer as error:
            if error.code != WRONG_PASSWORD:
                raise
            return False
        return True

    with Client(*where, (params["admin"], params["password"]), 40) as client:
        there = read(client, [topic["name"] for topic in params["topics"]])
        for change in list(changes(there, params["topics"], params["users"], params["settings"], knows)):
            if not check:
                apply(client, change)
            made.append(change.what)


def main() -> None:
    """Run the module."""
    names = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "pki": {"type": "path", "default": "/etc/rackspread/pki/kafka"},
            "admin": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "topics": {
                "type": "list", "elements": "dict", "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "partitions": {"type": "int", "default": 1},
                    "replicas": {"type": "int"},
                    "settings": {"type": "dict", "default": {}},
                },
            },
            "users": {
                "type": "list", "elements": "dict", "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                    "writes": names, "reads": names, "groups": names, "transactions": names,
                },
            },
            "settings": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    made: list[str] = []
    try:
        converge(module.params, module.check_mode, made)
    except Refused as refused:
        told = {"sentence": str(refused), "hint": refused.hint}
        module.fail_json(msg=f"{refused}. {refused.hint}", made=made, refused=told)
    except NoAnswer as error:
        module.fail_json(msg=f"{error}.", made=made)
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
