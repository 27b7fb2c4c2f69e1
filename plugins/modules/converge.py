# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: converge
short_description: Form the groups of a service, and roll what is staged
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Looks at every member of every group at once, decides one step for each group, takes it and looks again, until all
    members are joined or there is a reason not to go on.
  - Then takes what M(rackspread.ha.apply) has staged, one member at a time over the whole service. A member is
    restarted only where the others can spare it; a leader hands over before. A member that does not come up with the
    new version is switched back, and the roll stops there.
  - It runs once, on the controller, and opens the connection of each member's host from that host's own variables,
    also where C(--limit) leaves the host out. Hosts that can't be reached do not end the play.
  - A group with an unreachable member is not changed, and nothing is restarted anywhere while a host of the site can't
    be reached. Where that is the only reason, the task succeeds and tells so in RV(unconverged).
  - A group is formed only where all members were seen empty and neither the lock nor any host's record says that it was
    ever formed. Before the first act the lock is written.
  - A run that was killed leaves nothing to clean. The next one goes on from what it finds.
  - Moves of members that the lock intends (M(rackspread.ha.moves)) are made one after another. Another member joins and
    is whole before the one that leaves is stopped; the data of that one stays on its host, aside.
options:
  service:
    description: The service. Its rows in C(module_utils/services.py) say how it forms and what may be spared.
    type: str
    choices: [etcd, postgres, haproxy, keepalived]
    required: true
  groups:
    description: Every group of the service, whole.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its key, as C(etcd_voter1).
        type: str
        required: true
      index:
        description: Its number.
        type: int
        required: true
      members:
        description: Its members, each with C(id), C(host), C(rack), C(address), C(ports) and C(leader).
        type: list
        elements: dict
        required: true
  program:
    description: Which of several programs of the groups this is, as for M(rackspread.ha.apply).
    type: str
  data_root:
    description:
      - Folder under which each instance has its data folder; templated with the variables of each member's host.
        A service without data leaves it out.
    type: str
  settings:
    description: What the service's modules on the hosts need to know.
    type: dict
    default: {}
  secrets:
    description: The same for what must not be seen.
    type: dict
    default: {}
  restart:
    description:
      - Whether every member is restarted once, though nothing that is staged asks for it. What an earlier run was asked
        for and did not end is ended, and nobody is restarted twice. By default what the variable C(rackspread_restart)
        says, or not.
    type: bool
  home:
    description: >-
      Whether leaders hand over, at the end, to the members that the placement prefers. By default what the variable
      C(rackspread_home) says, or not.
    type: bool
  ask:
    description: >-
      Whether what will be rolled is shown before, and is to be confirmed by who sits there. By default what the
      variable C(rackspread_ask) says, or not.
    type: bool
attributes:
  check_mode:
    support: full
    description: Looks and decides, tells in RV(steps) what it would do next, and does nothing.
  diff_mode:
    support: none
    description: The differences are those of M(rackspread.ha.apply).
"""

EXAMPLES = r"""
- name: Form and roll the etcd groups
  rackspread.ha.converge:
    service: etcd
    groups: "{{ etcd_groups }}"
    data_root: "{{ etcd_data_root }}"
  run_once: true
"""

RETURN = r"""
steps:
  description: What was done, in order; in check mode what would be done next.
  returned: always
  type: list
  elements: str
  sample: ["etcd_voter1: form (3 members, all empty)"]
unconverged:
  description: What was left undone since a host can't be reached, in sentences.
  returned: always
  type: list
  elements: str
refusals:
  description: Why groups were not brought further, each with its code and remedy.
  returned: failure
  type: list
  elements: str
groups:
  description: Each group's members as they were seen last.
  returned: always
  type: dict
  sample: {etcd_voter1: [{member: 1, host: r1h1, state: joined, role: leader}]}
"""
