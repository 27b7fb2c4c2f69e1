# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: groups_of
short_description: The groups of a component, as a role takes them
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Makes of the topology's groups the list that a role takes, C(etcd_groups) for example; empty where the site has
    none.
options:
  _input:
    description: The groups of the topology.
    type: dict
    required: true
  component:
    description: The component, C(etcd_voter) for example.
    type: str
    required: true
positional: component
"""

EXAMPLES = r"""
- name: Show the groups of the voters
  ansible.builtin.debug:
    msg: "{{ lookup('rackspread.ha.topology', 'groups') | rackspread.ha.groups_of('etcd_voter') }}"
"""

RETURN = r"""
_value:
  description: The groups, each with its name and all its members.
  type: list
  elements: dict
  sample:
    - name: etcd_voter1
      index: 1
      members: [{id: 1, host: r1h1, rack: rack1, leader: false, address: 192.0.2.11, ports: {main: 2379, peer: 2480}}]
"""

from collections.abc import Callable, Mapping
from typing import Any


def groups_of(groups: Mapping[str, Mapping[str, Any]], component: str) -> list[dict[str, Any]]:
    """The groups of a component, named."""
    return [
        {"name": name, "index": group["index"], "members": group["members"]}
        for name, group in groups.items()
        if f"{group['service']}_{group['component']}" == component
    ]


class FilterModule:
    """The filter groups_of."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Hand it to Jinja."""
        return {"groups_of": groups_of}
