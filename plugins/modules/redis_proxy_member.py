#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a proxy of Redis, and act on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_proxy_member
short_description: Look at a proxy of Redis, and act on it
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One step of a proxy's life on its own host, starting or taking what is staged.
  - It counts as serving where Envoy says that it lives, and finds nodes of Redis healthy.
extends_documentation_fragment: [rackspread.ha.member]
"""

EXAMPLES = r"""
- name: Look at the proxy of this host
  rackspread.ha.redis_proxy_member:
    group: "{{ redis_proxy_groups[0] }}"
    member: 1
    unit: rackspread-redis-proxy1
"""

RETURN = r"""
observation:
  description: What was seen of the member, after what was done; docs/architecture.md tells the fields.
  returned: success
  type: dict
answer:
  description: Nothing, for a service without data.
  returned: when something was done
  type: dict
"""

from ansible_collections.rackspread.ha.plugins.module_utils.member_module import run
from ansible_collections.rackspread.ha.plugins.module_utils.redis_proxy import RedisProxy


def main() -> None:
    """Run the module."""
    run(RedisProxy)


if __name__ == "__main__":
    main()
