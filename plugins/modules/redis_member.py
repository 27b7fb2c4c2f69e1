#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a member of a shard of Redis, and act on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_member
short_description: Look at a member of a shard of Redis, and act on it
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One step of the life of a node of Redis Cluster (or Valkey's), on its own host. A group is one shard, and all groups
    are one cluster.
  - A shard begins on one member, which takes the slots that the group's intent names and meets the others shards'
    first members. Its other members follow that one. Nothing is made over a node that knows another cluster or holds
    keys, and no command that creates or fixes a cluster as a whole is used.
  - A member whose disk was lost is forgotten by all nodes, and comes back in its place under another node id.
extends_documentation_fragment: [rackspread.ha.member]
requirements: [python3-redis]
"""

EXAMPLES = r"""
- name: Look at the member of this host
  rackspread.ha.redis_member:
    group: "{{ redis_groups[0] }}"
    member: 1
    unit: rackspread-redis-shard1
    data: /var/lib/rackspread/redis_shard1
    settings: {groups: "{{ redis_groups }}", user: redis, admin: admin, lag: 2, persistent: true}
    secrets: {admin: "{{ redis_passwords.admin }}"}
"""

RETURN = r"""
observation:
  description: What was seen of the member, after what was done; docs/architecture.md tells the fields.
  returned: success
  type: dict
answer:
  description: Whom the one who joins is to follow, after V(operation=admit).
  returned: when something was done
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run
from ansible_collections.rackspread.ha.plugins.module_utils.redis import Redis


def main() -> None:
    """Run the module."""
    run(Redis)


if __name__ == "__main__":
    main()
