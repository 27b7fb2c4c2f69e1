# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patch
short_description: Update and reboot the hosts of a site, one after another, without an outage
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Shows what is due on each host, asks, and takes one host after another, rack by rack. A host is taken out only
    where every group can spare it. What it leads is handed over before, the virtual addresses last. The next host comes
    when the site is whole again.
  - A host without updates that needs no reboot is left alone. Packages that are held (those of members) are not
    updated; they have a roll of their own.
  - Refused while the site is in maintenance (RS-120), while somebody has paused Patroni (RS-121), or before moves of
    members that were begun are ended (RS-131).
  - A host that was given up is patched as any other where it answers, and left alone where it does not.
  - A run that was killed is run again, and goes on with what is still due.
options:
  reboot:
    description: Whether hosts are rebooted V(always), where it is V(needed), or V(never).
    type: str
    choices: [always, needed, never]
    default: needed
  hosts:
    description: Hosts or racks; all where none is named.
    type: list
    elements: str
    default: []
  patience:
    description: Seconds that the site may take to be whole, before a host is taken out and after it is back.
    type: float
    default: 300
  boot_seconds:
    description: Seconds that a host may take to come back.
    type: float
    default: 900
  rest_user:
    description: The user of Patroni's REST interface, by which a leader is asked to hand over.
    type: str
    default: rackspread
extends_documentation_fragment: [rackspread.ha.confirmed, rackspread.ha.confirmed.maintenance]
"""

EXAMPLES = r"""
- name: Patch the hosts
  rackspread.ha.patch:
    reboot: needed
    hosts: [rack1]
"""

RETURN = r"""
plan:
  description: What is due, in words.
  returned: success
  type: list
  elements: str
done:
  description: What was done, a line each.
  returned: success
  type: list
  elements: str
  sample: ["r1h1: updates", "r1h1: reboot"]
"""
