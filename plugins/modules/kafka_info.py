#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the controllers and brokers of Kafka on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kafka_info
short_description: Look at the controllers and brokers of Kafka on a host
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Tells what lies in the log folders of each member, whether it runs, and what its cluster says of itself. It changes
    nothing.
extends_documentation_fragment: [rackspread.ha.member.info]
"""

EXAMPLES = r"""
- name: Look at every member that this host's record knows
  rackspread.ha.kafka_info:
"""

RETURN = r"""
members:
  description: An observation a group, as docs/architecture.md tells it.
  returned: success
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.kafka import Kafka
from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run_info


def main() -> None:
    """Run the module."""
    run_info(Kafka)


if __name__ == "__main__":
    main()
