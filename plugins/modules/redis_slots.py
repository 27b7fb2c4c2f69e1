#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Share the slots of a living Redis Cluster among its shards."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_slots
short_description: Share the slots of a living Redis Cluster among its shards
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Moves as few slots as can be, so that every shard has as many as the others, give or take one. Shards that were
    added get theirs, those in O(emptied) give all away. Clients of the cluster are served meanwhile.
  - Run on one host with a member. It goes by what that member runs with, and is refused where the cluster is not whole.
  - It may be stopped anywhere. The next call ends what was half moved, and goes on.
options:
  emptied:
    description: The shards that are to have no slots, by the keys of their groups.
    type: list
    elements: str
    default: []
  rate:
    description: How many keys a second are moved at most.
    type: int
    default: 2000
requirements: [python3-redis]
attributes:
  check_mode:
    support: full
    description: Tells how many slots would be moved, and moves none.
  diff_mode:
    support: full
    description: Shows how many slots each shard has.
"""

EXAMPLES = r"""
- name: Give the new shards their share
  rackspread.ha.redis_slots:
  run_once: true

- name: Empty a shard before it is taken away
  rackspread.ha.redis_slots:
    emptied: [redis_shard5]
    rate: 500
  run_once: true
"""

RETURN = r"""
slots:
  description: By shard how many slots it has now.
  returned: success
  type: dict
moved:
  description: How many slots went to another shard (in check mode, would go).
  returned: success
  type: int
keys:
  description: How many keys went with them.
  returned: success
  type: int
"""

import contextlib
import glob
import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import host, redis_home
from ansible_collections.rackspread.ha.plugins.module_utils.redis_slots import (
    SLOTS,
    Mover,
    Shift,
    half_moved,
    plan,
    spread,
)

SECONDS = 20.0
"""How long a master may take for one command; keys that are handed on may be large."""


class Cluster:
    """The cluster as the masters of all shards tell it.

    Args:
        own: a member of this host.
        connections: what closes those that are opened.
    """

    def __init__(self, own: redis_home.Own, connections: contextlib.ExitStack) -> None:
        self._own = own
        self._connections = connections
        self._clients: dict[str, redis_home.Client] = {}
        with own.client(own.member) as ask:
            self._whole(redis_home.fields(ask("CLUSTER", "INFO")))
            seen = redis_home.nodes(ask("CLUSTER", "NODES"))
        if failing := sorted(f"{node.address}:{node.port}" for node in seen if node.fails):
            raise host.Failed(f"the cluster is not whole: {', '.join(failing)} do not answer")
        self.masters = {group["name"]: self._master(group, seen) for group in own.shards}

    @staticmethod
    def _whole(info: dict[str, str]) -> None:
        if info.get("cluster_state") != "ok" or info.get("cluster_slots_ok") != str(SLOTS):
            raise host.Failed("the cluster is not whole: not every slot is served")

    def _master(self, group: dict[str, Any], seen: list[redis_home.Node]) -> redis_home.Node:
        """The node that leads a shard, and a connection to it."""
        members = {(member["address"], member["ports"]["main"]): member for member in group["members"]}
        leading = [node for node in seen if (node.address, node.port) in members and not node.master]
        if len(leading) != 1:
            raise host.Failed(f"{group['name']} has {len(leading)} masters")
        member = members[leading[0].address, leading[0].port]
        self._clients[group["name"]] = self._connections.enter_context(self._own.client(member, SECONDS))
        return leading[0]

    def ask(self, shard: str, *words: object) -> Any:
        """Have the master of a shard do something."""
        return self._clients[shard](*words)

    def owned(self) -> dict[str, list[int]]:
        """By shard its slots, as its master has them."""
        found = {}
        for name in self.masters:
            own = next(node for node in redis_home.nodes(self.ask(name, "CLUSTER", "NODES")) if "myself" in node.flags)
            found[name] = spread(own.slots)
        if sum(map(len, found.values())) != SLOTS:
            raise host.Failed("slots belong to nodes that lead none of the shards")
        return found

    def open(self) -> list[Shift]:
        """What was half moved when somebody was stopped."""
        return half_moved(self.masters, {name: self.ask(name, "CLUSTER", "NODES") for name in self.masters})


def counted(owned: dict[str, list[int]]) -> dict[str, int]:
    """By shard how many slots it has."""
    return {name: len(slots) for name, slots in owned.items()}


def share(cluster: Cluster, own: redis_home.Own, given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Move what is to be moved; the module's answer."""
    if unknown := set(given["emptied"]) - cluster.masters.keys():
        raise host.Failed(f"there is no shard {', '.join(sorted(unknown))}")
    if 0 < len(cluster.masters) - len(given["emptied"]) < 3:
        raise host.Failed("fewer than three masters would be left: with one of them gone nobody could elect another")
    admin = own.config["settings"]["admin"]
    mover = Mover(cluster.masters, cluster.ask, (admin, own.config["secrets"]["admin"]), given["rate"])
    unfinished = cluster.open()
    for shift in unfinished if not check else ():
        mover.move(shift)
    owned = cluster.owned()
    before, shifts = counted(owned), plan(owned, given["emptied"])
    for shift in shifts if not check else ():
        mover.move(shift)
    after = before if check else counted(cluster.owned())
    shown = [json.dumps(each, indent=1, sort_keys=True) + "\n" for each in (before, after)]
    return {
        "changed": bool(unfinished or shifts),
        "slots": after,
        "moved": len(unfinished) + len(shifts),
        "keys": mover.keys,
        "diff": {"before": shown[0], "after": shown[1]},
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "emptied": {"type": "list", "elements": "str", "default": []},
            "rate": {"type": "int", "default": 2000},
        },
        supports_check_mode=True,
    )
    configs = sorted(glob.glob(redis_home.CONFIGS))
    if not configs:
        module.fail_json(msg="no member of Redis is on this host")
    try:
        own = redis_home.Own(json.loads(host.read(configs[0]) or "{}"))
        with contextlib.ExitStack() as connections:
            cluster = Cluster(own, connections)
            module.exit_json(**share(cluster, own, module.params, module.check_mode))
    except (host.Failed, redis_home.NoAnswer, OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
