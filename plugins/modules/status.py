# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Tell how a site stands, and which rack's loss it would survive now
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Looks at every member over its host's own connection, and tells what keeps the site from being whole, and for each
    rack whether the site would survive its loss now, and why not. By the placement it always would; with a voter down,
    or a copy behind, it may not.
  - Shows the whole site on one screen, what each member is and how far behind, what a run would do to it by what is
    staged, which moves of members are not ended, which leaders are not where they should be, and for how many days
    certificates and authorities are valid.
  - Changes nothing.
options: {}
attributes:
  check_mode:
    description: Tells the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Tell how the site stands
  rackspread.ha.status:
  register: status

- name: Go on only where every rack can be spared
  ansible.builtin.assert:
    that: status.racks.values() | map(attribute='survives') is all
"""

RETURN = r"""
ailments:
  description: What keeps the site from being whole, a sentence each.
  returned: success
  type: list
  elements: str
racks:
  description: By rack whether the site C(survives) its loss now, and the C(reasons) why not.
  returned: success
  type: dict
displaced:
  description: The leaders that are not where they should be, a sentence each.
  returned: success
  type: list
  elements: str
pending:
  description: By group what a run would do to its members by what is staged; groups to which it would do nothing are
    left out.
  returned: success
  type: dict
  sample: {postgres_shard1: "reload r1h1, r2h1"}
moves:
  description: The moves of members that were begun and are not ended, a line each.
  returned: success
  type: list
  elements: str
given_up:
  description: The hosts that were given up, and get nothing new.
  returned: success
  type: list
  elements: str
certificate_days:
  description: By service the days that are left to the certificate or authority that ends first.
  returned: success
  type: dict
  sample: {etcd: 729}
exposition:
  description: The same as metrics, a file for node-exporter's textfile collector.
  returned: success
  type: str
"""
