# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: topology
short_description: The whole site as it is planned
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Answers what the inventory plugin P(rackspread.ha.placement#inventory) planned in this run, all racks, hosts and
    groups.
  - A host's own part is its variable C(rackspread); this lookup is for what concerns the site as a whole. It computes
    nothing and may be called often.
options:
  _terms:
    description: Keys of the topology. Without any, the answer is all of it.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show where the voters of etcd are
  ansible.builtin.debug:
    msg: "{{ lookup('rackspread.ha.topology').groups.etcd_voter1.members | map(attribute='host') }}"

- name: Show the groups alone
  ansible.builtin.debug:
    msg: "{{ lookup('rackspread.ha.topology', 'groups') }}"
"""

RETURN = r"""
_raw:
  description: The topology, or the values of the keys that were named.
  type: list
  elements: dict
  sample:
    - site: {id: null, name: demo}
      state: /srv/site/.rackspread
      racks: {rack1: [r1h1], rack2: [r2h1], rack3: [r3h1]}
      hosts: {r1h1: {rack: rack1, address: 192.0.2.11}}
      groups:
        etcd_voter1:
          service: etcd
          component: voter
          index: 1
          members:
            - {id: 1, host: r1h1, rack: rack1, leader: false, address: 192.0.2.11, ports: {main: 2379, peer: 2480}}
      settings: {etcd: {clients: [], failover: fast}}
      changes: [{group: etcd_voter1, change: new group, text: "etcd_voter1 is new, on r1h1, r2h1, r3h1."}]
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


class LookupModule(LookupBase):
    """Hands on what the inventory plugin left."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Answer the topology, or the parts of it that are named."""
        try:
            topology = current.site().topology
        except Refusal as refusal:
            raise AnsibleLookupError(str(refusal)) from refusal
        unknown = [term for term in terms if term not in topology]
        if unknown:
            raise AnsibleLookupError(f"The topology has no {', '.join(unknown)}; it has {', '.join(topology)}.")
        return [topology[term] for term in terms] if terms else [topology]
