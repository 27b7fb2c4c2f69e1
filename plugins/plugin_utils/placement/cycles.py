# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cycles of negative cost in a residual graph: there is none exactly where a flow costs the least (Klein 1967)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

Change = TypeVar("Change")
Arc = tuple[int, int, Change | None]
"""To a vertex, at a cost, with what it changes in the flow (None: nothing that anybody counts)."""


def negative_cycles(size: int, arcs: Callable[[int], Iterable[Arc[Change]]]) -> list[Change]:
    """What to change along cycles of negative cost that share no vertex; empty where there is none.

    Bellman and Ford's search with a queue, from all vertices at once, O(vertices · arcs) at worst.

    Args:
        size: how many vertices; they are numbered from 0.
        arcs: a vertex -> the arcs that leave it.
    """
    distance = [0] * size
    before: list[tuple[int, Change | None] | None] = [None] * size
    queue, queued = deque(range(size)), [True] * size
    steps = 0
    while queue:
        vertex = queue.popleft()
        queued[vertex] = False
        for target, step, change in arcs(vertex):
            if distance[vertex] + step < distance[target]:
                distance[target] = distance[vertex] + step
                before[target] = (vertex, change)
                if not queued[target]:
                    queued[target] = True
                    queue.append(target)
        steps += 1
        if steps % size == 0 and (changes := _around(before)):
            return changes
    return []


def _around(before: Sequence[tuple[int, Change | None] | None]) -> list[Change]:
    """The changes along all cycles of predecessors. A cycle of predecessors is always one of negative cost."""
    seen = [-1] * len(before)
    changes: list[Change] = []
    for start in range(len(before)):
        vertex = start
        while seen[vertex] < 0 and (step := before[vertex]):
            seen[vertex] = start
            vertex = step[0]
        if seen[vertex] != start:
            continue
        end = vertex
        while step := before[vertex]:
            vertex = step[0]
            if step[1] is not None:
                changes.append(step[1])
            if vertex == end:
                break
    return changes
