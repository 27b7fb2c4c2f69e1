# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: kernel_settings
short_description: The kernel settings of a host that carries some services
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Brings what the services on a host need of the kernel under one value a key, and refuses (RS-058) what can't be had
    together.
options:
  _input:
    description: The services that have a member on the host.
    type: list
    elements: str
    required: true
  wishes:
    description: The site's own settings. They may add keys, and raise what services need only at least.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what a host of both services gets
  ansible.builtin.debug:
    msg: "{{ ['postgres', 'redis'] | rackspread.ha.kernel_settings(wishes={'vm.swappiness': 1}) }}"
"""

RETURN = r"""
_value:
  description: Keys and values as sysctl has them.
  type: dict
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.sysctl import settings


def kernel_settings(services: Iterable[str], wishes: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The kernel settings of a host that carries these services."""
    try:
        return settings(services, wishes)
    except Refusal as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter of this file."""
        return {"kernel_settings": kernel_settings}
