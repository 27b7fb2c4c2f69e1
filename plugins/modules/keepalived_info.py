#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at keepalived on a balancer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keepalived_info
short_description: Look at keepalived on a balancer
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Tells whether keepalived of each balancer on a host runs, and whether it holds a virtual address.
  - It changes nothing.
extends_documentation_fragment: [rackspread.ha.member.info]
"""

EXAMPLES = r"""
- name: Look at keepalived on this host
  rackspread.ha.keepalived_info:
    instances:
      - group: "{{ keepalived_groups[0] }}"
        member: 1
        program: keepalived
        unit: rackspread-edge-balancer1-keepalived
"""

RETURN = r"""
members:
  description: An observation a group, as docs/architecture.md tells it.
  returned: success
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.keepalived import Keepalived
from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run_info


def main() -> None:
    """Run the module."""
    run_info(Keepalived)


if __name__ == "__main__":
    main()
