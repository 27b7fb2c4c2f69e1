"""Names for transient units."""

from __future__ import annotations

import itertools

_NUMBERS = itertools.count(1)


def unit_name(what: str) -> str:
    """A name that no unit of this run has had: systemd takes its time to forget one that has ended."""
    return f"t-{what}-{next(_NUMBERS)}"
