#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a host's names, kernel settings, small files and their services to what is asked, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_settings
short_description: Set the names, kernel settings and small files of a host in one call
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - One call for what else takes a task a line. Only what differs is changed, and what is already so costs a few reads.
options:
  hosts:
    description:
      - Names and their addresses for C(/etc/hosts), in a marked block at its head. Lines outside the block are left
        alone. An empty dictionary removes the block; without the option it stays as it is.
    type: dict
  sysctl:
    description:
      - Kernel settings by key. They are written to C(/etc/sysctl.d/60-rackspread.conf), and those whose live value
        differs are applied. A key that is taken out later keeps its live value until the next boot. Without the option
        the file stays as it is.
      - Keys of IPv6 are left out where the host has none. Any other key that the kernel lacks is refused.
    type: dict
  files:
    description:
      - Files of root's, mode C(0644), by path. A file without content is removed.
    type: dict
    default: {}
  services:
    description:
      - Services, or timers by their whole name, that are enabled and run, each with those paths of O(files) whose
        change restarts it.
    type: dict
    default: {}
  programs:
    description:
      - Whether the host gets C(rackspread-can-reboot), which answers by exit code and a sentence whether the groups
        of its members can spare it, and a login message that lists these members.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change, on a bare host too.
  diff_mode:
    support: full
    description: Shows every file and live value that changes.
"""

EXAMPLES = r"""
- name: Let the hosts know each other, and bind addresses that they do not hold yet
  rackspread.ha.host_settings:
    hosts: {r1h1: 198.18.0.11, r2h1: 198.18.0.21}
    sysctl: {net.ipv4.ip_nonlocal_bind: 1}
    files:
      /etc/chrony/sources.d/rackspread.sources: |
        server 198.18.0.1 iburst
    services:
      chrony: [/etc/chrony/sources.d/rackspread.sources]
"""

RETURN = r"""
applied:
  description: The kernel settings whose live value was changed (in check mode, would be), with the value they had.
  returned: success
  type: dict
  sample: {net.ipv4.tcp_retries2: "15"}
"""

import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import host_report
from ansible_collections.rackspread.ha.plugins.module_utils.host import (
    Failed,
    read,
    remove,
    systemctl,
    units,
    write_atomic,
)

HOSTS = "/etc/hosts"
SYSCTL = "/etc/sysctl.d/60-rackspread.conf"
KERNEL = "/proc/sys"
PROGRAMS = "/usr/local/lib/rackspread/programs"
"""The package of what host_report is made of."""
LAUNCHERS = {
    "/usr/local/sbin/rackspread-can-reboot": "can-reboot",
    "/etc/update-motd.d/60-rackspread": "members",
}
LAUNCHER = """\
#!/usr/bin/python3 -I
# Written by rackspread.ha, changes are lost.
import sys

sys.path.insert(0, "{folder}")
from programs.host_report import main

raise SystemExit(main("{question}"))
"""
BEGIN = "# rackspread: the hosts of the site, do not edit\n"
END = "# rackspread: end\n"


def hosts_file(present: str, hosts: Mapping[str, str]) -> str:
    """The hosts file with the block in its place.

    The block stands first: Debian gives a host its own name at 127.0.1.1, where no other member would find it.
    """
    head, begin, rest = present.partition(BEGIN)
    _block, end, tail = rest.partition(END)
    if begin and not end:
        raise Failed(f"{HOSTS} has the line `{BEGIN.strip()}` and no `{END.strip()}`: put the end back by hand")
    others = head + tail
    if not hosts:
        return others
    lines = [" ".join((address, *names_of(name))) + "\n" for name, address in sorted(hosts.items())]
    return "".join((BEGIN, *lines, END, others))


def names_of(host: str) -> list[str]:
    """A host's name, and its first label where it has several."""
    return list(dict.fromkeys((host, host.partition(".")[0])))


def kernel_path(key: str) -> str:
    """Where the kernel has a setting. A dot that belongs to a name (eth0.5) is written as a slash, as sysctl has it."""
    return os.path.join(KERNEL, key.translate(str.maketrans("./", "/.")))


