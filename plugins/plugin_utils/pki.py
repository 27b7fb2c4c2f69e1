# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate authorities, one a service, and the certificates that they issue.

An authority lies at `<inventory>/.rackspread/pki/<service>/{ca.key,ca.crt}`. One for all services would let every host
of one service pass for a member of every other. Keys are EC P-256: quick on both sides, and every daemon and client
library knows them.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from . import files, phases, state
from .refusals import Refusal

with suppress(ImportError):  # ansible-core depends on it; ansible-test imports each file without
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3652)
BACKDATE = timedelta(days=1)
"""So that a host whose clock is behind, or runs in local time taken for UTC, accepts a new certificate at once."""

PHASE, NEXT, FORMER = "phase", "next", "former"
"""Below an authority's folder: the file that names the phase, and the folders of the new and of the last authority."""

_KEY_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """What a certificate says of its holder, but for the organization, which is the authority's.

    It is a server's where it has names or addresses, and a client's where `client` says so.

    Args:
        unit: who carries it: the service whose processes use it.
        name: the host's name, as a rule.
        dns: the names by which clients may call it.
        addresses: the IP addresses by which clients may call it.
    """

    unit: str
    name: str
    dns: frozenset[str] = frozenset()
    addresses: frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address] = frozenset()
    client: bool = False

    @property
    def usages(self) -> list[x509.ObjectIdentifier]:
        """What the holder may do with it in TLS."""
        server = [ExtendedKeyUsageOID.SERVER_AUTH] if self.dns or self.addresses else []
        return server + ([ExtendedKeyUsageOID.CLIENT_AUTH] if self.client else [])

    @property
    def alternatives(self) -> list[x509.GeneralName]:
        """The subject's alternative names, in a fixed order."""
        return [
            *(x509.DNSName(name) for name in sorted(self.dns)),
            *(x509.IPAddress(address) for address in sorted(self.addresses, key=lambda one: (one.version, one))),
        ]


@dataclass(frozen=True, slots=True)
class Authority:
    """A service's certificate authority.

    `key` is None where only the certificate is at hand (the key is kept elsewhere): it can judge then, and not issue.
    While the authority is replaced by another (rotation.py), `beside` is the other one that hosts trust as well, and
    `former` are those that a host may still be found to trust.
    """

    service: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey | None
    path: Path
    beside: tuple[x509.Certificate, ...] = ()
    former: tuple[x509.Certificate, ...] = ()

    @property
    def pem(self) -> str:
        """The certificate."""
        return _pem(self.certificate)

    @property
    def trusted(self) -> str:
        """What hosts and clients have to trust, as their ca.crt: one certificate, or two while one replaces another."""
        return "".join(map(_pem, (self.certificate, *self.beside)))

    def knows(self, pem: str) -> bool:
        """Whether all that a host's ca.crt (PEM) holds are authorities of this site, this one or one before it."""
        try:
            held = x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            return False
        return all(each in (self.certificate, *self.beside, *self.former) for each in held)

    @property
    def site(self) -> str:
        """The organization in its name, which all its certificates share."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)

    def issued(self, certificate: str | None) -> bool:
        """Whether a certificate (PEM) is this authority's."""
        try:
            x509.load_pem_x509_certificate((certificate or "").encode()).verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def issue(self, public_key: str, identity: Identity, life: timedelta, now: datetime | None = None) -> str:
        """A certificate (PEM) for the holder of a public key (PEM).

        It never outlives the authority. Raises Refusal RS-044 where the authority has no key at hand, or has ended.
        """
        now = now or datetime.now(UTC)
        issuer = self.certificate
        if self.key is None:
            sentence = f"A certificate of {self.service} is to be issued, and {self.path}/ca.key is not there."
            raise Refusal("RS-044", sentence, path=self.path)
        if issuer.not_valid_after_utc <= now:
            ended = f"The CA of {self.service} in {self.path} ended on {issuer.not_valid_after_utc:%Y-%m-%d}."
            raise Refusal("RS-044", ended, path=self.path)
        key = _public(public_key)
        builder = _builder(
            _subject(self.site, identity.unit, identity.name),
            issuer.subject,
            key,
            max(now - BACKDATE, issuer.not_valid_before_utc),
            min(now + life, issuer.not_valid_after_utc),
            _usage("digital_signature"),
            x509.BasicConstraints(ca=False, path_length=None),
        )
        authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(authority_key, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(identity.usages), critical=False)
        if identity.alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(identity.alternatives), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def fault(
        self,
        certificate: str | None,
        public_key: str | None,
        identity: Identity,
        left: timedelta,
        now: datetime | None = None,
    ) -> str | None:
        """Why a certificate (PEM) does not do for this identity and public key (PEM), as a clause; None where it does.

        One that ends within `left` does not, unless the authority ends then too: its successor would end no later.
        """
        now = now or datetime.now(UTC)
        if certificate is None:
            return "there is none"
        try:
            held = x509.load_pem_x509_certificate(certificate.encode())
            held.verify_directly_issued_by(self.certificate)
        except InvalidSignature:
            return "it is another CA's"
        except (ValueError, TypeError):
            return "it can't be read, or is another CA's"
        ends = held.not_valid_after_utc
        if public_key is None or _fingerprint(held.public_key()) != _fingerprint(_public(public_key)):
            return "it is not this key's"
        if held.subject != _subject(self.site, identity.unit, identity.name):
            return f"it is for {held.subject.rfc4514_string()}"
        if _extension(held, x509.SubjectAlternativeName) != identity.alternatives:
            return "its names or addresses are others"
        if _extension(held, x509.ExtendedKeyUsage) != identity.usages:
            return "it is for another use"
        if ends - now < left and ends < self.certificate.not_valid_after_utc:
            return f"it ends on {ends:%Y-%m-%d}"
        return None


