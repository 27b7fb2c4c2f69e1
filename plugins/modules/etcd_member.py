#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a voter of etcd, and act on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Look at a voter of etcd, and act on it
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One step of a voter's life, forming, joining, starting, taking what is staged, on its own host.
  - A voter whose disk was lost is removed from the cluster by its neighbours, and added again under a new id of etcd's.
extends_documentation_fragment: [rackspread.ha.member]
"""

EXAMPLES = r"""
- name: Look at the voter of this host
  rackspread.ha.etcd_member:
    group: "{{ etcd_groups[0] }}"
    member: 1
    unit: rackspread-etcd-voter1
    data: /var/lib/rackspread/etcd_voter1
"""

RETURN = r"""
observation:
  description: What was seen of the member, after what was done; docs/architecture.md tells the fields.
  returned: success
  type: dict
answer:
  description: What the one who joins must know, after V(operation=admit).
  returned: when something was done
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.etcd import Etcd
from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run


def main() -> None:
    """Run the module."""
    run(Etcd)


if __name__ == "__main__":
    main()
