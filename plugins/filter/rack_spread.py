# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rack_spread
short_description: Spread groups of members over hosts in racks
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Places replica groups so that no two members of a group share a host and as few as possible share a rack, with
    the load even and the preferred leaders rotated over racks.
  - No other placement has fewer members of a group in one rack, loads that are more even, or leaders that are more even
    with such loads. The order of the input is no matter.
  - What stands in O(previous) stays there, so keep the answer and give it back. Moves are made only where
    O(rebalance) asks for them.
  - Fails where the groups can't be placed, and says which racks are short of what and the smallest change that would
    do.
  - For inventories of your own; the inventory plugin P(rackspread.ha.placement#inventory) uses the same engine.
  - All parameters are given by name.
options:
  _input:
    description: A mapping of group names to lists of hosts, such as the variable C(groups).
    type: dict
    required: true
  groups:
    description: How many groups.
    type: int
    required: true
  members:
    description: How many members each group has.
    type: int
    required: true
  racks:
    description: A pattern (or a list of them) over the names of groups that are racks, or a mapping of host to rack.
    type: raw
    default: rack*
  hosts:
    description: A pattern over groups and hosts, or a list of them. Only these hosts carry members.
    type: raw
    default: "*"
  previous:
    description:
      - An earlier answer. What stands in it stays, a member whose host is gone is placed anew, nothing else moves.
    type: list
    elements: dict
  capacity:
    description:
      - The most members that a host takes, a number for all or a mapping of host to number. Unbounded where not given.
    type: raw
  rebalance:
    description:
      - Whether what stands in O(previous) may move, so that load and leaders are as even as if all were placed anew.
    type: bool
    default: false
  moves:
    description: With O(rebalance), the most members that move. All that it takes where it is not given.
    type: int
  name:
    description: What the groups are called, before their number.
    type: str
    default: group
"""

EXAMPLES = r"""
- name: Place three groups of three members on the hosts of the group redis
  ansible.builtin.set_fact:
    redis_groups: "{{ groups | rackspread.ha.rack_spread(racks='rack*', hosts='redis', groups=3, members=3) }}"

- name: Place a fourth group and leave the others where they are
  ansible.builtin.set_fact:
    redis_groups: "{{ groups | rackspread.ha.rack_spread(hosts='redis', groups=4, members=3, previous=redis_groups) }}"

- name: Keep the answer in a file, and after a host was lost give its members, and no others, another place
  ansible.builtin.copy:
    content: "{{ groups | rackspread.ha.rack_spread(groups=4, members=3, previous=before) | to_nice_yaml }}"
    dest: placement.yml
    mode: "0644"
  vars:
    before: "{{ lookup('ansible.builtin.file', 'placement.yml') | from_yaml }}"

- name: Show what ten moves would bring after hosts were added
  ansible.builtin.debug:
    msg: "{{ groups | rackspread.ha.rack_spread(groups=4, members=3, previous=before, rebalance=true, moves=10) }}"
"""

RETURN = r"""
_value:
  description: The groups, each with its members in the order of racks.
  type: list
  elements: dict
  sample:
    - name: group1
      members:
        - {host: r1h1, rack: rack1, leader: true}
        - {host: r2h1, rack: rack2, leader: false}
        - {host: r3h1, rack: rack3, leader: false}
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import spread
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


def rack_spread(groups_: dict[str, list[str]], **parameters: Any) -> list[dict[str, Any]]:
    """Translate between Jinja and the engine."""
    try:
        return spread.rack_spread(groups_, **parameters)
    except (Refusal, TypeError) as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filter rack_spread."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"rack_spread": rack_spread}
