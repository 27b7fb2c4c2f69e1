# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site of this process: what the inventory plugin planned, for the lookup and the actions that need all of it.

The whole topology is no variable (on a thousand hosts that made a gigabyte), and planning again for every lookup would
be slow. Ansible's workers are forks of the process that parsed the inventory, so they find here what it left.
"""

from __future__ import annotations

from ..refusals import Refusal
from .site import Site

_planned: Site | Refusal | None = None


def remember(outcome: Site | Refusal) -> None:
    """Keep what the parsing of the inventory came to: a site, or why there is none."""
    global _planned
    _planned = outcome


def site() -> Site:
    """The site of this process.

    Raises Refusal: the one that the parsing met (Ansible goes on after it with a warning, a run must not), or RS-022
    where no spec was parsed.
    """
    if _planned is None:
        raise Refusal("RS-022", "The inventory of this run has no rackspread spec.")
    if isinstance(_planned, Refusal):
        raise _planned
    return _planned
