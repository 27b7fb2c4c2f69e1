# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: managed_ports
short_description: The TCP ports that members on a host have
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - The ports of all groups with a member on the host; on a balancer the published ones too.
options:
  _input:
    description: Every group of the site by its key, as the lookup P(rackspread.ha.topology#lookup) answers them.
    type: dict
    required: true
  host:
    description: The host's name in the inventory.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the managed ports of this host
  ansible.builtin.debug:
    msg: >-
      {{ lookup('rackspread.ha.topology', 'groups') | rackspread.ha.managed_ports(host=inventory_hostname) }}
"""

RETURN = r"""
_value:
  description: The ports, sorted.
  type: list
  elements: int
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.firewall import openings


def managed_ports(groups: Mapping[str, Any], host: str) -> list[int]:
    """The TCP ports that members on a host have."""
    return list(openings(groups, host))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter of this file."""
        return {"managed_ports": managed_ports}
