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
  - While the passwords of a service are changed, it is the one that is to be presented now. With O(beside) and the
    service alone it answers, by their names, those that are to be accepted beside; none when nothing is changed.
  - It only reads. What is missing is made by C(rackspread.ha.site), at the start of C(site.yml).
options:
  _terms:
    description: The service and the secret's name.
    type: list
    elements: str
    required: true
  beside:
    description: Answer what is accepted beside, of all secrets of the service.
    type: bool
    default: false
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
  description: The value; a dictionary with O(beside).
  type: list
  elements: raw
"""

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.lookup import LookupBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import secrets, state
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


class LookupModule(LookupBase):
    """Hands on what `secrets.find` says."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        """Answer one secret, or what is accepted beside."""
        variables = variables or {}
        beside = boolean(kwargs.get("beside", False))
        if len(terms) != (1 if beside else 2):
            raise AnsibleLookupError("lookup('rackspread.ha.secret', <service>, <name>) wants these two words")
        given = self._templar.template(variables.get(secrets.GIVEN) or {})
        try:
            if beside:
                return [secrets.beside(state.inventory_of(variables), terms[0], given)]
            return [secrets.find(state.inventory_of(variables), terms[0], terms[1], given)]
        except (Refusal, ValueError) as error:
            raise AnsibleLookupError(str(error)) from error
