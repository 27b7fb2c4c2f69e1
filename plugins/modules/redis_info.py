#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the members of Redis shards on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_info
short_description: Look at the members of Redis shards on a host
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Tells what lies on the disk of each member, whether it runs, and what its cluster says of itself. It changes
    nothing.
  - Without O(settings) it goes by what each member runs with.
extends_documentation_fragment: [rackspread.ha.member.info]
requirements: [python3-redis]
"""

EXAMPLES = r"""
- name: Look at every member that this host's record knows
  rackspread.ha.redis_info:
"""

RETURN = r"""
members:
  description: An observation a group, as docs/architecture.md tells it.
  returned: success
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run_info
from ansible_collections.rackspread.ha.plugins.module_utils.redis import Redis


def main() -> None:
    """Run the module."""
    run_info(Redis)


if __name__ == "__main__":
    main()
