#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask etcd who leads: itself, and the clusters of Patroni that keep their leaders in it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: leaders_info
short_description: Who leads etcd, and who leads what keeps its leader there
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Asks every voter of etcd what it says of itself, and reads the leader's key of each cluster of Patroni. It changes
    nothing, and runs on one host with a voter, over the network, whatever the number of voters and clusters.
options:
  group:
    description: The group of voters, C({name, index, members}).
    type: dict
    required: true
  namespace:
    description: Where Patroni keeps the clusters' keys in etcd.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: It never changes anything.
  diff_mode:
    support: none
    description: It never changes anything.
"""

EXAMPLES = r"""
- name: Ask who leads
  rackspread.ha.leaders_info:
    group: "{{ lookup('rackspread.ha.topology', 'groups') | rackspread.ha.groups_of('etcd_voter') | first }}"
    namespace: /rackspread/harbour
"""

RETURN = r"""
voters:
  description: By the voter's id what it says, as the RV(ignore:live) of an observation in docs/architecture.md.
  returned: success
  type: dict
leaders:
  description: By the cluster's name the host that leads it. One that nobody leads now is not there.
  returned: success
  type: dict
  sample: {postgres_shard1: r1h1}
"""

import dataclasses

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import patroni
from ansible_collections.rackspread.ha.plugins.module_utils.etcd import Etcd
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance

KEY = "/leader"


def main() -> None:
    """Answer who leads."""
    module = AnsibleModule(
        argument_spec={
            "group": {"type": "dict", "required": True},
            "namespace": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    group = module.params["group"]
    instances = [(Instance.of(group["name"], member["id"]), member) for member in group["members"]]
    voters = [{"address": member["address"], "port": member["ports"]["main"]} for member in group["members"]]
    try:
        keys = patroni.keys(voters, instances[0][0].pki, f"{module.params['namespace']}/")
    except patroni.NoAnswer as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        voters={
            member["id"]: dataclasses.asdict(Etcd(instance, group, member, {}).ask()) for instance, member in instances
        },
        leaders={key[: -len(KEY)]: host for key, host in keys.items() if key.endswith(KEY)},
    )


if __name__ == "__main__":
    main()
