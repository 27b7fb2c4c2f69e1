# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For how long the certificates of a site are still valid: those on its hosts, and those of its authorities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .certificates import Holding
from .pki import ends_of

SOON = timedelta(days=30)
"""What ends within this time is named one by one; a run renews it as well (`pki_renew_days`)."""


@dataclass(frozen=True, slots=True)
class Term:
    """Until when one certificate is valid.

    Args:
        service: whose authority issued it.
        where: the host and the folder, or the authority.
        ends: None where there is none, or none that can be read.
    """

    service: str
    where: str
    ends: datetime | None

    @classmethod
    def of(cls, service: str, where: str, pem: str | None) -> Term:
        """The term of a certificate (PEM; of several, the first that ends)."""
        return cls(service, where, min(ends_of(pem), default=None))

    def days(self, now: datetime) -> int | None:
        """The whole days that are left; negative where it has ended, None where there is none."""
        return None if self.ends is None else (self.ends - now).days


def terms_of(holdings: Iterable[Holding]) -> list[Term]:
    """Until when the certificates on the hosts are valid."""
    return [
        Term.of(each.entry.service, f"{each.entry.folder}/tls.crt on {each.host}", each.held.certificate)
        for each in holdings
    ]


def shortest(terms: Iterable[Term], now: datetime) -> dict[str, int]:
    """By service the days that are left to the certificate that ends first; one that is not there has none left."""
    found: dict[str, int] = {}
    for term in terms:
        days = term.days(now)
        found[term.service] = min(found.get(term.service, days or 0), days or 0)
    return dict(sorted(found.items()))


def urgent(terms: Iterable[Term], now: datetime, within: timedelta = SOON) -> list[str]:
    """A sentence for each certificate that is missing, has ended or ends soon."""
    found = []
    for term in terms:
        if term.ends is None:
            found.append(f"{term.where} has no certificate of {term.service}")
        elif term.ends - now < within:
            word = "ended" if term.ends < now else "ends"
            found.append(f"the certificate of {term.service}, {term.where}, {word} on {term.ends:%Y-%m-%d}")
    return found


def told(terms: Sequence[Term], authorities: Sequence[Term], now: datetime) -> list[str]:
    """The same for people: a line for all, and one for each that needs somebody."""

    def listed(days: Mapping[str, int]) -> str:
        return ", ".join(f"{service} {left}" for service, left in days.items()) or "none"

    return [
        f"Days left, certificates: {listed(shortest(terms, now))}; CAs: {listed(shortest(authorities, now))}",
        *(f"  {sentence}" for sentence in urgent([*terms, *authorities], now)),
    ]
