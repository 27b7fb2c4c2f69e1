# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""keepalived on a balancer: it holds the virtual addresses, or waits to."""

from __future__ import annotations

from typing import Any

from . import host, vips
from .driver import Driver, Live, listens


class Keepalived(Driver):
    """One balancer's keepalived. Settings: `vips`, the site's virtual addresses (`address/prefix`)."""

    service = "keepalived"
    start_seconds = 20.0

    def ask(self) -> Live:
        """It serves while its process is there; the leader is the one that holds an address."""
        if not host.unit(self.instance.unit).running:
            return Live(detail="it does not run")
        role = "leader" if vips.held(self.settings.get("vips", [])) else "follower"
        return Live(role=role, healthy=True, members=[self.member["id"]])

    def overlook(self, other: dict[str, Any]) -> Live:
        """The other balancer, by its HAProxy: whether its keepalived would take an address shows only when it does."""
        return listens(other, "peers")

    def step_down(self, target: dict[str, Any] | None) -> None:
        """Give the addresses away before it restarts."""
        vips.give_away(self.settings.get("vips", []), self.instance.unit)
