# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Open the managed ports of a host to the members and clients that need them, alone
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Writes and loads a table of its own, C(inet rackspread), that speaks of the ports of the groups given and of nothing
    else. It says nothing about SSH, and touches no other table.
  - A new table is loaded on probation. It stays only if the controller reaches the host over a new connection;
    otherwise the host puts the former table back by itself.
  - C(docs/firewall.md) says who may reach which port.
options:
  groups:
    description:
      - Every group of the site by its key, each a dictionary of C(service), C(component) and C(members), as the lookup
        P(rackspread.ha.topology#lookup) answers them.
    type: dict
    required: true
  clients:
    description:
      - The networks of each service's clients, as lists in CIDR notation by service. A service that is not named, or
        whose list is empty, is open to anybody, as far as its clients' ports go.
    type: dict
    default: {}
  vrrp:
    description:
      - Whether balancers hold addresses by VRRP, so that its packets (protocol 112) are taken from the other balancers
        alone.
    type: bool
    default: false
  probation:
    description: Seconds after which the former table comes back if the new one is not confirmed.
    type: int
    default: 45
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change, on a bare host too.
  diff_mode:
    support: full
    description: Shows the table before and after.
"""

EXAMPLES = r"""
- name: Open the managed ports to those who need them
  rackspread.ha.firewall:
    groups: "{{ lookup('rackspread.ha.topology', 'groups') }}"
    clients: {postgres: [198.18.0.0/24]}
"""

RETURN = r"""
pending:
  description: Always false at the end; a table that was not confirmed is a failure.
  returned: success
  type: bool
"""
