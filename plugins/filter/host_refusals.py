# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: host_refusals
short_description: Every reason not to go on with the hosts that were looked at
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Judges what all hosts answered to M(rackspread.ha.host_info) against the site as the inventory plugin planned it in
    this run. The codes are RS-050 to RS-059.
options:
  _input:
    description: The C(info) of M(rackspread.ha.host_info) by host. A host that did not answer is left out.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Refuse hosts that do not fit
  ansible.builtin.assert:
    that: refusals | length == 0
    fail_msg: "{{ refusals | join('\n') }}"
  vars:
    refusals: "{{ {'r1h1': look.info} | rackspread.ha.host_refusals }}"
"""

RETURN = r"""
_value:
  description: A text a refusal, with code, sentence and remedy.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rackspread.ha.plugins.plugin_utils.look import judge
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


def host_refusals(looks: Mapping[str, Any]) -> list[str]:
    """The refusals of the hosts that were looked at, as texts."""
    try:
        site = current.site()
    except Refusal as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal
    weights = {ask.component.id: ask.weight for ask in site.spec.asks}
    return [str(refusal) for refusal in judge(looks, site.topology, weights)]


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter of this file."""
        return {"host_refusals": host_refusals}
