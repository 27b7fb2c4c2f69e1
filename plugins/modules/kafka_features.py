#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finalise what a new version of Kafka can."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_features
short_description: Finalise what a new version of Kafka can, after an upgrade
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Raises features of a cluster, C(metadata.version) above all, to what its software knows. That is the last step of
    an upgrade, and one of its own, since there is no way back to the version before it.
  - Kafka refuses where a member still runs the version before.
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
  names:
    description: The features that are raised.
    type: list
    elements: str
    default: [metadata.version]
attributes:
  check_mode:
    support: full
    description: Tells what it would raise, and has Kafka say whether it could.
  diff_mode:
    support: none
    description: Has nothing to show that the list of features does not.
"""

EXAMPLES = r"""
- name: Finalise the upgrade
  rackspread.ha.kafka_features:
    address: 192.0.2.11
    port: 9092
    password: "{{ kafka_admin_password }}"
"""

RETURN = r"""
features:
  description: By feature the level that held before, and the highest that the software knows.
  returned: success
  type: dict
raised:
  description: Those that were (or would be) raised.
  returned: success
  type: list
  elements: str
  sample: ["metadata.version: 29 -> 30"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_client import UPDATE_FEATURES, Client, NoAnswer

UPGRADE = 1
TIMEOUT_MS = 30000


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "pki": {"type": "path", "default": "/etc/rackspread/pki/kafka"},
            "admin": {"type": "str", "default": "admin"},
            "password": {"type": "str", "required": True, "no_log": True},
            "names": {"type": "list", "elements": "str", "default": ["metadata.version"]},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        login = params["admin"], params["password"]
        with Client(params["address"], params["port"], params["pki"], login, 40) as client:
            features = client.features()
            if unknown := [name for name in params["names"] if name not in features]:
                module.fail_json(msg=f"Kafka knows no {', '.join(unknown)}; it knows {', '.join(sorted(features))}.")
            low = {name: features[name] for name in params["names"] if features[name][0] < features[name][1]}
            updates = [{"name": name, "level": most, "type": UPGRADE} for name, (_level, most) in low.items()]
            if updates:
                client.ask(UPDATE_FEATURES, timeout=TIMEOUT_MS, updates=updates, validate_only=module.check_mode)
    except NoAnswer as error:
        module.fail_json(msg=f"{error}.")
    raised = [f"{name}: {level} -> {most}" for name, (level, most) in low.items()]
    module.exit_json(changed=bool(raised), features=features, raised=raised)


if __name__ == "__main__":
    main()
