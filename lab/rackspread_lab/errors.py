# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab says when it refuses or fails: one plain sentence, never a traceback."""

from __future__ import annotations


class LabError(Exception):
    """Something can't be done; the text says what, why, and what to do about it."""

    exit_code = 1


class UsageError(LabError):
    """The command line or the definition is wrong."""

    exit_code = 2


def unknown(kind: str, name: str, known: list[str]) -> UsageError:
    """Return the error for a name that isn't there, with the names that are."""
    return UsageError(f"There is no {kind} {name!r} here. Known: {', '.join(known) or 'none'}.")
