# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: passwords
short_description: The phases in which the passwords of a service are changed
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - With O(operation=begin) it shows for each service of O(change) the phase that this run is for, asks, and enters it.
    It changes nothing on hosts; the services' own roles do that afterwards.
  - With O(operation=end) it asks every member which phase it runs with. After the last phase the new passwords take
    the old ones' place.
  - The phases are C(trust) (the new ones are made, and accepted beside the old ones), C(present) (the new ones are
    used, both are accepted) and C(drop) (only the new ones are accepted), one a run. A run that was killed is run
    again, for the same phase.
  - No password is shown. Those that the user gives in C(rackspread_secrets) are left to the user.
options:
  operation:
    description: Whether a run begins or ends.
    type: str
    choices: [begin, end]
    required: true
  change:
    description: The services whose passwords are changed.
    type: list
    elements: str
    required: true
  accounts:
    description: The roles of Postgres by which its members come to each other, by the names of their secrets.
    type: dict
    default: {replication: replicator, rewind: rewind}
extends_documentation_fragment: [rackspread.ha.confirmed, rackspread.ha.confirmed.maintenance]
"""

EXAMPLES = r"""
- name: Begin to change the passwords of Redis
  rackspread.ha.passwords:
    operation: begin
    change: [redis]
"""

RETURN = r"""
plan:
  description: What is done, in words.
  returned: with O(operation=begin)
  type: list
  elements: str
phases:
  description: By service the phase that was entered.
  returned: with O(operation=begin)
  type: dict
  sample: {redis: trust}
told:
  description: What has come to its end, and what somebody has to do next.
  returned: with O(operation=end)
  type: list
  elements: str
"""
