# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: forget
short_description: Take a member, a group or a service out of management, and keep its data
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Says what is forgotten and what that means, asks, and has the hosts and the lock forget it. Nothing is stopped or
    removed. Data, units, configuration and certificates stay, and start with their hosts.
  - Every host of what is forgotten must answer. A run that was killed is run again.
options:
  names:
    description: Services (C(postgres)), groups (C(postgres_shard2)) or members (C(postgres_shard2/3)).
    type: list
    elements: str
    default: []
  adopt:
    description: What should come under management. It is refused (RS-129) until that is built.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [rackspread.ha.confirmed]
"""

EXAMPLES = r"""
- name: Forget a shard that somebody else looks after from now on
  rackspread.ha.forget:
    names: [postgres_shard2]
"""

RETURN = r"""
plan:
  description: What is forgotten and what that means, in words.
  returned: success
  type: list
  elements: str
"""
