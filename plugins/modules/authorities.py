# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: authorities
short_description: How long certificates are valid, and the phases in which a CA is changed
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - With O(operation=begin) it shows the days that are left to certificates and authorities, which certificates this run
    renews, and for each CA of O(change) the phase that this run is for. It asks, and enters these phases. It changes
    nothing on hosts. The role M(rackspread.ha.certificates) and the services' rolls do that afterwards.
  - With O(operation=end) it makes sure that every host and member is as the phase wants it. After the last phase
    the new authority takes the old one's place.
  - The phases are C(trust) (hosts trust both), C(present) (certificates are the new one's) and C(drop) (only the new
    one is trusted), one a run. A run that was killed is run again, for the same phase.
options:
  operation:
    description: Whether a run begins or ends.
    type: str
    choices: [begin, end]
    required: true
  change:
    description: The services whose CA is changed.
    type: list
    elements: str
    default: []
  renew_days:
    description: Certificates that end within so many days are renewed by the run.
    type: int
    default: 30
extends_documentation_fragment: [rackspread.ha.confirmed, rackspread.ha.confirmed.maintenance]
"""

EXAMPLES = r"""
- name: Begin to change the CA of etcd
  rackspread.ha.authorities:
    operation: begin
    change: [etcd]
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
  sample: {etcd: trust}
due:
  description: The certificates that are renewed, a sentence each.
  returned: with O(operation=begin)
  type: list
  elements: str
told:
  description: What has come to its end, and what somebody has to do next.
  returned: with O(operation=end)
  type: list
  elements: str
"""
