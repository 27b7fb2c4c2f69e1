# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action of this name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apply
short_description: Render and stage the files of a service's instances
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Renders the templates of every instance of a service on a host and stages them beside what runs, in one round
    trip a host.
  - It touches nothing that runs. What is staged is taken by M(rackspread.ha.converge), one member at a time and
    behind a gate.
  - A whole set of files is a version. A daemon that restarts by itself, after a crash or a power cut, reads what it
    read before.
options:
  service:
    description: The service, as C(etcd).
    type: str
    required: true
  groups:
    description:
      - Every group of the service, each a dictionary of C(name), C(index) and C(members). Those with a member on
        this host are staged.
    type: list
    elements: dict
    required: true
  program:
    description:
      - Which of several programs of one group these files belong to. The instance is then called C(<group>_<program>).
    type: str
  data_root:
    description:
      - Folder under which each instance has its data folder. A service without data leaves it out.
    type: path
  unit:
    description: Template of the systemd unit.
    type: str
    required: true
  files:
    description: Templates of the other files.
    type: list
    elements: dict
    default: []
    suboptions:
      template:
        description: The template, searched for as M(ansible.builtin.template) does.
        type: str
        required: true
      name:
        description: Name of the file within the instance's folder; by default the template's without C(.j2).
        type: str
      mode:
        description: Its mode.
        type: str
        default: "0644"
      owner:
        description: Its user; root by default.
        type: str
      group:
        description: Its group; root by default.
        type: str
      secret:
        description: Its content is never shown.
        type: bool
        default: false
      effect:
        description: What the daemon asks for when it changes. V(form) is read by a group's first formation alone.
        type: str
        choices: [restart, reload, form]
        default: restart
      validate:
        description: Command with C(%s) for the file; it fails where the daemon would not take the file. Nothing is
          staged then.
        type: str
  executables:
    description: Programs that the instance runs. A change of one asks for a restart.
    type: list
    elements: path
    default: []
  watch:
    description: Other files that the process reads, as certificates, each with V(reload) or V(restart).
    type: dict
    default: {}
  packages:
    description:
      - The packages that the instances are to run with, C(name) or C(name=version). A version that is not there is
        installed as the member is rolled, behind the gate, and the former one is put back where it does not come up.
        What names no version is left as it is.
    type: list
    elements: str
    default: []
  vars:
    description: More variables for the templates.
    type: dict
    default: {}
notes:
  - Templates see C(group) (the dictionary), C(member) (the own one), C(instance) (C(unit), C(data), C(config),
    C(pki), C(first_start), and
    C(start_guard), the line for the unit), and all variables of the task.
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change, on a bare host too.
  diff_mode:
    support: full
    description: Shows what differs from what is staged; of secret files only that they differ.
"""

EXAMPLES = r"""
- name: Stage the etcd members of this host
  rackspread.ha.apply:
    service: etcd
    groups: "{{ etcd_groups }}"
    data_root: /var/lib/rackspread
    executables: [/usr/bin/etcd]
    unit: etcd.service.j2
    files:
      - {template: etcd.env.j2, owner: root, group: etcd, mode: "0640"}
"""

RETURN = r"""
instances:
  description: One entry an instance of this host.
  returned: success
  type: list
  elements: dict
  contains:
    group: {description: The instance's name., type: str}
    member: {description: The member's id., type: int}
    unit: {description: "Its systemd unit, without .service.", type: str}
    data: {description: Its data folder., type: str}
    need:
      description: What taking the staged files asks for, C(nothing), C(reload) or C(restart); C(start) where
        nothing runs.
      type: str
"""
