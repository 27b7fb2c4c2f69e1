# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rack_survives
short_description: What placed groups survive
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Says whether groups outlive the loss of any one host, of any one rack, and of any rack and any host beside it, and
    names those that would lose their quorum or their data.
  - Voters on two racks are named with the witness that they need, since one of the racks holds no less than half.
options:
  _input:
    description: Groups as P(rackspread.ha.rack_spread#filter) returns them, or the topology's C(groups).
    type: raw
    required: true
  votes:
    description: Whether members are voters, of whom a majority must be left. The topology's groups know that.
    type: bool
    default: false
  leaders_vote:
    description: Whether the leaders of all groups elect together, as the masters of Redis Cluster do.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Stop where the loss of a rack would stop the cluster
  ansible.builtin.assert:
    that: (redis_groups | rackspread.ha.rack_survives(leaders_vote=true)).rack.survives

- name: Show what the whole site survives
  ansible.builtin.debug:
    msg: "{{ lookup('rackspread.ha.topology', 'groups') | rackspread.ha.rack_survives }}"
"""

RETURN = r"""
_value:
  description:
    - C(host), C(rack) and C(rack_and_host), each with C(survives) and the list C(lost).
    - C(witness), a list of sentences.
  type: dict
  sample:
    host: {survives: true, lost: []}
    rack:
      survives: false
      lost: [{name: group1, without: [rack1], loses: quorum, left: 1, of: 3}]
    rack_and_host:
      survives: false
      lost: [{name: group1, without: [rack1, r2h1], loses: quorum, left: 0, of: 3}]
    witness:
      - group1 stands on two racks, and one of them has no less than half of it …
"""

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import spread


def rack_survives(placed: Any, **parameters: Any) -> dict[str, Any]:
    """Translate between Jinja and the engine."""
    try:
        return spread.rack_survives(placed, **parameters)
    except (KeyError, TypeError) as error:
        raise AnsibleFilterError(f"rack_survives takes groups as rack_spread returns them: {error!r}") from error


class FilterModule:
    """The filter rack_survives."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"rack_survives": rack_survives}
