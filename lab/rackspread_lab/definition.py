# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's definition: what the TOML file says, checked, and the hosts and addresses that follow from it."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import UsageError, unknown

USER = "operator"
"""The ordinary user, with sudo, that everybody logs in as."""
CLIENT = "client"
DEBIAN = "trixie"
ARCHIVES = Path(__file__).parent.parent / "archives"
"""The builders of what Debian does not have."""


@dataclass(frozen=True)
class Host:
    """One machine of the lab. ``rack`` is empty for the client, which sits on the spine."""

    name: str
    address: str
    rack: str

    @property
    def mac(self) -> str:
        """A fixed hardware address: a host keeps it over a reboot, as a real one does."""
        return "02:00:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(self.address).packed)


@dataclass(frozen=True)
class Definition:
    """What a lab is to be.

    Attributes:
        racks: the number of hosts (1-9) of each rack (``rack1`` … ``rack9``).
        client: whether the host ``client`` is there, outside the racks.
        layer: Debian packages that are installed already, with nothing of them enabled or started.
        volumes: a file system of its own for each name, on each host, at ``/srv/<name>``.
        archives: what Debian does not have, by the names of the builders in lab/archives; served at the gateway.
        inventory: the inventory folder whose ``.rackspread`` goes away with the lab; empty for none.
        path: the file that this was read from.
    """

    name: str
    network: str
    racks: dict[str, int]
    client: bool = True
    layer: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    inventory: str = ""
    path: str = ""

    @classmethod
    def read(cls, path: Path) -> Definition:
        """Read and check a definition file.

        Raises:
            UsageError: the file isn't there, isn't TOML, or says something that can't be.
        """
        try:
            content = tomllib.loads(path.read_text())
        except OSError as error:
            raise UsageError(f"The definition {path} can't be read: {error.strerror}.") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"The definition {path} is not TOML: {error}.") from error
        try:
            return cls._checked(content, path.resolve())
        except UsageError as error:
            raise UsageError(f"{path}: {error}") from error

    @classmethod
    def _checked(cls, content: dict[str, Any], path: Path) -> Definition:
        shapes: dict[str, type] = {
            "name": str, "network": str, "racks": dict, "client": bool,
            "layer": list, "volumes": list, "archives": list, "inventory": str,
        }  # fmt: skip
        for key, value in content.items():
            if key not in shapes:
                raise unknown("key", key, sorted(shapes))
            if not isinstance(value, shapes[key]):
                raise UsageError(f"{key} must be a {shapes[key].__name__}, not {value!r}.")
        for key in ("name", "network", "racks"):
            if not content.get(key):
                raise UsageError(f"{key} is missing.")
        check_name(content["name"])
        try:
            network = ipaddress.IPv4Network(content["network"])
        except ValueError as error:
            raise UsageError(f"network: {error}.") from error
        if network.prefixlen != 24 or not network.subnet_of(ipaddress.IPv4Network("198.18.0.0/15")):
            raise UsageError("network must be a /24 of 198.18.0.0/15, the addresses reserved for tests.")
        for rack, hosts in content["racks"].items():
            if not re.fullmatch("rack[1-9]", rack):
                raise UsageError(f"a rack is called rack1 … rack9, not {rack!r}.")
            if not isinstance(hosts, int) or not 1 <= hosts <= 9:
                raise UsageError(f"{rack} has {hosts!r} hosts; 1 to 9 are possible.")
        for volume in content.get("volumes", []):
            if not re.fullmatch("[a-z][a-z0-9]{0,11}", str(volume)):
                raise UsageError(f"a volume's name is 1 to 12 small letters and digits, not {volume!r}.")
        for package in content.get("layer", []):
            if not re.fullmatch("[a-z0-9][a-z0-9+.-]*", str(package)):
                raise UsageError(f"layer names Debian packages; {package!r} can't be one.")
        known = sorted(builder.name for builder in ARCHIVES.iterdir())
        for archive in content.get("archives", []):
            if archive not in known:
                raise unknown("archive", archive, known)
        if content.get("inventory"):
            content = content | {"inventory": str((path.parent / content["inventory"]).resolve())}
        return cls(**content, path=str(path))

    @property
    def hosts(self) -> dict[str, Host]:
        """All hosts by name: rack by rack, the client last."""
        prefix = self.network.rpartition(".")[0]
        hosts = [
            Host(f"r{rack[4:]}h{number}", f"{prefix}.{int(rack[4:]) * 10 + number}", rack)
            for rack in sorted(self.racks)
            for number in range(1, self.racks[rack] + 1)
        ]
        if self.client:
            hosts.append(Host(CLIENT, f"{prefix}.200", ""))
        return {host.name: host for host in hosts}

    @property
    def gateway(self) -> str:
        """The address of the spine itself, where the package cache answers. Nothing is routed beyond it."""
        return self.network.rpartition(".")[0] + ".1"

    def host(self, name: str) -> Host:
        """Return the host of that name, or refuse with the names that are known."""
        hosts = self.hosts
        if name not in hosts:
            raise unknown("host", name, list(hosts))
        return hosts[name]

    def as_dict(self) -> dict[str, Any]:
        """Return what ``Definition(**…)`` takes."""
        return asdict(self)


def check_name(name: str) -> str:
    """Return a lab's name if it can be one; it becomes part of namespaces, folders and socket paths."""
    if not re.fullmatch("[a-z][a-z0-9-]{0,23}", name):
        raise UsageError(f"a lab's name is 1 to 24 small letters, digits and dashes, not {name!r}.")
    return name
