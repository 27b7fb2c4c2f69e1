#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at HAProxy on a balancer, and act on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_member
short_description: Look at HAProxy on a balancer, and act on it
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One step of a balancer's HAProxy on its own host, starting or taking what is staged.
  - It counts as serving where its admin socket answers, and as the leader where its host holds a virtual address.
  - Before a restart it gives its addresses away; a reload keeps every session.
extends_documentation_fragment: [rackspread.ha.member]
"""

EXAMPLES = r"""
- name: Look at HAProxy on this host
  rackspread.ha.haproxy_member:
    group: "{{ haproxy_groups[0] }}"
    member: 1
    program: haproxy
    unit: rackspread-edge-balancer1-haproxy
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

from ansible_collections.rackspread.ha.plugins.module_utils.haproxy import HAProxy
from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run


def main() -> None:
    """Run the module."""
    run(HAProxy)


if __name__ == "__main__":
    main()
