# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: site
short_description: Write the lock of the site, where no host remembers otherwise
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Compares what every host remembers of the site (its record) with the lock beside the inventory, and writes what the
    inventory plugin planned into the lock, each group whole. It runs once, on the controller, before anything is
    changed.
  - Without a lock, every host of the site is asked, also where C(--limit) leaves it out; a site that lives already is
    refused.
options:
  records:
    description:
      - Host to its record (or null), as M(rackspread.ha.host_info) found them in this run, of the hosts that answered.
        Without it, and where there is no lock, all hosts are asked.
    type: dict
  rebuild:
    description:
      - Make the lock anew of what the hosts remember instead, with the same members, ids and indices. Every host must
        answer, and the secrets and authorities of the formed services must be at hand.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Compares and refuses, and does not write.
  diff_mode:
    support: none
    description: C(plan.yml) shows what would change.
"""

EXAMPLES = r"""
- name: Keep the placement in the lock
  rackspread.ha.site:
  run_once: true
"""

RETURN = r"""
site_id:
  description: The id of the site, given once.
  returned: success
  type: str
generation:
  description: The lock's generation.
  returned: success
  type: int
groups:
  description: The keys of the groups that are new in the lock, or changed.
  returned: success
  type: list
  elements: str
"""
