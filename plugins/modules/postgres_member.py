#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a member of a Postgres shard, and act on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_member
short_description: Look at a member of a Postgres shard, and act on it
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One step of the life of a Patroni with its Postgres, on its own host.
  - A shard is formed here and nowhere else, with C(initdb) aside, the accounts for replication and C(pg_rewind)
    made in single-user mode, and a rename. Patroni itself is given no C(bootstrap) section, so it never begins a
    cluster of its own accord.
  - Before forming, the keys of the shard in etcd are read, never written. A cluster that is known there and does
    not lie on this disk is refused.
  - Which member leads, and whether a copy is rewound or cloned, is left to Patroni. A copy that was cut short is
    moved aside, and kept.
extends_documentation_fragment: [rackspread.ha.member]
"""

EXAMPLES = r"""
- name: Look at the member of this host
  rackspread.ha.postgres_member:
    group: "{{ patroni_groups[0] }}"
    member: 1
    unit: rackspread-postgres-shard1
    data: /var/lib/rackspread/postgres_shard1
"""

RETURN = r"""
observation:
  description: What was seen of the member, after what was done; docs/architecture.md tells the fields.
  returned: success
  type: dict
answer:
  description: Nothing; a Postgres that joins needs no word from its neighbours.
  returned: when something was done
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run
from ansible_collections.rackspread.ha.plugins.module_utils.postgres import Postgres


def main() -> None:
    """Run the module."""
    run(Postgres)


if __name__ == "__main__":
    main()
