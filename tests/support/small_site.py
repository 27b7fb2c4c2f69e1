# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small site for tests of what looks at all of one: a shard, voters and balancers, a host a rack."""

from __future__ import annotations

from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils.services import programs_of
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.aims import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.looking import Asked, Seen
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

VIP = "192.0.2.100"


def member(number: int, **ports: int) -> dict[str, Any]:
    return {
        "id": number, "host": f"r{number}h1", "rack": f"rack{number}", "address": f"192.0.2.{number}",
        "leader": number == 1, "ports": ports,
    }  # fmt: skip


def topology(vips: bool = True) -> dict[str, Any]:
    shard = {"main": 25432, "rest": 8008, "write": 5432, "read": 6432}
    voters = [member(number, main=2379, peer=2480) for number in (1, 2, 3)]
    shards = [member(number, **shard) for number in (1, 2, 3)]
    balancers = [member(number, main=7000, peers=7050) for number in (1, 2)]
    return {
        "site": {"id": None, "name": "harbour"},
        "racks": {f"rack{number}": [f"r{number}h1", f"r{number}h2"] for number in (1, 2, 3)},
        "groups": {
            "etcd_voter1": {"service": "etcd", "component": "voter", "index": 1, "members": voters},
            "postgres_shard1": {"service": "postgres", "component": "shard", "index": 1, "members": shards},
            "edge_balancer1": {"service": "edge", "component": "balancer", "index": 1, "members": balancers},
        },
        "settings": {"edge": {"clients": [], "vips": [f"{VIP}/24"] if vips else []}},
    }


def redis() -> dict[str, dict[str, Any]]:
    """The groups of three shards of Redis, each preferably led in another rack, and of two proxies before them."""
    found = {
        f"redis_shard{index}": {
            "service": "redis", "component": "shard", "index": index, "members": [
                {**member(number, main=16378 + index, bus=26378 + index), "leader": number == index}
                for number in (1, 2, 3)
            ],
        }
        for index in (1, 2, 3)
    }  # fmt: skip
    proxies = [member(number, main=17379, admin=17479, front=6379) for number in (1, 2)]
    return {**found, "redis_proxy1": {"service": "redis", "component": "proxy", "index": 1, "members": proxies}}


def asked() -> list[Asked]:
    return [
        Asked(row.name, [{"name": key, **group}], lambda _host, row=row: "/srv" if row.stateful else None, row.program)
        for key, group in topology()["groups"].items()
        for row in programs_of(group)
    ]


def site() -> Site:
    return Site(topology(), asked())


def standing(
    *away: str, leader: int = 1, in_sync: tuple[int, ...] = (1, 2, 3), holders: tuple[int, ...] = (1,),
    preferred: int = 0, leaving: tuple[int, ...] = (), **facts: Any,
) -> Standing:  # fmt: skip
    """The site with all its members joined, but for those on these hosts, which are stopped; `facts` are the observed
    of all others.
    """
    seen: Seen = {}
    for each in asked():
        for group in each.groups:
            leaders = holders if group["service"] == "edge" else (leader,)
            seen[each.service, group["name"]] = [
                Observation(one["id"], one["host"], rack=one["rack"], state=State.STOPPED)
                if one["host"] in away
                else Observation(
                    one["id"], one["host"], rack=one["rack"], state=State.JOINED, preferred=one["id"] == preferred,
                    leaving=one["id"] in leaving,
                    live={
                        "role": "leader" if one["id"] in leaders else "follower", "in_sync": in_sync, "healthy": True,
                        **facts.get("live", {}),
                    },
                    need=facts.get("need", "nothing"),
                )
                for one in group["members"]
            ]  # fmt: skip
    return Standing(topology()["groups"], seen, vips=1)
