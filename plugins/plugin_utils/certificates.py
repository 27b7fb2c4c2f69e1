# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has under /etc/rackspread/pki, and what it lacks of what it was asked to have.

The private key is made on the host and stays there. The controller sees the public key, the certificate and the CA's
certificate that the host has, judges, and sends what is wanting.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any

from .pki import Authority, Identity, describe
from .refusals import Refusal

ROOT = PurePosixPath("/etc/rackspread/pki")

_FOLDER = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)*")
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*", re.IGNORECASE)
_NAME_LENGTH = 64  # X.509's bound of a common name


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate that a host is to have: whose authority issues it, where it lies, which group may read its key."""

    service: str
    folder: PurePosixPath
    group: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Held:
    """What a host has in an entry's folder: PEM texts, or None. `public_key` is that of the private key there."""

    ca: str | None = None
    certificate: str | None = None
    public_key: str | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """What a host was seen to hold for an entry."""

    host: str
    entry: Entry
    held: Held

    def fits(self, authority: Authority) -> bool:
        """Whether it trusts what it has to trust, and shows a certificate of this authority."""
        return (self.held.ca or "").strip() == authority.trusted.strip() and authority.issued(self.held.certificate)


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a host is to write for an entry.

    Args:
        reason: what is wrong with the certificate that is there, as a clause; None where only the CA's is missing.
        before: the certificate that is there (PEM), or None.
        ca: the CA's certificate (PEM) to write, or None.
        certificate: the new one (PEM); None where none is needed, or there is no key for it yet (check mode).
    """

    entry: Entry
    reason: str | None
    before: str | None = None
    ca: str | None = None
    certificate: str | None = None

    def diff(self) -> dict[str, str]:
        """The change in words, as Ansible shows it."""
        path = str(self.entry.folder / "tls.crt")
        after = describe(self.certificate) if self.certificate else f"to be issued to {self.entry.identity.name}\n"
        return {"before_header": path, "after_header": path, "before": describe(self.before), "after": after}


@dataclass(frozen=True, slots=True)
class Use:
    """What a member of a service needs: the group of the user that it runs as, and where it is a client of others.

    Args:
        clients: folder -> the service whose authority issues what lies there, where the site has that service.
        published: whether clients reach it through the VIPs, so that it must answer to those too.
    """

    group: str
    clients: Mapping[str, str] = field(default_factory=dict)
    published: bool = False


USES: dict[str, Use] = {
    "etcd": Use("etcd"),
    "postgres": Use("postgres", {"patroni/etcd": "etcd"}, published=True),
    "redis": Use("redis", published=True),
    "kafka": Use("kafka"),
    "edge": Use("haproxy", {"edge/postgres": "postgres", "edge/redis": "redis"}, published=True),
}
"""The services that have certificates. Each has an authority, and its members are clients of each other."""


def for_host(
    own: Mapping[str, Any], settings: Mapping[str, Mapping[str, Any]], names: str | Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The certificates that a host needs for the members that it carries, as the action's `certificates` wants them.

    Args:
        own: its slice of the site (docs/placement.md).
        settings: the site's services and their settings, of which `vips` of the edge count here.
        names: DNS names, or the one, under which the VIPs are known.
    """
    host = own["host"]
    names = [names] if isinstance(names, str) else list(names)
    vips = [vip.partition("/")[0] for vip in settings.get("edge", {}).get("vips", [])]
    entries: list[dict[str, Any]] = []
    for service, use in USES.items():
        groups = [own["groups"][instance["group"]] for instance in own["instances"]]
        members = [
            member
            for group in groups
            if group["service"] == service
            for member in group["members"]
            if member["host"] == host
        ]
        if not members:
            continue
        entries.append(
            {
                "service": service,
                "group": use.group,
                "names": [host, *(names if use.published else ())],
                "addresses": list(
                    dict.fromkeys([*(member["address"] for member in members), *(vips if use.published else ())])
                ),
                "client": True,
            }
        )
        entries += [
            {"service": other, "folder": folder, "group": use.group, "client": True}
            for folder, other in use.clients.items()
            if other in settings
        ]
    return entries


def read_entries(wanted: Iterable[Mapping[str, Any]], host: str) -> list[Entry]:
    """The entries of the action's `certificates`. Raises ValueError with a sentence where one can't be meant so."""
    entries = [_read_entry(entry, host) for entry in wanted]
    folders = [entry.folder for entry in entries]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"two certificates would lie in {folder}: give one of them a `folder` of its own")
    return entries


def _read_entry(wanted: Mapping[str, Any], host: str) -> Entry:
    folder = wanted.get("folder") or wanted["service"]
    name = wanted.get("name") or host
    if not _FOLDER.fullmatch(folder):
        raise ValueError(f"`folder` is a relative path of lower-case words, like patroni/etcd, and {folder!r} is none")
    if len(name) > _NAME_LENGTH:
        raise ValueError(f"a certificate's name has at most {_NAME_LENGTH} letters, and {name!r} has {len(name)}")
    for dns in wanted.get("names") or []:
        if not _DNS.fullmatch(dns):
            raise ValueError(f"{dns!r} is no host name")
    identity = Identity(
        unit=folder.partition("/")[0],
        name=name,
        dns=frozenset(dns.lower() for dns in wanted.get("names") or []),
        addresses=frozenset(ip_address(address) for address in wanted.get("addresses") or []),
        client=bool(wanted.get("client")),
    )
    if not identity.usages:
        raise ValueError(f"the certificate in {folder} is of no use: give it `names`, `addresses` or `client: true`")
    return Entry(wanted["service"], ROOT / folder, wanted["group"], identity)


def remedy(
    entry: Entry, held: Held, authority: Authority | None, host: str, life: timedelta, left: timedelta
) -> Remedy | None:
    """What a host lacks for an entry, or None.

    A new certificate is valid for `life`; one that ends within `left` gets a successor. `authority` is None where it is
    yet to be made (check mode).

    Raises Refusal RS-041 where the host trusts another CA: that of another site, or of a copy of this one.
    """
    if authority is None:
        return Remedy(entry, "there is none", held.certificate)
    if held.ca is not None and not authority.knows(held.ca):
        path = entry.folder / "ca.crt"
        sentence = f"{path} on {host} is not the CA of {entry.service} in {authority.path}."
        raise Refusal("RS-041", sentence, service=entry.service, host=host, path=path)
    reason = authority.fault(held.certificate, held.public_key, entry.identity, left)
    ca = authority.trusted if held.ca is None or held.ca.strip() != authority.trusted.strip() else None
    if ca and held.ca is not None and not reason:
        # Patroni looks at its CA file again only where its certificate has another serial number (patroni.api).
        reason = "what it is shown beside changes"
    if not reason and not ca:
        return None
    issued = authority.issue(held.public_key, entry.identity, life) if reason and held.public_key else None
    return Remedy(entry, reason, held.certificate, ca, issued)