def kernel_value(key: str) -> str | None:
    """The live value of a kernel setting, None where the kernel does not have it."""
    value = read(kernel_path(key))
    return None if value is None else " ".join(value.split())


def known_settings(wanted: Mapping[str, Any]) -> dict[str, str]:
    """The settings that this kernel has, as text; raises Failed for any other that is not IPv6's."""
    known = {}
    for key, value in sorted(wanted.items()):
        if kernel_value(key) is not None:
            known[key] = " ".join(str(value).split())
        elif not key.startswith("net.ipv6."):
            raise Failed(f"this host's kernel has no setting {key}")
    return known


def apply_setting(key: str, value: str) -> None:
    """Set a live value; raises Failed where the kernel does not take it."""
    try:
        with open(kernel_path(key), "w", encoding="ascii") as setting:
            setting.write(value)
    except OSError as error:
        raise Failed(f"{key} can't be set to {value}: {error.strerror}") from error


def program_files() -> dict[str, str]:
    """By path what the programs of the host are made of: the very modules that this one imports."""
    package = host_report.__name__.rpartition(".")[0]
    modules = {
        name.removeprefix(f"{package}."): module
        for name, module in list(sys.modules.items())
        if name.startswith(f"{package}.")
    }
    files = {f"{PROGRAMS}/{name}.py": inspect.getsource(module) for name, module in modules.items()}
    folder = os.path.dirname(PROGRAMS)
    launchers = {path: LAUNCHER.format(folder=folder, question=word) for path, word in LAUNCHERS.items()}
    return {f"{PROGRAMS}/__init__.py": '"""Written by rackspread.ha."""\n', **files, **launchers}


def lines(values: Mapping[str, str]) -> str:
    """A line a value, as sysctl.conf and diffs have them."""
    return "".join(f"{key} = {value}\n" for key, value in values.items())


def converge(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the host to what the parameters ask for. The module's answer."""
    settings = known_settings(params["sysctl"] or {})
    wanted = {path: content or "" for path, content in params["files"].items()}
    if params["hosts"] is not None:
        wanted[HOSTS] = hosts_file(read(HOSTS) or "", params["hosts"])
    if params["sysctl"] is not None:
        wanted[SYSCTL] = lines(settings)
    if params["programs"]:
        wanted.update(program_files())
    before = {path: read(path) or "" for path in wanted}
    differing = {path: content for path, content in wanted.items() if content != before[path]}
    live = {key: kernel_value(key) or "" for key in settings}
    applied = {key: value for key, value in live.items() if value != settings[key]}
    known = units(list(params["services"]))
    idle = {name for name, unit in known.items() if not unit.running or unit.enabled != "enabled"}
    restart = [name for name, paths in params["services"].items() if name in idle or set(paths) & differing.keys()]

    if not check_mode:
        for path, content in differing.items():
            if content:
                write_atomic(path, content, mode=0o755 if path in LAUNCHERS else 0o644)
            else:
                remove(path)
        for key in applied:
            apply_setting(key, settings[key])
        if restart:
            systemctl("daemon-reload")
            systemctl("enable", "--quiet", *restart)
            systemctl("restart", *restart)

    changes = [(path, before[path], content) for path, content in differing.items()]
    if applied:
        changes.append(("live kernel settings", lines(applied), lines({key: settings[key] for key in applied})))
    if idle:
        present = {name: f"{known[name].active}, {known[name].enabled or 'not there'}" for name in sorted(idle)}
        changes.append(("services", lines(present), lines(dict.fromkeys(present, "active, enabled"))))
    return {
        "changed": bool(changes),
        "applied": applied,
        "diff": [
            {"before_header": name, "after_header": name, "before": old, "after": new} for name, old, new in changes
        ],
    }


def main() -> None:
    """Compare, and change what differs."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "dict"},
            "sysctl": {"type": "dict"},
            "files": {"type": "dict", "default": {}},
            "services": {"type": "dict", "default": {}},
            "programs": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**converge(module.params, module.check_mode))
    except (Failed, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
