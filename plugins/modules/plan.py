# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: plan
short_description: Show where the members of a site are placed
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Prints a map of racks, hosts and members, the groups with their ports, and what would change against the lock.
  - Runs on the controller and connects to no host. Fails where the spec or the inventory is refused, with the reason.
options:
  buildable:
    description: Whether to fail where the spec asks for a component that no role builds yet, in place of showing a map.
    type: bool
    default: false
attributes:
  check_mode:
    description: Shows the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Show the site
  rackspread.ha.plan:

- name: Refuse a site that can't be built
  rackspread.ha.plan:
    buildable: true
"""

RETURN = r"""
changes:
  description: What a run would change against the lock.
  returned: success
  type: list
  elements: dict
  sample: [{group: etcd_voter1, change: new group, text: "etcd_voter1 is new, on r1h1, r2h1, r3h1."}]
generation:
  description: The generation of the lock that was compared with; 0 where there is no lock.
  returned: success
  type: int
  sample: 4
"""
