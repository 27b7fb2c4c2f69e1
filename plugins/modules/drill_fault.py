#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Break something on a host for a while."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_fault
short_description: Break something on a host for a while, so that it ends by itself
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - What the action M(rackspread.ha.drill) runs on the hosts that it hits. Not meant for tasks.
  - The fault lives in the transient unit C(rackspread-drill.service) and ends with it. The unit is stopped after
    O(seconds), whatever became of the controller, and what undoes the fault is known to systemd before it begins.
options:
  operation:
    description: >-
      V(check) tells whether the fault can be made here, and changes nothing; V(begin) arms it; V(end) ends it.
    type: str
    choices: [check, begin, end]
    required: true
  fault:
    description: What is done. Its kinds stand in docs/drills.md.
    type: str
    choices: [kill, freeze, blackhole, gray, reboot, slow_disk, full_disk]
  units:
    description: The services that are hit, without C(.service).
    type: list
    elements: str
    default: []
  data:
    description: The data folder of each of the units, empty for one without.
    type: list
    elements: str
    default: []
  seconds:
    description: How long the fault lasts, if nobody ends it earlier.
    type: float
    default: 60
  at:
    description: When it begins, in seconds of the wall clock; several hosts are hit at one moment that way.
    type: float
    default: 0
  settings:
    description: What some of the faults can be told.
    type: dict
    default: {}
    suboptions:
      process:
        description: Whom V(kill) hits, V(all) processes of the units, the V(main) ones, or the oldest of this name.
        type: str
      share:
        description: Percentage of the packets that V(gray) drops; 30 where not given.
        type: int
      direction:
        description: Which way V(gray) drops them; V(out) where not given.
        type: str
        choices: [in, out]
      operations:
        description: Operations a second that V(slow_disk) leaves, 20 where not given.
        type: int
      leave:
        description: MiB that V(full_disk) leaves, 32 where not given.
        type: int
attributes:
  check_mode:
    support: full
    description: V(begin) does what V(check) does.
  diff_mode:
    support: none
    description: There are no files.
"""

EXAMPLES = r"""
- name: End whatever fault goes on here
  rackspread.ha.drill_fault:
    operation: end
"""

RETURN = r"""
begins:
  description: When the fault begins, in seconds of the host's wall clock.
  returned: operation begin
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import fault, host


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": ["check", "begin", "end"], "required": True},
            "fault": {"type": "str", "choices": list(fault.FAULTS)},
            "units": {"type": "list", "elements": "str", "default": []},
            "data": {"type": "list", "elements": "str", "default": []},
            "seconds": {"type": "float", "default": 60},
            "at": {"type": "float", "default": 0},
            "settings": {
                "type": "dict",
                "default": {},
                "options": {
                    "process": {"type": "str"},
                    "share": {"type": "int"},
                    "direction": {"type": "str", "choices": ["in", "out"]},
                    "operations": {"type": "int"},
                    "leave": {"type": "int"},
                },
            },
        },
        required_if=[("operation", "check", ["fault"]), ("operation", "begin", ["fault"])],
        supports_check_mode=True,
    )
    given = module.params
    aim = fault.Aim(given["units"], given["data"], given["settings"])
    try:
        if given["operation"] == "end":
            if not module.check_mode:
                fault.end()
            module.exit_json(changed=True)
        if given["operation"] == "check" or module.check_mode:
            fault.check(given["fault"], aim)
            module.exit_json(changed=False)
        module.exit_json(changed=True, begins=fault.begin(given["fault"], aim, given["seconds"], given["at"]))
    except (host.Failed, OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
