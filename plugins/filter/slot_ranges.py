# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: slot_ranges
short_description: The hash slots of Redis Cluster, shared among masters
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Shares the 16384 hash slots of Redis Cluster among masters, in ranges that differ by one slot at most.
options:
  _input:
    description: How many masters.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Show the ranges of three masters
  ansible.builtin.debug:
    msg: "{{ 3 | rackspread.ha.slot_ranges }}"
"""

RETURN = r"""
_value:
  description: A range for each master.
  type: list
  elements: str
  sample: [0-5461, 5462-10922, 10923-16383]
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import survival


def slot_ranges(masters: int) -> list[str]:
    """Translate between Jinja and the engine."""
    try:
        return survival.slot_ranges(masters)
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"slot_ranges takes a number of masters: {error}") from error


class FilterModule:
    """The filter slot_ranges."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"slot_ranges": slot_ranges}