def folder_for(inventory: str | os.PathLike[str], service: str) -> Path:
    """The folder of a service's authority."""
    return state.folder(inventory) / "pki" / service


def load(inventory: str | os.PathLike[str], service: str) -> Authority | None:
    """A service's authority, or None where there is none; while it is being replaced, as the phase of that asks for.

    Raises Refusal RS-042 where its files can't be read or don't belong together.
    """
    path = folder_for(inventory, service)
    phase = phase_of(path)
    second = load_pair(path / NEXT, service) if phase else None
    if phase and second is None:
        raise Refusal("RS-042", f"{path} is in the phase {phase}, and {path / NEXT} holds no CA.", path=path)
    past = [found for each in (path / FORMER, path) if (found := certificate_of(each, service))]
    if second and phase != "trust":
        beside = (past[-1],) if phase == "present" else ()
        return replace(second, path=path, beside=beside, former=tuple(past))
    first = load_pair(path, service)
    return first and replace(first, beside=(second.certificate,) if second else (), former=tuple(past))


def phase_of(path: Path) -> str:
    """The phase that the replacement of an authority is in, "" where it is not replaced. Raises Refusal RS-042."""
    return _phase(path)[0]


def phase_ended(path: Path) -> bool:
    """Whether a run has ended the phase that an authority's replacement is in. Raises Refusal RS-042."""
    return _phase(path)[1]


