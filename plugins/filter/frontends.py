# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: frontends
short_description: What the balancers publish
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Makes of the topology's groups the ports that HAProxy publishes on the virtual addresses, with the servers behind
    each, as the role P(rackspread.ha.haproxy#role) takes them.
options:
  _input:
    description: The groups of the topology.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the published ports
  ansible.builtin.debug:
    msg: "{{ lookup('rackspread.ha.topology', 'groups') | rackspread.ha.frontends | map(attribute='port') }}"
"""

RETURN = r"""
_value:
  description: The frontends, in the order of the groups.
  type: list
  elements: dict
  sample:
    - name: postgres_shard1_write
      port: 5432
      balance: leastconn
      check: {path: /primary, identity: postgres}
      servers: [{name: r1h1, host: r1h1, address: 192.0.2.11, port: 25432, check_port: 8008}]
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.edge import frontends


class FilterModule:
    """The filter frontends."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Hand it to Jinja."""
        return {"frontends": frontends}
