#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a program that Debian does not carry, from an address and a checksum."""

from __future__ import annotations

DOCUMENTATION = r"""
module: archive
short_description: Have software that Debian does not carry, from an address and a checksum
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Fetches an archive (or a single program), compares its checksum, and unpacks it under a folder whose name has that
    checksum. So another version lies beside the one that runs, and whoever runs it takes it when it is restarted.
  - It is unpacked aside and renamed. A run that is killed leaves nothing that could be taken for the whole, and where
    the folder is there nothing is fetched or computed.
options:
  name:
    description: What it is; the first part of the folder's name, and the name of a single program in it.
    type: str
    required: true
  url:
    description: Where it is fetched from; upstream's own address, or that of a mirror.
    type: str
    required: true
  checksum:
    description: The SHA-256 of what is fetched, in hexadecimal.
    type: str
    required: true
  root:
    description: The folder under which it goes.
    type: path
    default: /opt/rackspread
  timeout:
    description: Seconds without an answer after which the address is given up.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change.
  diff_mode:
    support: none
    description: Has nothing to show.
"""

EXAMPLES = r"""
- name: Have Envoy
  rackspread.ha.archive:
    name: envoy
    url: https://github.com/envoyproxy/envoy/releases/download/v1.40.0/envoy-1.40.0-linux-x86_64
    checksum: 8aa137a7d00994ce43f613556f5a120709229f63bedb86eedde5ccbc402c2b80
"""

RETURN = r"""
path:
  description: The folder that holds it.
  returned: success
  type: str
  sample: /opt/rackspread/envoy-8aa137a7d009
"""

import hashlib
import os
import shutil
import tarfile
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.rackspread.ha.plugins.module_utils.host import Failed, flock

CHUNK = 1 << 20


def fetch(url: str, checksum: str, target: str, timeout: int) -> None:
    """Write what lies at an address into a file. Raises Failed where it is not what the checksum says."""
    digest = hashlib.sha256()
    with open_url(url, timeout=timeout, http_agent="rackspread") as answer, open(target, "wb") as file:
        while chunk := answer.read(CHUNK):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != checksum:
        raise Failed(f"{url} has the SHA-256 {digest.hexdigest()}, and {checksum} was asked for")


def unpack(fetched: str, folder: str, name: str) -> None:
    """Put what was fetched into a folder: a tar archive without its one top folder, anything else as a program."""
    if not tarfile.is_tarfile(fetched):
        os.makedirs(folder)
        shutil.copyfile(fetched, f"{folder}/{name}")
        os.chmod(f"{folder}/{name}", 0o755)  # noqa: S103  # a program, for daemons with users of their own
        return
    inner = f"{folder}.tar"
    with tarfile.open(fetched) as archive:
        archive.extractall(inner, filter="data")
    entries = os.listdir(inner)
    alone = len(entries) == 1 and os.path.isdir(f"{inner}/{entries[0]}")
    os.rename(f"{inner}/{entries[0]}" if alone else inner, folder)


def have(params: dict[str, str], path: str) -> None:
    """Fetch and unpack. Raises Failed."""
    os.makedirs(params["root"], mode=0o755, exist_ok=True)
    with flock(f"/run/rackspread/archive-{params['name']}.lock", timeout=600):
        if os.path.isdir(path):
            return  # another run had it meanwhile
        with tempfile.TemporaryDirectory(prefix=".new-", dir=params["root"]) as aside:
            try:
                fetch(params["url"], params["checksum"], f"{aside}/fetched", int(params["timeout"]))
                unpack(f"{aside}/fetched", f"{aside}/whole", params["name"])
            except (OSError, tarfile.TarError) as error:
                raise Failed(f"{params['name']} can't be had from {params['url']}: {error}") from error
            os.chmod(f"{aside}/whole", 0o755)  # noqa: S103
            os.rename(f"{aside}/whole", path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            url=dict(type="str", required=True),
            checksum=dict(type="str", required=True),
            root=dict(type="path", default="/opt/rackspread"),
            timeout=dict(type="int", default=30),
        ),
        supports_check_mode=True,
    )
    checksum = module.params["checksum"]
    if len(checksum) != 64 or set(checksum) - set("0123456789abcdef"):
        module.fail_json(msg=f"checksum is a SHA-256 of 64 small hexadecimal digits, and {checksum!r} is none")
    path = f"{module.params['root']}/{module.params['name']}-{checksum[:12]}"
    lacking = not os.path.isdir(path)
    try:
        if lacking and not module.check_mode:
            have(module.params, path)
    except Failed as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=lacking, path=path)


if __name__ == "__main__":
    main()
