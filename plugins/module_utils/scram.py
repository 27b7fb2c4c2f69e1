# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords as Postgres stores them (RFC 5803), so that none ever stands in a statement or in a log."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re

ITERATIONS = 4096
"""Postgres' own default (scram_iterations)."""

FORM = re.compile(r"^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$")


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """The SCRAM-SHA-256 verifier of a password, as pg_authid.rolpassword has it.

    Raises ValueError for a password of other than printable ASCII, which would have to be normalised first.
    """
    if not (password.isascii() and password.isprintable() and password):
        raise ValueError("a password must be of printable ASCII characters")
    salt = salt or os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(value).decode() for value in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def matches(stored: str | None, password: str) -> bool:
    """Whether a stored verifier is that of this password."""
    parts = FORM.match(stored or "")
    if not parts:
        return False
    again = verifier(password, base64.b64decode(parts[2]), int(parts[1]))
    return hmac.compare_digest(again, parts[0])
