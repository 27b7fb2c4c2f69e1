# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy on a balancer: a service without data, whose leader is the holder of the virtual addresses."""

from __future__ import annotations

import contextlib
import csv
import socket
from typing import Any

from . import vips
from .driver import Driver, Live, listens
from .instance import Instance

ANSWER_SECONDS = 3.0


class HAProxy(Driver):
    """One balancer's HAProxy. Settings: `vips`, the site's virtual addresses (`address/prefix`)."""

    service = "haproxy"
    bears = "keepalived"
    start_seconds = 20.0

    def ask(self) -> Live:
        """Ask its admin socket: it serves where it answers.

        A service without a living server is told, and is not the balancer's fault.
        """
        try:
            rows = self._statistics()
        except OSError as error:
            return Live(detail=f"its admin socket does not answer: {error}")
        down = [row["# pxname"] for row in rows if row["svname"] == "BACKEND" and row["status"] != "UP"]
        return Live(
            role="leader" if vips.held(self.settings.get("vips", [])) else "follower",
            healthy=True,
            members=[self.member["id"]],
            detail=f"no server is up for {', '.join(down)}" if down else "",
        )

    def overlook(self, other: dict[str, Any]) -> Live:
        """The other balancer, as it is seen from here."""
        return listens(other, "peers")

    def step_down(self, target: dict[str, Any] | None) -> None:
        """Give the virtual addresses away before a restart; a reload keeps every session and needs none of this."""
        group = self.group["name"]
        vips.give_away(self.settings.get("vips", []), Instance.of(group, self.member["id"], program="keepalived").unit)

    def _statistics(self) -> list[dict[str, str]]:
        """The rows of `show stat` (HAProxy management guide, 9.1: CSV format)."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as admin:
            admin.settimeout(ANSWER_SECONDS)
            admin.connect(f"/run/{self.instance.unit}/admin.sock")
            admin.sendall(b"show stat\n")
            answer = b"".join(iter(lambda: admin.recv(65536), b""))
        return list(csv.DictReader(answer.decode().splitlines()))