def _phase(path: Path) -> tuple[str, bool]:
    try:
        return phases.parse((path / PHASE).read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return "", False
    except ValueError as error:
        raise Refusal("RS-042", f"{path / PHASE} holds {error}.", path=path) from None


def load_pair(path: Path, service: str) -> Authority | None:
    """Key and certificate in a folder, or None. Raises Refusal RS-042 as `load`."""
    certificate = certificate_of(path, service)
    if certificate is None:
        return None
    try:
        key = _load_key(path)
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable(path, service, error) from None
    if key is not None and _fingerprint(key.public_key()) != _fingerprint(certificate.public_key()):
        raise Refusal("RS-042", f"{path}/ca.key is not the key of {path}/ca.crt.", path=path)
    return Authority(service, certificate, key, path)


def certificate_of(path: Path, service: str) -> x509.Certificate | None:
    """The certificate in an authority's folder, or None. Raises Refusal RS-042 where it can't be read."""
    try:
        return x509.load_pem_x509_certificate((path / "ca.crt").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, service, error) from None


def _unreadable(path: Path, service: str, error: Exception) -> Refusal:
    return Refusal("RS-042", f"The CA of {service} in {path} can't be read ({type(error).__name__}).", path=path)


def ensure_ca(
    inventory: str | os.PathLike[str],
    services: Iterable[str],
    records: Mapping[str, Mapping[str, Any] | None],
    site: str,
    *,
    dry: bool = False,
) -> list[str]:
    """Make the authorities of these services that are missing.

    Args:
        inventory: the inventory's folder, or a file in it.
        services: names of the spec.
        records: host -> its record or None, of every host that may carry a member.
        site: the organization in the names of all certificates; read only when an authority is made.
        dry: only tell (check mode).

    Returns:
        The services whose authority was (or would be) made.

    Raises:
        Refusal: RS-040 where a service was formed and its authority is gone, RS-042 where one can't be read.
    """
    made = []
    for service in services:
        if load(inventory, service):
            continue
        path = folder_for(inventory, service)
        state.refuse_if_living(path, service, inventory, records)
        if not dry:
            with files.exclusive(path):
                if load(inventory, service):
                    continue  # another run was here meanwhile
                make(path, service, site)
        made.append(service)
    return made


def ends_of(pem: str | None) -> list[datetime]:
    """When each certificate of a PEM text ends; none where it can't be read."""
    try:
        return [each.not_valid_after_utc for each in x509.load_pem_x509_certificates((pem or "").encode())]
    except ValueError:
        return []


def describe(certificate: str | None) -> str:
    """A certificate (PEM) in words, for the diff; empty for none."""
    if not certificate:
        return ""
    try:
        held = x509.load_pem_x509_certificate(certificate.encode())
        alternatives = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except ValueError:
        return "unreadable\n"
    except x509.ExtensionNotFound:
        alternatives = None
    names = ", ".join(str(name.value) for name in alternatives or []) or "none"
    return (
        f"subject: {held.subject.rfc4514_string()}\n"
        f"issuer: {held.issuer.rfc4514_string()}\n"
        f"names: {names}\n"
        f"serial: {held.serial_number:x}\n"
        f"ends: {held.not_valid_after_utc:%Y-%m-%d}\n"
    )


def make(path: Path, service: str, site: str, ordinal: int = 1) -> None:
    """Write a new authority. The certificate comes last: a key without one was never used, and is taken up again.

    Args:
        path: its folder.
        service: whose it is.
        site: the organization.
        ordinal: how many there were before it, and one. Two of one name would be hard to tell apart.
    """
    now = datetime.now(UTC)
    key = _load_key(path)
    if key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files.write_whole(path / "ca.key", pem.decode(), 0o600)
    name = _subject(site, service, f"{service} CA{f' {ordinal}' if ordinal > 1 else ''}")
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    usage = _usage("key_cert_sign", "crl_sign")
    builder = _builder(name, name, key.public_key(), now - BACKDATE, now + AUTHORITY_LIFE, usage, constraints)
    files.write_whole(path / "ca.crt", _pem(builder.sign(key, hashes.SHA256())), 0o644)


def ordinal_of(authority: Authority) -> int:
    """The number in an authority's name; 1 where it has none."""
    name = str(authority.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    last = name.rpartition(" ")[2]
    return int(last) if last.isdigit() else 1


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    """The authority's key, or None where there is no file. Raises ValueError or TypeError where it is no such key."""
    try:
        key = serialization.load_pem_private_key((path / "ca.key").read_bytes(), password=None)
    except FileNotFoundError:
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an EC key")
    return key


def _subject(site: str, unit: str, name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, site),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in names for usage in _KEY_USAGES})


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Any,
    begins: datetime,
    ends: datetime,
    usage: x509.KeyUsage,
    constraints: x509.BasicConstraints,
) -> x509.CertificateBuilder:
    """What an authority's certificate and a host's have in common."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(constraints, critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _extension(certificate: x509.Certificate, kind: Any) -> list[Any]:
    try:
        return list(certificate.extensions.get_extension_for_class(kind).value)
    except x509.ExtensionNotFound:
        return []


def _public(pem: str) -> Any:
    return serialization.load_pem_public_key(pem.encode())


def _fingerprint(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
