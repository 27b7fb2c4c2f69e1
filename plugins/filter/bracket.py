# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: bracket
short_description: Write an address as it stands before a port
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description: Puts an IPv6 address into brackets, and leaves an IPv4 address as it is.
options:
  _input:
    description: An IPv4 or IPv6 address.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the address of a voter as etcd wants it
  ansible.builtin.debug:
    msg: "https://{{ member.address | rackspread.ha.bracket }}:{{ member.ports.main }}"
"""

RETURN = r"""
_value:
  description: The address, bracketed where it is IPv6.
  type: str
  sample: "[2001:db8::1]"
"""

from collections.abc import Callable
from ipaddress import ip_address

from ansible.errors import AnsibleFilterError


def bracket(address: str) -> str:
    """Bracket an IPv6 address."""
    try:
        return f"[{address}]" if ip_address(address).version == 6 else str(address)
    except ValueError as error:
        raise AnsibleFilterError(f"{address!r} is not an IP address") from error


class FilterModule:
    """The filter bracket."""

    def filters(self) -> dict[str, Callable[[str], str]]:
        """Names and functions."""
        return {"bracket": bracket}
