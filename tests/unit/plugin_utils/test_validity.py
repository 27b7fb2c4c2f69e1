# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Days that are left to certificates, and which of them need somebody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ansible_collections.rackspread.ha.plugins.plugin_utils import pki
from ansible_collections.rackspread.ha.plugins.plugin_utils.validity import Term, shortest, told, urgent

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def term(service: str, days: float | None, where: str = "tls.crt on r1h1") -> Term:
    return Term(service, where, None if days is None else NOW + timedelta(days=days))


def test_the_one_that_ends_first_counts() -> None:
    assert shortest([term("etcd", 700.5), term("etcd", 20.9), term("edge", 3)], NOW) == {"edge": 3, "etcd": 20}
    assert shortest([term("etcd", 700), term("etcd", None)], NOW) == {"etcd": 0}


def test_what_is_missing_or_ends_soon_is_named() -> None:
    assert urgent([term("etcd", 31)], NOW) == []
    assert urgent([term("etcd", 29), term("edge", -1), term("postgres", None)], NOW) == [
        "the certificate of etcd, tls.crt on r1h1, ends on 2030-01-30",
        "the certificate of edge, tls.crt on r1h1, ended on 2029-12-31",
        "tls.crt on r1h1 has no certificate of postgres",
    ]


def test_it_is_told_in_a_line() -> None:
    assert told([term("etcd", 700)], [term("etcd", 3000, "the CA")], NOW) == [
        "Days left, certificates: etcd 700; CAs: etcd 3000"
    ]


def test_a_term_is_that_of_the_certificate(tmp_path: Path) -> None:
    pki.ensure_ca(tmp_path, ["etcd"], {}, "harbour")
    made = pki.load(tmp_path, "etcd")
    assert made
    found = Term.of("etcd", "the CA", made.pem)
    assert (found.days(datetime.now(UTC)) or 0) in (3650, 3651)
    assert Term.of("etcd", "x", "rubbish").ends is None
    assert Term.of("etcd", "x", None).ends is None
