# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the balancers publish: the ports on the virtual addresses, and the servers behind each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PATRONI_ROLES = {"write": "/primary", "read": "/replica"}
"""Which published port of a shard is for which role, as Patroni tells it (patroni.readthedocs.io, REST API)."""


def frontends(groups: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The frontends of all groups that clients reach through the balancers, in the order of the groups.

    Args:
        groups: the topology's groups, `{key: {service, component, index, members: [M]}}`.

    Returns: `{name, port, balance, check: {path, identity}, servers: [{name, host, address, port, check_port}]}`, the
        input `haproxy_frontends` of the role haproxy.
    """
    found = []
    for key, group in groups.items():
        match f"{group['service']}_{group['component']}":
            case "postgres_shard":
                found += [_frontend(key, group, name, path, "rest") for name, path in PATRONI_ROLES.items()]
            case "redis_proxy":
                found.append(_frontend(key, group, "front", "/healthy", "admin"))
    return found


def _frontend(key: str, group: Mapping[str, Any], name: str, path: str, check: str) -> dict[str, Any]:
    """A published port of a group; its members say at `path` of their port `check` whether they may be used."""
    return {
        "name": f"{key}_{name}",
        "port": group["members"][0]["ports"][name],
        "balance": "leastconn",
        "check": {"path": path, "identity": group["service"]},
        "servers": [
            {
                "name": member["host"],
                "host": member["host"],
                "address": member["address"],
                "port": member["ports"]["main"],
                "check_port": member["ports"][check],
            }
            for member in group["members"]
        ],
    }
