# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: drill
short_description: Break something of a site on purpose, and measure what clients notice
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Breaks a process, a host or a rack under the load of clients that count, and tells how long they were out and
    whether a write that was acknowledged is missing. Meant to be run by the playbook C(rackspread.ha.drill).
  - A fault ends by itself after its time, whatever becomes of the controller.
  - Several services, targets or faults are combined, and done one after another, each when the site is whole again.
  - What came of each lies in C(<inventory>/.rackspread/drills) as C(result.json) and C(index.html).
options:
  operation:
    description: V(plan) refuses what can't be done, says what will be, and asks; V(run) does it.
    type: str
    choices: [plan, run]
    required: true
  services:
    description: The services whose clients count, of V(edge), V(etcd) and V(postgres).
    type: list
    elements: str
    required: true
  targets:
    description: >-
      What is hit, V(leader), the V(host) or the V(rack) where it is, V(vip) (who holds it), C(<group>/<member id>), the
      name of a host or a rack, or V(racks), each of them one after another.
    type: list
    elements: str
    required: true
  faults:
    description: How it is hit; docs/drills.md has the table.
    type: list
    elements: str
    required: true
  group:
    description: The group whose leader is meant. Left out, the first one of the service.
    type: str
  seconds:
    description: How long a fault lasts at most. It is ended as soon as clients are served again.
    type: float
    default: 60
  patience:
    description: How many seconds the site may take after a fault until it is whole.
    type: float
    default: 300
  settle:
    description: How many seconds lie between two drills.
    type: float
    default: 40
  settings:
    description: What faults can be told; the options of M(rackspread.ha.drill_fault) under C(settings).
    type: dict
    default: {}
  allowed:
    description: Whether the site may be broken on purpose.
    type: bool
    default: false
  confirmed:
    description: Whether somebody said yes already.
    type: bool
    default: false
  probe_host:
    description: The host of the inventory, outside the racks, on which the clients run.
    type: str
    default: ''
  login:
    description: How the clients come into Postgres, C({user, database}).
    type: dict
    default: {}
  password:
    description: The password for it. Left out, that of the site's role C(rackspread).
    type: str
  lab:
    description: >-
      The name of the lab that the site lives in, run by C(lab/lab) of this repository. Some faults only a lab can make.
    type: str
    default: ''
attributes:
  check_mode:
    description: Says what would be done, and does not ask.
    support: full
  diff_mode:
    description: Nothing is changed for long.
    support: none
"""

EXAMPLES = r"""
- name: Freeze the leader of the first shard
  rackspread.ha.drill:
    operation: run
    services: [postgres]
    targets: [leader]
    faults: [freeze]
    probe_host: client
    login: {user: rackspread, database: rackspread}
"""

RETURN = r"""
plan:
  description: What will be done, in words.
  returned: operation plan
  type: list
  elements: str
packages:
  description: Debian packages that the probes need on their host.
  returned: operation plan
  type: list
  elements: str
certificates:
  description: Certificates that the probes need, as M(rackspread.ha.certificates) takes them.
  returned: operation plan
  type: list
  elements: dict
results:
  description: What came of each drill, as in C(result.json) but for the picture.
  returned: operation run
  type: list
  elements: dict
folders:
  description: Where it lies.
  returned: operation run
  type: list
  elements: str
table:
  description: All of them as a table in Markdown.
  returned: operation run
  type: str
"""
