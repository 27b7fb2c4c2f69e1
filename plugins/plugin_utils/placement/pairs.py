# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who shares groups with whom: the fewer groups two hosts share, the more hosts carry what the loss of one leaves.

To make that as even as can be is hard (it asks for block designs), so `deal` goes by a heuristic; this is how far it is
from a bound that nothing can be below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

from .model import Group


def most_shared(groups: Iterable[Group]) -> tuple[int, int]:
    """The most groups that two hosts share, and a number that no placement with these members a host is below.

    A host with x groups of k has x · (k-1) companions among the hosts that carry members, of other racks where no group
    has two in a rack. Time O(n · k²).
    """
    together, carried, rack = Counter[tuple[str, str]](), Counter[str](), dict[str, str]()
    size, apart = 0, True
    for group in groups:
        names = sorted(member.host for member in group.members)
        size = max(size, len(names))
        apart &= len({member.rack for member in group.members}) == len(names)
        carried.update(names)
        rack.update((member.host, member.rack) for member in group.members)
        together.update(combinations(names, 2))
    in_rack = Counter(rack.values())
    bound = 0
    for host, count in carried.items():
        others = len(rack) - (in_rack[rack[host]] if apart else 1)
        bound = max(bound, -(-count * (size - 1) // others) if others else 0)
    return max(together.values(), default=0), bound
