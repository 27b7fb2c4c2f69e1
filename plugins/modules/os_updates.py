# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look whether a host's operating system has updates or wants a reboot, take the updates, and reboot."""

from __future__ import annotations

DOCUMENTATION = r"""
module: os_updates
short_description: The updates of a host's operating system, and its reboot
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Tells which packages have updates and why the host should be rebooted, takes the updates, and reboots.
  - Packages that are held (those of members, which have a roll of their own) are left alone, and so are configuration
    files that were changed on the host. No package is removed.
  - Updates are installed in a transient systemd unit, so a run that is killed leaves C(apt-get) to end its work.
options:
  operation:
    description: What is done. Every one answers what the host looks like afterwards.
    type: str
    choices: [look, upgrade, reboot]
    default: look
  refresh:
    description: Whether the index of the sources is read again before the look.
    type: bool
    default: false
  lock_timeout:
    description: Seconds to wait for another program that installs packages.
    type: int
    default: 300
attributes:
  check_mode:
    support: full
    description: Only looks, by the index that is there.
  diff_mode:
    support: none
    description: The updates are told by name.
"""

EXAMPLES = r"""
- name: Look what there is to be done
  rackspread.ha.os_updates:
    refresh: true
"""

RETURN = r"""
updates:
  description: The packages that have updates, by name.
  returned: success
  type: list
  elements: str
reasons:
  description: Why the host should be rebooted, a clause each.
  returned: success
  type: list
  elements: str
  sample: [the kernel 6.12.48 is installed and 6.12.43 runs]
boot:
  description: The id of this boot, another one after each reboot.
  returned: success
  type: str
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import apt, host

FLAG = "/run/reboot-required"
"""Debian's packages leave it where an update wants a reboot."""
BOOT = "/proc/sys/kernel/random/boot_id"
KERNELS = "/boot"
UPGRADE = ["upgrade", "--with-new-pkgs", *apt.KEEP_FILES]
REBOOT = "rackspread-reboot"


def main() -> None:
    """Look, or act and look."""
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": ["look", "upgrade", "reboot"], "default": "look"},
            "refresh": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**work(module.params, module.check_mode))
    except (host.Failed, OSError) as error:
        module.fail_json(msg=str(error))


def work(params: dict[str, Any], check: bool) -> dict[str, Any]:
    """The module's answer."""
    deadline = time.monotonic() + params["lock_timeout"]
    acts = not check and params["operation"] != "look"
    with apt.alone(deadline):  # an upgrade that outlived its run is waited for before anybody looks or reboots
        if params["refresh"] and not check:
            _get(["update"], deadline)
        if acts and params["operation"] == "upgrade":
            _get(UPGRADE, deadline)
        found = {"updates": updates(), "reasons": list(reasons()), "boot": (host.read(BOOT) or "").strip()}
        if acts and params["operation"] == "reboot":
            # A moment later, so that this answer gets through.
            later = ["/bin/sh", "-c", "sleep 1; systemctl reboot"]
            host.run(["systemd-run", "--quiet", "--collect", f"--unit={REBOOT}", *later])
    return {"changed": acts, **found}


def _get(arguments: list[str], deadline: float) -> None:
    """Run apt-get, whose packages may restart what they bring; raises Failed."""
    status, output = apt.get(arguments, deadline, deny=False)
    if status != 0:
        raise host.Failed(f"apt-get {arguments[0]}: {' '.join(apt.complaints(output)) or f'exit status {status}'}")


def updates() -> list[str]:
    """The packages that an upgrade would bring, by the index that is there."""
    told = host.run([*apt.APT, "--simulate", *UPGRADE], timeout=120).stdout
    return sorted(set(re.findall(r"^Inst (\S+)", told, re.MULTILINE)))


def reasons() -> Iterator[str]:
    """Why a reboot is due."""
    if os.path.exists(FLAG):
        packages = " ".join(sorted(set((host.read(f"{FLAG}.pkgs") or "").split())))
        yield f"an update asks for it{f' ({packages})' if packages else ''}"
    kernels = sorted(Path(KERNELS).glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime)
    if kernels and kernels[-1].name != f"vmlinuz-{os.uname().release}":
        yield f"the kernel {kernels[-1].name.partition('-')[2]} is installed and {os.uname().release} runs"
    outdated = sorted({unit for pid in os.listdir("/proc") if pid.isdigit() and (unit := _outdated(pid))})
    if outdated:
        yield f"{', '.join(outdated)} runs on files that were replaced"


def _outdated(pid: str) -> str | None:
    """The member's unit that a process is of, where it runs on a program or library that is not there any more."""
    try:
        unit = re.search(r"/(rackspread-[^/]+)\.service", Path(f"/proc/{pid}/cgroup").read_text())
        if unit is None:
            return None
        mapped = Path(f"/proc/{pid}/maps").read_text()
    except OSError:  # it has ended
        return None
    return unit[1] if re.search(r" /usr/\S+ \(deleted\)$", mapped, re.MULTILINE) else None


if __name__ == "__main__":
    main()
