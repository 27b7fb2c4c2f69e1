# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_leader
short_description: Keep etcd's leader away from the leaders of Postgres
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Hands the leadership of etcd to a voter in a rack with fewer leaders of shards, where there is one. A rack that is
    lost with both leaders is out for longer, since a new leader of etcd renews every lease.
  - Asks over the voters' own connections, once a run. An etcd with a voter that is not healthy, or whose host takes no
    part in the run, is left alone.
options:
  voters:
    description: The group of voters, C({name, index, members}).
    type: dict
    required: true
  shards:
    description: The groups whose clusters keep their leaders in etcd, C({name, index, members}) each.
    type: list
    elements: dict
    required: true
  namespace:
    description: Where Patroni keeps the clusters' keys in etcd.
    type: str
    required: true
attributes:
  check_mode:
    description: Tells whether the leader would be moved.
    support: full
  diff_mode:
    description: There are no files.
    support: none
"""

EXAMPLES = r"""
- name: Keep etcd's leader away from the leaders of Postgres
  rackspread.ha.etcd_leader:
    voters: "{{ topology.groups | rackspread.ha.groups_of('etcd_voter') | first }}"
    shards: "{{ topology.groups | rackspread.ha.groups_of('postgres_shard') }}"
    namespace: /rackspread/harbour
  run_once: true
  vars:
    topology: "{{ lookup('rackspread.ha.topology') }}"
"""

RETURN = r"""
msg:
  description: Why the leader was moved, or why it stays.
  returned: always
  type: str
"""
