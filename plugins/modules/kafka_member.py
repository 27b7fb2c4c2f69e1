#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a controller or a broker of Kafka, and act on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_member
short_description: Look at a controller or a broker of Kafka, and act on it
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One step of a member's life, forming, joining, starting, taking what is staged, on its own host.
  - The first controllers are formatted with the same cluster id and the same list of voters, which the group's intent
    names. A controller whose disk was lost is removed from the voters under the directory id that it had, and added
    again under a new one.
extends_documentation_fragment: [rackspread.ha.member]
"""

EXAMPLES = r"""
- name: Look at the controller of this host
  rackspread.ha.kafka_member:
    group: "{{ kafka_controller_groups[0] }}"
    member: 1
    unit: rackspread-kafka-controller1
    data: /var/lib/rackspread/kafka_controller1
"""

RETURN = r"""
observation:
  description: What was seen of the member, after what was done; docs/architecture.md tells the fields.
  returned: success
  type: dict
answer:
  description: What the one who joins must know, after V(operation=admit).
  returned: when something was done
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.kafka import Kafka
from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run


def main() -> None:
    """Run the module."""
    run(Kafka)


if __name__ == "__main__":
    main()
