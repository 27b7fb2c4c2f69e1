#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at keepalived on a balancer, and act on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keepalived_member
short_description: Look at keepalived on a balancer, and act on it
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One step of a balancer's keepalived on its own host, starting or taking what is staged.
  - It counts as the leader where its host holds a virtual address, which it gives away before a restart.
extends_documentation_fragment: [rackspread.ha.member]
"""

EXAMPLES = r"""
- name: Look at keepalived on this host
  rackspread.ha.keepalived_member:
    group: "{{ keepalived_groups[0] }}"
    member: 1
    program: keepalived
    unit: rackspread-edge-balancer1-keepalived
"""

RETURN = r"""
observation:
  description: What was seen of the member, after what was done; docs/architecture.md tells the fields.
  returned: success
  type: dict
answer:
  description: Nothing, for a service without data.
  returned: when something was done
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.keepalived import Keepalived
from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run


def main() -> None:
    """Run the module."""
    run(Keepalived)


if __name__ == "__main__":
    main()
