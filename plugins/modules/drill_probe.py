#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the clients of a drill that count."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_probe
short_description: Run the clients of a drill that count
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - What the action M(rackspread.ha.drill) runs on the probe host. Not meant for tasks.
  - Each probe is a program of C(probes/) in a transient unit that ends by itself after O(seconds).
options:
  operation:
    description: >-
      V(start) puts the programs in place and runs them, V(state) tells what they are served right now, V(verify) ends
      them and reads back what was acknowledged, V(drop) ends all that are there and leaves nothing of them.
    type: str
    choices: [start, state, verify, drop]
    required: true
  probes:
    description: The probes, by service.
    type: dict
    required: true
    suboptions:
      settings:
        description:
          - What the probe's program is told, without secrets.
          - Given again to V(verify), they take the place of the first, whose password may have changed.
        type: dict
      files:
        description: Texts of files that it needs, by name, its program among them.
        type: dict
  secrets:
    description: By service what comes on top of its settings and must not be seen.
    type: dict
    default: {}
  seconds:
    description: How long the probes run at most.
    type: float
    default: 600
attributes:
  check_mode:
    support: none
    description: A drill does not come so far in check mode.
  diff_mode:
    support: none
    description: There is nothing to compare.
"""

EXAMPLES = r"""
- name: End whatever probe runs on this host
  rackspread.ha.drill_probe:
    operation: drop
    probes: {}
"""

RETURN = r"""
wall:
  description: The time on this host.
  returned: operation state
  type: float
answers:
  description: By service what its program answered to V(state) or V(verify) (probes/counting.py).
  returned: operations state and verify
  type: dict
"""

import json
import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import host, probing

VERIFY_SECONDS = 200
HARDENED = (
    "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes",
    "PrivateDevices=yes", "RestrictSUIDSGID=yes", "Environment=PYTHONDONTWRITEBYTECODE=1 PYTHONFAULTHANDLER=1",
    "TimeoutStopSec=15", "TimeoutStopFailureMode=abort", "LimitCORE=0",  # one that hangs tells where, in the journal
)  # fmt: skip


class Probe:
    """One probe on this host."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.folder = probing.folder(service)
        self.unit = probing.unit(service)
        self.log = f"{self.folder}/{probing.LOG}"

    def start(self, settings: dict, files: dict, seconds: float) -> None:
        """Put everything in place and run it."""
        os.makedirs(self.folder, mode=0o700)
        os.chmod(probing.FOLDER, 0o700)
        self._write(settings, files)
        properties = [f"--property={each}" for each in (*HARDENED, f"ReadWritePaths={self.folder}")]
        host.run([
            "systemd-run", "--quiet", f"--unit={self.unit}", f"--property=RuntimeMaxSec={seconds:.0f}", *properties,
            *self._command("run"),
        ])  # fmt: skip

    def state(self) -> dict:
        """What it is served right now. Raises Failed where it has ended."""
        if not host.unit(self.unit).running:
            raise host.Failed(f"the probe of {self.service} has ended: {host.journal(self.unit, 4)}")
        if not os.path.exists(self.log):
            return {"steady": {}}
        answer: dict = json.loads(host.run(self._command("state")).stdout)
        return answer

    def verify(self, settings: dict, files: dict) -> dict:
        """Have it read back what was acknowledged, once it has ended; with other settings where there are any."""
        if settings:
            self._write(settings, files)
        done = host.run(self._command("verify"), timeout=VERIFY_SECONDS, check=False)
        if not done.stdout.startswith("{"):
            said = done.stderr.strip().splitlines()
            raise host.Failed(f"the probe of {self.service} could not read back: {said[-1] if said else 'no reason'}")
        answer: dict = json.loads(done.stdout)
        host.run(self._command("clean"), timeout=VERIFY_SECONDS, check=False)
        return answer

    def drop(self) -> None:
        """End it, and remove its folder with its secrets."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self) -> None:
        """End it."""
        host.run(["systemctl", "stop", f"{self.unit}.service"], check=False)
        host.run(["systemctl", "reset-failed", f"{self.unit}.service"], check=False)

    def _write(self, settings: dict, files: dict) -> None:
        for name, text in {**files, probing.SETTINGS: json.dumps(settings)}.items():
            host.write_atomic(f"{self.folder}/{name}", text, mode=0o600)

    def _command(self, verb: str) -> list[str]:
        program = f"{self.folder}/{self.service}.py"
        return ["/usr/bin/python3", program, verb, f"{self.folder}/{probing.SETTINGS}", self.log]


def left() -> list:
    """The probes that are here, those of a drill whose controller was lost among them."""
    return os.listdir(probing.FOLDER) if os.path.isdir(probing.FOLDER) else []


def merged(settings: dict, secrets: dict) -> dict:
    """The settings with the secrets in their places."""
    result = dict(settings)
    for key, value in secrets.items():
        result[key] = merged(result.get(key) or {}, value) if isinstance(value, dict) else value
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": ["start", "state", "verify", "drop"], "required": True},
            "probes": {"type": "dict", "required": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "seconds": {"type": "float", "default": 600},
        },
    )
    given = module.params
    operation = given["operation"]
    probes = {service: Probe(service) for service in given["probes"]}
    asked = {
        service: (merged(each.get("settings") or {}, given["secrets"].get(service, {})), each.get("files") or {})
        for service, each in given["probes"].items()
    }
    try:
        if operation == "state":
            answers = {service: probe.state() for service, probe in probes.items()}
            module.exit_json(changed=False, wall=time.time(), answers=answers)
        if operation == "verify":
            for probe in probes.values():
                probe.stop()
            answers = {service: probe.verify(*asked[service]) for service, probe in probes.items()}
            module.exit_json(changed=True, answers=answers)
        for service in {*probes, *left()}:
            Probe(service).drop()
        if operation == "start":
            for service, probe in probes.items():
                probe.start(*asked[service], given["seconds"])
        module.exit_json(changed=True)
    except (host.Failed, OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
