#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install Debian packages without letting them start anything."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install Debian packages without letting them start anything
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Debian's packages start their daemons as they are installed, so that etcd forms a cluster of one and PostgreSQL
    makes a C(main) cluster. This module puts files in place and masks units first, then installs, while nothing that a
    package wants started is started.
  - Installing happens in a transient systemd unit. A run that is killed in the middle leaves C(apt-get) to end its
    work, and the leave to start daemons is put back in any case.
  - Where all is there already, it costs one C(dpkg-query).
options:
  names:
    description:
      - Real packages (no virtual ones). V(name=version) asks for that version, up or down.
    type: list
    elements: str
    required: true
  before:
    description:
      - Files that must be there before the packages, as a dictionary of absolute path and content. They belong to root,
        mode C(0644).
    type: dict
    default: {}
  mask:
    description:
      - Units that are masked before the packages arrive, and stay masked. A unit that runs already is not stopped.
    type: list
    elements: str
    default: []
  hold:
    description:
      - Packages held against upgrades that this module was not asked for (C(apt-mark hold)). A version asked for in
        O(names) is installed all the same.
    type: list
    elements: str
    default: []
  keep_versions:
    description:
      - Whether a package that is installed already is left as it is, in whatever version. Its members take the one that
        is asked for as they are rolled; see O(rackspread.ha.apply#module:packages).
    type: bool
    default: false
  lock_timeout:
    description:
      - Seconds to wait for another program that installs packages.
    type: int
    default: 300
notes:
  - The index of the sources is read again (C(apt-get update)) only when the packages can't be installed with the
    present one.
  - Recommended packages are not installed. Configuration files that were changed on the host are kept.
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change, on a bare host too.
  diff_mode:
    support: full
    description: Shows the packages, masks, holds and files that change.
"""

EXAMPLES = r"""
- name: Install etcd, which must not form a cluster of one
  rackspread.ha.packages:
    names: [etcd-server, etcd-client]
    mask: [etcd.service]
    hold: [etcd-server]

- name: Install PostgreSQL without its first cluster
  rackspread.ha.packages:
    names: [postgresql-17]
    before:
      /etc/postgresql-common/createcluster.conf: |
        create_main_cluster = false
"""

RETURN = r"""
versions:
  description: The version of each package of O(names) that is installed (in check mode, that was there before).
  returned: success
  type: dict
  sample: {etcd-server: 3.5.16-4+b3}
"""

import os
import time
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import apt
from ansible_collections.rackspread.ha.plugins.module_utils.host import Failed, read, run, systemctl, write_atomic
from ansible_collections.rackspread.ha.plugins.module_utils.packages import (
    Package,
    install,
    installed_packages,
    missing_packages,
)

UNITS = "/etc/systemd/system"


def unmasked_units(units: Iterable[str]) -> list[str]:
    """Those of the units that are not masked; fails where a unit file of the host's own is in the way."""
    unmasked = []
    for name in units:
        path = os.path.join(UNITS, name)
        if os.path.realpath(path) == "/dev/null":
            continue
        if os.path.lexists(path):
            raise Failed(f"{path} is a unit of this host's own: move it away, or leave {name} out of `mask`")
        unmasked.append(name)
    return unmasked


def mask(units: list[str]) -> None:
    """Mask the units, of which none needs to exist yet."""
    for name in unmasked_units(units):
        os.symlink("/dev/null", os.path.join(UNITS, name))
    systemctl("daemon-reload")


def describe(packages: dict[str, Package], masked: Iterable[str]) -> str:
    """The state of a host as the diff shows it."""
    there = [f"{name} {known.version}{' (held)' if known.held else ''}" for name, known in sorted(packages.items())]
    return "".join(f"{line}\n" for line in [*there, *(f"{name} (masked)" for name in sorted(masked))])


def main() -> None:
    """Compare, and change what differs."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "before": {"type": "dict", "default": {}},
            "mask": {"type": "list", "elements": "str", "default": []},
            "hold": {"type": "list", "elements": "str", "default": []},
            "keep_versions": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**converge(module.params, module.check_mode))
    except (Failed, OSError) as error:
        module.fail_json(msg=str(error))


def converge(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the host to what the parameters ask for, in the order that keeps daemons still. The module's answer."""
    names: list[str] = params["names"]
    bare = {name.partition("=")[0] for name in names}
    known = {*bare, *params["hold"]}
    before = installed_packages(known)
    files = {path: content for path, content in params["before"].items() if read(path) != content}
    units = unmasked_units(params["mask"])
    missing = missing_packages(names, before)
    if params["keep_versions"]:
        missing = [name for name in missing if name.partition("=")[0] not in before]
    holds = [name for name in params["hold"] if name not in before or not before[name].held]
    diff = [
        {"before_header": path, "after_header": path, "before": read(path) or "", "after": content}
        for path, content in files.items()
    ]
    after = before

    if check_mode:
        # The versions that would come can't be told on a bare host, whose index may be empty.
        asked = [name.partition("=") for name in missing]
        after = before | {name: Package(version or "(to be installed)", False) for name, _equals, version in asked}
        after |= {name: after[name]._replace(held=True) for name in holds if name in after}
    elif files or units or missing or holds:
        deadline = time.monotonic() + params["lock_timeout"]
        with apt.alone(deadline):
            for path, content in files.items():
                write_atomic(path, content)
            if units:
                mask(units)
            if missing:
                install(missing, any(package.held for package in before.values()), deadline)
            if holds:
                run(["apt-mark", "hold", *holds])
        after = installed_packages(known)
        unheld = [name for name in holds if name not in after or not after[name].held]
        if unheld:
            raise Failed(f"{', '.join(unheld)} can't be held, not being installed: take it out of `hold`")

    masked = set(params["mask"])
    texts = describe(before, masked.difference(units)), describe(after, masked)
    if texts[0] != texts[1]:
        diff.append({"before_header": "packages", "after_header": "packages", "before": texts[0], "after": texts[1]})
    return {
        "changed": bool(files or units or missing or holds),
        "versions": {name: package.version for name, package in after.items() if name in bare},
        "diff": diff,
    }


if __name__ == "__main__":
    main()
