# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: slice
short_description: What a host of the site carries
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Answers a host's own part of what the inventory plugin P(rackspread.ha.placement#inventory) planned in this run.
  - The variable C(rackspread) of each host that stands in a rack is this lookup, of its own name. So inventories of ten
    thousand hosts are listed quickly, and a host's part is made where it is asked for.
options:
  _terms:
    description: Names of hosts that stand in racks.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show what a host runs
  ansible.builtin.debug:
    msg: "{{ rackspread.instances }}"

- name: Show what another host runs
  ansible.builtin.debug:
    msg: "{{ lookup('rackspread.ha.slice', 'r1h1').instances }}"
"""

RETURN = r"""
_raw:
  description: The part of each host that was named.
  type: list
  elements: dict
  sample:
    - site: {id: null, name: demo}
      host: r1h1
      rack: rack1
      instances:
        - {group: etcd_voter1, member: 1, unit: rackspread-etcd-voter1, data: /var/lib/rackspread/etcd_voter1}
      groups:
        etcd_voter1:
          service: etcd
          component: voter
          index: 1
          members:
            - {id: 1, host: r1h1, rack: rack1, leader: false, address: 192.0.2.11, ports: {main: 2379, peer: 2480}}
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


class LookupModule(LookupBase):
    """Hands on what the inventory plugin left."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Answer the slices of the hosts that are named."""
        try:
            site = current.site()
        except Refusal as refusal:
            raise AnsibleLookupError(str(refusal)) from refusal
        unknown = [term for term in terms if term not in site.hosts]
        if unknown:
            raise AnsibleLookupError(f"No host {', '.join(unknown)} stands in a rack of this site.")
        return [site.slice(term) for term in terms]
