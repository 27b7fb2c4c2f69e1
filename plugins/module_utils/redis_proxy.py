# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Envoy as a proxy of Redis Cluster: a service without data, all of whose members do the same."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from .driver import Driver, Live, listens

ANSWER_SECONDS = 3.0


class Admin(http.client.HTTPConnection):
    """Envoy's administration at its unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._path)

    def get(self, path: str) -> str:
        """The body of an answer, whatever its status."""
        self.request("GET", path)
        return self.getresponse().read().decode()


class RedisProxy(Driver):
    """One proxy."""

    service = "redis_proxy"
    start_seconds = 20.0

    def overlook(self, other: dict[str, Any]) -> Live:
        """Another proxy, whose administration is a socket of its own host."""
        return listens(other, "admin")

    def ask(self) -> Live:
        """Ask for its own state, and for the nodes that it finds healthy: without any it can serve nobody."""
        try:
            admin = Admin(f"/run/{self.instance.unit}/admin.sock")
            state = admin.get("/ready").strip()
            said = admin.get("/stats?format=json&filter=^cluster.redis.membership_(healthy|total)$")
            admin.close()
            nodes = {each["name"].rpartition("_")[2]: int(each["value"]) for each in json.loads(said)["stats"]}
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            return Live(detail=f"its administration does not answer: {error}")
        healthy = state == "LIVE" and nodes.get("healthy", 0) > 0
        return Live(
            role="follower",
            healthy=healthy,
            members=[self.member["id"]],
            detail="" if healthy else f"it is {state}, and finds {nodes.get('healthy', 0)} nodes of Redis",
        )
