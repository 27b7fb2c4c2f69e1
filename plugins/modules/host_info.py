#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a host, and change nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Look at a host before anything on it is changed
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Gathers in one round trip what must fit before members are placed on a host. It needs nothing on the host but Debian
    itself, and changes nothing.
  - The filter P(rackspread.ha.host_refusals#filter) judges what all hosts answered together.
options:
  ports:
    description: TCP ports that members on this host want. The programs that listen there are named.
    type: list
    elements: int
    default: []
  folders:
    description: Folders in which members on this host want to keep their data.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: It never changes anything.
  diff_mode:
    support: none
    description: It never changes anything.
"""

EXAMPLES = r"""
- name: Look at the host
  rackspread.ha.host_info:
    ports: [2379, 2480]
    folders: [/var/lib/rackspread/etcd_voter1]
  register: look
"""

RETURN = r"""
info:
  description: What the host is like.
  returned: success
  type: dict
  contains:
    release:
      description: Id and version of the distribution, and its name for people.
      type: dict
      sample: {id: debian, version: "13", name: Debian GNU/Linux 13 (trixie)}
    machine_id:
      description: The host's own id.
      type: str
    memory:
      description: Its memory in MiB.
      type: int
    addresses:
      description: Its addresses with prefix length, and the interface of each.
      type: list
      elements: dict
      sample: [{address: 198.18.0.11/24, interface: eth0}]
    mounts:
      description: What is mounted, with the UUID of the file system.
      type: list
      elements: dict
      sample: [{path: /srv/data, source: /dev/vdb, type: ext4, uuid: 0b2c…}]
    listeners:
      description: Who listens on a port of O(ports); the address is V(*) where it is any, the unit "" outside units.
      type: list
      elements: dict
      sample: [{port: 2379, address: "*", unit: etcd.service, command: etcd}]
    folders:
      description: What is in each folder of O(folders); the marker is the one that a member leaves in its folder.
      type: dict
      sample: {/var/lib/rackspread/etcd_voter1: {entries: 0, marker: null}}
    record:
      description: The host's record, or null.
      type: dict
    clock:
      description:
        - By how many seconds at least and at most the clock of the host is ahead of that of the controller. It is
          read at the begin and the end of the look, so that the time to get there and back bounds what is not known.
      type: dict
      sample: {least: -0.12, most: 0.21}
"""

import glob
import ipaddress
import json
import os
import re
import socket
import struct
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils import record, start_guard
from ansible_collections.rackspread.ha.plugins.module_utils.host import Failed, machine_id, read, run

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def release() -> dict[str, str]:
    """The distribution, from os-release."""
    pairs = re.findall(r'^(\w+)="?(.*?)"?$', read("/etc/os-release") or "", flags=re.MULTILINE)
    words = dict(pairs)
    return {"id": words.get("ID", ""), "version": words.get("VERSION_ID", ""), "name": words.get("PRETTY_NAME", "")}


def memory() -> int:
    """The memory in MiB."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", read("/proc/meminfo") or "", flags=re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def addresses() -> list[dict[str, str]]:
    """The addresses that hosts can be reached by, with prefix length and interface."""
    links = json.loads(run(["ip", "-json", "address", "show", "up"]).stdout)
    return [
        {"address": f"{entry['local']}/{entry['prefixlen']}", "interface": link["ifname"]}
        for link in links
        for entry in link.get("addr_info", [])
        if entry.get("scope") == "global"
    ]


def mounts() -> list[dict[str, str]]:
    """The file systems that are mounted from a device."""
    shown = run(["findmnt", "--json", "--real", "--list", "--output=TARGET,SOURCE,FSTYPE,UUID"], check=False).stdout
    return [
        {"path": one["target"], "source": one["source"], "type": one["fstype"], "uuid": one["uuid"] or ""}
        for one in (json.loads(shown)["filesystems"] if shown else [])
    ]


def address_of(hexadecimal: str) -> str:
    """The address as /proc/net/tcp and tcp6 write it: words of 32 bits in the machine's order. "*" for any."""
    words = [hexadecimal[start : start + 8] for start in range(0, len(hexadecimal), 8)]
    packed = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    if not any(packed):
        return "*"
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    address = ipaddress.ip_address(socket.inet_ntop(family, packed))
    return str(getattr(address, "ipv4_mapped", None) or address)


def listeners(ports: set[int]) -> list[dict[str, Any]]:
    """Who listens on these ports. Processes are only searched for the sockets found."""
    sockets: dict[str, tuple[int, str]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (read(table) or "").splitlines()[1:]:
            fields = line.split()
            address, _colon, port = fields[1].partition(":")
            if fields[3] == LISTEN and int(port, 16) in ports:
                sockets[fields[9]] = (int(port, 16), address_of(address))
    owners = processes_of(set(sockets))
    return [
        {"port": port, "address": address, **owners.get(inode, {"unit": "", "command": "an unknown process"})}
        for inode, (port, address) in sorted(sockets.items(), key=lambda item: item[1])
    ]


def processes_of(inodes: set[str]) -> dict[str, dict[str, str]]:
    """The unit and the command of the process that holds each socket."""
    owners: dict[str, dict[str, str]] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for descriptor in glob.iglob("/proc/[0-9]*/fd/*") if wanted else ():
        try:
            inode = wanted.get(os.readlink(descriptor))
            if inode is None or inode in owners:
                continue
            process = os.path.dirname(os.path.dirname(descriptor))
            unit = re.findall(r"/([^/\n]+\.(?:service|scope))", read(f"{process}/cgroup") or "")
            owners[inode] = {"unit": unit[-1] if unit else "", "command": (read(f"{process}/comm") or "").strip()}
        except OSError:  # the process ended meanwhile
            continue
    return owners


def folder(path: str) -> dict[str, Any]:
    """How many entries a folder has, and the marker of the member that it belongs to."""
    try:
        entries = len(set(os.listdir(path)) - {"lost+found"})
    except FileNotFoundError:
        entries = 0
    return {"entries": entries, "marker": start_guard.load(start_guard.marker_of(path))}


def main() -> None:
    """Answer what the host is like."""
    began = time.time()
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "int", "default": []},
            "folders": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        info = {
            "release": release(),
            "machine_id": machine_id(),
            "memory": memory(),
            "addresses": addresses(),
            "mounts": mounts(),
            "listeners": listeners(set(module.params["ports"])),
            "folders": {path: folder(path) for path in module.params["folders"]},
            "record": record.read(),
        }
        module.exit_json(changed=False, info={**info, "clock": {"began": began, "ended": time.time()}})
    except (Failed, OSError, ValueError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
