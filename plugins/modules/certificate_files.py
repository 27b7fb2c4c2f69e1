#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_files
short_description: Make a host's private keys, and keep its certificates beside them
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - The host's part of M(rackspread.ha.certificates), which calls it; there is no need to call it otherwise.
  - Makes the private key in each folder that has none (EC P-256, by C(openssl)), writes the certificates that it is
    given, and answers what is there. A private key never leaves the host.
options:
  entries:
    description: The folders.
    type: list
    elements: dict
    required: true
    suboptions:
      folder:
        description: Its path; the files in it are C(tls.key), C(tls.crt) and C(ca.crt).
        type: path
        required: true
      group:
        description: The group that may read the key. It is made, as a system group, where there is none.
        type: str
        required: true
      ca:
        description: The CA's certificate (PEM) to write.
        type: str
      certificate:
        description: The certificate (PEM) to write.
        type: str
  look:
    description: Only answer what is there, and the host's record.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Changes nothing, and tells what it would change. Needs nothing but Python on a bare host.
  diff_mode:
    support: none
    description: The action shows the differences.
"""

EXAMPLES = r"""
- name: Look at what is there
  rackspread.ha.certificate_files:
    entries: [{folder: /etc/rackspread/pki/etcd, group: etcd}]
    look: true
"""

RETURN = r"""
entries:
  description: For each of O(entries) what its folder holds after the call.
  returned: success
  type: list
  elements: dict
  contains:
    ca:
      description: The CA's certificate (PEM), or null.
      type: str
    certificate:
      description: The certificate (PEM), or null.
      type: str
    public_key:
      description: The public key of C(tls.key) (PEM), or null where there is none yet.
      type: str
record:
  description: The host's record, or null.
  returned: with O(look)
  type: dict
"""

import contextlib
import grp
import os
import stat
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import host, record

LOCK = "/run/rackspread/pki.lock"
FOLDER_MODE = 0o755
KEY_MODE = 0o640
OPEN_MODE = 0o644


class Files:
    """The files of one entry. Methods that change something answer whether there was something to change."""

    def __init__(self, folder: str, group: str) -> None:
        self.folder, self.group = folder, group
        self.key, self.certificate, self.ca = (f"{folder}/{name}" for name in ("tls.key", "tls.crt", "ca.crt"))

    def public_key(self) -> str | None:
        """The public half of the key, or None where there is no key, or none that can be read."""
        if not os.path.exists(self.key):
            return None
        told = host.run(["openssl", "pkey", "-in", self.key, "-passin", "pass:", "-pubout"], check=False)
        return told.stdout if told.returncode == 0 else None

    def ensure_group(self, check: bool) -> bool:
        """Make the group; its service's package, installed later, takes a system group that is there."""
        try:
            grp.getgrnam(self.group)
        except KeyError:
            if not check:
                host.run(["groupadd", "--system", "--force", self.group])
            return True
        return False

    def ensure_key(self, check: bool) -> bool:
        """Make the key."""
        if self.public_key():
            return False
        if not check:
            made = host.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
            host.write_atomic(self.key, made.stdout, mode=KEY_MODE, owner="root", group=self.group)
        return True

    def ensure_rights(self, check: bool) -> bool:
        """Give the folder and the files in it their owner, group and mode."""
        changed = False
        for path, mode, group in (
            (self.folder, FOLDER_MODE, "root"),
            (self.key, KEY_MODE, self.group),
            (self.certificate, OPEN_MODE, "root"),
            (self.ca, OPEN_MODE, "root"),
        ):
            if not os.path.exists(path):
                continue
            now = os.stat(path)
            if (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) != (0, gid_of(group), mode):
                changed = True
                if not check:
                    host.own(path, "root", group)
                    os.chmod(path, mode)
        return changed

    def ensure_text(self, path: str, text: str | None, check: bool) -> bool:
        """Write a certificate, where one is given."""
        if text is None or text == host.read(path):
            return False
        return check or host.write_atomic(path, text, mode=OPEN_MODE, owner="root", group="root")

    def ensure(self, ca: str | None, certificate: str | None, check: bool) -> bool:
        """All of it."""
        if not check:
            os.makedirs(self.folder, mode=FOLDER_MODE, exist_ok=True)
        steps = [
            self.ensure_group(check),
            self.ensure_key(check),
            self.ensure_text(self.ca, ca, check),
            self.ensure_text(self.certificate, certificate, check),
            self.ensure_rights(check),
        ]
        return any(steps)

    def held(self) -> dict[str, str | None]:
        """What is there."""
        return {
            "ca": host.read(self.ca),
            "certificate": host.read(self.certificate),
            "public_key": self.public_key(),
        }


def gid_of(group: str) -> int | None:
    """A group's number, None where there is none (yet)."""
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        return None


def main() -> None:
    """Look, make what is missing, answer."""
    module = AnsibleModule(
        argument_spec={
            "entries": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "folder": {"type": "path", "required": True},
                    "group": {"type": "str", "required": True},
                    "ca": {"type": "str"},
                    "certificate": {"type": "str"},
                },
            },
            "look": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**work(module.params, module.check_mode))
    except (host.Failed, OSError) as error:
        module.fail_json(msg=str(error))


def work(params: dict[str, t.Any], check: bool) -> dict[str, t.Any]:
    """The module's answer to its parameters."""
    wanted = [(Files(one["folder"], one["group"]), one["ca"], one["certificate"]) for one in params["entries"]]
    changed = False
    if not params["look"]:
        # Two runs at once must not make two keys for one folder.
        with contextlib.nullcontext() if check else host.flock(LOCK):
            changes = [files.ensure(ca, certificate, check) for files, ca, certificate in wanted]
            changed = any(changes)
    answer: dict[str, t.Any] = {"changed": changed, "entries": [files.held() for files, *_texts in wanted]}
    return {**answer, "record": record.read()} if params["look"] else answer


if __name__ == "__main__":
    main()
