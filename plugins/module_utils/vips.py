# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual addresses on a balancer: which it holds, and how it gives them away before a restart."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Iterable

from . import host

GONE_SECONDS = 10.0
"""How long the other balancer may take to answer for the addresses; it needs well under a second."""


def held(vips: Iterable[str]) -> list[str]:
    """Those of the virtual addresses (`address/prefix`) that this host holds now."""
    interfaces = json.loads(host.run(["ip", "-json", "address", "show"]).stdout)
    here = {ipaddress.ip_address(entry["local"]) for link in interfaces for entry in link.get("addr_info", ())}
    return [vip for vip in vips if ipaddress.ip_interface(vip).ip in here]


def give_away(vips: list[str], keepalived: str) -> None:
    """Let the other balancer take the virtual addresses that this host holds.

    keepalived says good-bye to its peer as it stops (priority 0 in its last advertisement, RFC 9568), so the peer takes
    over at once; started again it stays in the background.

    Args:
        vips: `address/prefix` of each.
        keepalived: its unit, without `.service`.

    Raises:
        Failed: no other balancer took them.
    """
    if not held(vips):
        return
    host.systemctl("restart", f"{keepalived}.service")
    deadline = time.monotonic() + GONE_SECONDS
    while kept := held(vips):
        if time.monotonic() > deadline:
            raise host.Failed(f"no other balancer took {', '.join(kept)} within {GONE_SECONDS:g} s")
        time.sleep(0.1)
