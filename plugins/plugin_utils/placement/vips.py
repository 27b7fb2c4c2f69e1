# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the network must be for virtual addresses: VRRP moves one only within one L2 network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface

from ..refusals import Refusal
from .model import Host, Member


def check_vips(vips: Iterable[str], balancers: Iterable[Member], hosts: Mapping[str, Host]) -> None:
    """Refuse VIPs that the balancers can't carry.

    Args:
        vips: addresses with prefix lengths.
        balancers: the members that share them.
        hosts: all hosts of the site by name.

    Raises Refusal: RS-014 outside the balancers' network, RS-015 the balancers in several, RS-021 taken.
    """
    holder = {ip_address(host.address): name for name, host in hosts.items() if host.address}
    balancers = list(balancers)
    for text in vips:
        vip = ip_interface(text)
        if vip.ip in holder:
            raise Refusal("RS-021", f"The VIP {vip.ip} is the address of {holder[vip.ip]}.")
        holder[vip.ip] = "another VIP"
        near = [member for member in balancers if ip_address(member.address or "") in vip.network]
        if near == balancers:
            continue
        told = ", ".join(f"{member.host} {member.address}" for member in balancers)
        if near:
            raise Refusal("RS-015", f"The VIP {text} is asked for, with balancers in different networks: {told}.")
        raise Refusal("RS-014", f"The VIP {text} is outside the network of the balancers: {told}.")
