#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the proxies of Redis on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_proxy_info
short_description: Look at the proxies of Redis on a host
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Tells whether each proxy on a host runs, and finds nodes of Redis healthy. It changes nothing.
extends_documentation_fragment: [rackspread.ha.member.info]
"""

EXAMPLES = r"""
- name: Look at the proxy of this host
  rackspread.ha.redis_proxy_info:
    instances:
      - group: "{{ redis_proxy_groups[0] }}"
        member: 1
        unit: rackspread-redis-proxy1
"""

RETURN = r"""
members:
  description: An observation a group, as docs/architecture.md tells it.
  returned: success
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run_info
from ansible_collections.rackspread.ha.plugins.module_utils.redis_proxy import RedisProxy


def main() -> None:
    """Run the module."""
    run_info(RedisProxy)


if __name__ == "__main__":
    main()
