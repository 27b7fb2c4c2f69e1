# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: host_certificates
short_description: The certificates that a host needs for the members that it carries
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Makes the O(rackspread.ha.certificates#module:certificates) of a host from its slice of the site, the variable
    C(rackspread) that P(rackspread.ha.placement#inventory) gives to it.
options:
  _input:
    description: The slice.
    type: dict
    required: true
  settings:
    description: The settings of the site's services, C(lookup('rackspread.ha.topology', 'settings')).
    type: dict
    required: true
  names:
    description: DNS names, or the one, under which the VIPs are known to clients.
    type: raw
    default: []
"""

EXAMPLES = r"""
- name: Give this host its certificates
  rackspread.ha.certificates:
    certificates: "{{ rackspread | rackspread.ha.host_certificates(lookup('rackspread.ha.topology', 'settings')) }}"
"""

RETURN = r"""
_value:
  description: One entry for each service of which the host carries a member, and for each other that it is a client of.
  type: list
  elements: dict
  sample:
    - {service: etcd, group: etcd, names: [r1h1], addresses: [192.0.2.11], client: true}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.certificates import for_host


class FilterModule:
    """The filter host_certificates."""

    def filters(self) -> dict[str, Callable[..., list[dict[str, Any]]]]:
        """Names and functions."""
        return {"host_certificates": for_host}
