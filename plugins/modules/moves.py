# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: moves
short_description: Plan moves of members, have them confirmed, and write them into the lock
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Looks at the whole site, shows which members would go from which host to which and what is copied, asks, and writes
    that into the lock. It touches no member. M(rackspread.ha.converge) of each service makes the moves afterwards, in
    this run or, where this one is ended, in any later one. Meant to be run by C(replace.yml), C(retire.yml),
    C(rebalance.yml) and C(scale.yml).
  - Where moves were begun and are not ended, they are shown and gone on with, and nothing else is planned, but for the
    replacement of another host that was lost.
  - Before anything is written, the hosts that are to get members are looked at as at the start of C(site.yml).
options:
  operation:
    description:
      - V(replace) gives up the members of O(hosts) that are lost; they are rebuilt from the living. A host that does
        not answer gets nothing new; on one that answers, only members whose disk is another count as lost.
      - V(retire) empties O(hosts) and gives them nothing new.
      - V(rebalance) spreads members and preferred leaders evenly, with O(limit) moves at most.
      - V(scale) tells what is new in spec and inventory, and takes back O(hosts) that were given up. Shards of Redis
        that the spec asks for no more leave.
    type: str
    choices: [replace, retire, rebalance, scale]
    required: true
  hosts:
    description: Names of hosts that stand in racks, and in the inventory as yet.
    type: list
    elements: str
    default: []
  limit:
    description: The most members that a rebalance moves. All that it takes where it is not given.
    type: int
extends_documentation_fragment: [rackspread.ha.confirmed]
"""

EXAMPLES = r"""
- name: Have the members of a host that died rebuilt elsewhere
  rackspread.ha.moves:
    operation: replace
    hosts: [r1h1]
"""

RETURN = r"""
plan:
  description: What will be done, in words.
  returned: success
  type: list
  elements: str
moves:
  description: The members that go and come, each as the lock has it.
  returned: success
  type: list
  elements: dict
  sample: [{group: etcd_voter1, old: {id: 1, host: r1h3}, new: {id: 4, host: r1h1}, lost: true}]
"""
