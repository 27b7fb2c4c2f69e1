# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: secret
short_description: A password of the site
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - The value that the user gives in C(rackspread_secrets), else the one that was generated for this site, in
    C(.rackspread/secrets/<service>.yml) beside the inventory.
  - It only reads. What is missing is made by C(rackspread.ha.site), at the start of C(site.yml).
options:
  _terms:
    description: The service and the secret's name.
    type: list
    elements: str
    required: true
notes:
  - Put C(no_log) on a task that shows or compares what it got.
"""

EXAMPLES = r"""
- name: Tell Patroni its passwords
  ansible.builtin.set_fact:
    replication_password: "{{ lookup('rackspread.ha.secret', 'postgres', 'replication') }}"
  no_log: true
"""

RETURN = r"""
_raw:
  description: The value.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import secrets, state
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


class LookupModule(LookupBase):
    """Hands on what `secrets.find` says."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Answer one secret."""
        variables = variables or {}
        if len(terms) != 2:
            raise AnsibleLookupError("lookup('rackspread.ha.secret', <service>, <name>) wants these two words")
        given = self._templar.template(variables.get(secrets.GIVEN) or {})
        try:
            return [secrets.find(state.inventory_of(variables), terms[0], terms[1], given)]
        except (Refusal, ValueError) as error:
            raise AnsibleLookupError(str(error)) from error
