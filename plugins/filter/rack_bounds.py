# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rack_bounds
short_description: How good placed groups are, beside the best that could be had
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Compares groups as P(rackspread.ha.rack_spread#filter) returned them with a placement of all of them from nothing.
  - Groups that grew one after another may lie behind it; C(rebalance) of that filter moves them there.
options:
  _input:
    description: The groups.
    type: list
    elements: dict
    required: true
  inventory:
    description: A mapping of group names to lists of hosts, such as the variable C(groups).
    type: dict
    required: true
  racks:
    description: A pattern (or a list of them) over the names of groups that are racks, or a mapping of host to rack.
    type: raw
    default: rack*
  hosts:
    description: A pattern over groups and hosts, or a list of them. Only these hosts carry members.
    type: raw
    default: "*"
  capacity:
    description: The most members that a host takes, a number for all or a mapping of host to number.
    type: raw
positional: inventory
"""

EXAMPLES = r"""
- name: Show how even the groups are
  ansible.builtin.debug:
    msg: "{{ redis_groups | rackspread.ha.rack_bounds(groups, hosts='redis') }}"
"""

RETURN = r"""
_value:
  description: A row for each thing that is kept even, with the least and the most of it, achieved and best.
  type: list
  elements: dict
  sample:
    - {what: in a rack of a group, achieved: [1, 1], best: [1, 1], optimal: true}
    - {what: members of a host, achieved: [0, 3], best: [1, 2], optimal: false}
    - {what: leaders of a rack, achieved: [1, 1], best: [1, 1], optimal: true}
    - {what: leaders of a host, achieved: [0, 1], best: [0, 1], optimal: true}
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import spread
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


def rack_bounds(placed: Any, inventory: dict[str, list[str]], **parameters: Any) -> list[dict[str, Any]]:
    """Translate between Jinja and the engine."""
    try:
        return spread.rack_bounds(placed, inventory, **parameters)
    except Refusal as error:
        raise AnsibleFilterError(str(error)) from error
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"rack_bounds takes groups as rack_spread returns them: {error!r}") from error


class FilterModule:
    """The filter rack_bounds."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"rack_bounds": rack_bounds}
