# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: confirm
short_description: Show what will be done, and go on only after a yes
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Prints a plan and asks whoever sits there. Without a yes it fails. Where the plan is empty, nothing is asked.
options:
  lines:
    description: The plan.
    type: list
    elements: str
    required: true
  confirmed:
    description: The answer where nobody is there to be asked.
    type: bool
    default: false
attributes:
  check_mode:
    description: Only prints the plan.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Say what will be moved, and ask
  rackspread.ha.confirm:
    lines: ["seat.expired-0: 1,4,2 -> 1,2,3"]
    confirmed: "{{ confirm | default(false) }}"
"""

RETURN = r""" # """
