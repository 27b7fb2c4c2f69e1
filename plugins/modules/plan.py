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
  - Prints a map of racks, hosts and members, the groups with their ports, what would change against the lock, how good
    the placement is beside the best that could be had, and what the site survives.
  - Runs on the controller and connects to no host. Fails where the spec or the inventory is refused, with the reason.
options:
  buildable:
    description: Whether to fail where the spec asks for a component that no role builds yet, in place of showing a map.
    type: bool
    default: false
  rebalance:
    description: Whether to show the site after moves that make load and leaders as even as if all were placed anew.
    type: bool
    default: false
  moves:
    description: With O(rebalance), the most members that move. All that it takes where it is not given.
    type: int
  lost:
    description: Hosts that are given up. The site is shown with their members, and no others, on other hosts.
    type: list
    elements: str
    default: []
  page:
    description:
      - Where to write the same as a page of HTML, one file that needs nothing else. What the lock has is shown beside
        it where something changes. The file is written in check mode too, since nothing of the site is changed.
    type: path
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

- name: Show what ten moves would bring
  rackspread.ha.plan:
    rebalance: true
    moves: 10

- name: Draw where the members of a host would go if it were given up
  rackspread.ha.plan:
    lost: [r1h1]
    page: /tmp/without-r1h1.html

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
bounds:
  description: A row for each component and each thing that is kept even, achieved and best.
  returned: success, without O(buildable)
  type: list
  elements: dict
  sample: [{component: postgres_shard, what: members of a host, achieved: [0, 1], best: [0, 1], optimal: true}]
survival:
  description: What the loss of a host, of a rack, and of a rack and a host would stop.
  returned: success, without O(buildable)
  type: dict
  sample: {host: {survives: true, lost: []}, rack: {survives: true, lost: []}, witness: []}
moves:
  description: With O(rebalance), how many members of each component move, and a number that no way is below.
  returned: success, without O(buildable)
  type: dict
  sample: {postgres_shard: {made: 2, least: 2}}
"""
