# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of a drill: figures, verdict, table and page."""

from __future__ import annotations

import html.parser
import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.page import render
from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.result import (
    Gap,
    Marks,
    Result,
    conclude,
    problem,
    table,
)

WALL = 1_700_000_000.0
FACTS = {
    "site": "harbour", "service": "postgres", "target": "rack1", "label": "rack1", "fault": "uplink",
    "hosts": ("r1h1", "r1h2"), "began": "2026-11-21T12:00:00+00:00",
}  # fmt: skip


def said(**more: Any) -> dict[str, Any]:
    """What a probe's verify says of one target."""
    counts = {"acknowledged": 100, "failed": 3, "unacknowledged_but_there": 1, "reads": 90, "reads_failed": 2}
    return {
        **counts, "stale": 4, "behind": 7, "lost": [], "duplicated": [],
        "gaps": {"write": [], "read": []},
        "counts": {"write": {"ok": [2, 2, 0, 2], "failed": [0, 0, 1, 0]}, "read": {"ok": [2] * 4, "failed": [0] * 4}},
        "errors": {"write": {"OSError: no": 3}, "read": {"OSError: no": 2}}, **more,
    }  # fmt: skip


def concluded(marks: Marks | None = None, process: bool = False, **targets: dict[str, Any]) -> Result:
    """A drill whose probe began 10 s before the fault, at 500 of its own clock."""
    probes = {"postgres": {"clock": {"t": 500.0, "wall": WALL - 10}, "targets": targets or {"a": said()}}}
    return conclude(FACTS, probes, marks or Marks(WALL, WALL + 30, WALL + 41.26), process)


def test_times_are_laid_on_one_line_from_the_fault_on() -> None:
    writes = [{"t": 510.0, "seconds": 22.5}, {"t": 541.0, "seconds": 0.4}]
    found = concluded(a=said(gaps={"write": writes, "read": [{"t": 501.0, "seconds": 1}]}))
    assert found.gaps == (Gap("a", "read", -9.0, 1), Gap("a", "write", 0.0, 22.5), Gap("a", "write", 31.0, 0.4))
    assert found.rto == {"write": 22.5, "read": 0.0}, "what was before the fault is not its work"
    assert (found.noise, "out 1.00 s before the fault already" in found.sentence()) == (1.0, True)
    assert (found.back, found.heal, found.whole, found.redundant_after) == (22.5, 30.0, 41.26, 11.3)
    assert [(row.target, row.op, row.at) for row in found.rows] == [("a", "write", -10.0), ("a", "read", -10.0)]
    assert found.verdict == "passed"


def test_the_worst_of_all_targets_counts_and_what_they_count_is_added() -> None:
    found = concluded(
        a=said(gaps={"write": [{"t": 510.0, "seconds": 1.0}]}), b=said(gaps={"write": [{"t": 509.9, "seconds": 33.0}]})
    )
    assert (found.outage, found.goal, found.verdict) == (33.0, 29.0, "slow")
    assert (found.acknowledged, found.failed, found.stale, found.behind) == (200, 6, 8, 7)
    assert found.errors == {"OSError: no": 10}
    assert concluded(process=True).goal == 6.0


@pytest.mark.parametrize(("what", "numbers"), [("lost", [7]), ("duplicated", [7, 9])])
def test_a_write_that_is_lost_or_twice_there_is_a_failure(what: str, numbers: list[int]) -> None:
    found = concluded(a=said(), b=said(**{what: numbers}))
    assert getattr(found, what) == {"b": tuple(numbers)}
    assert found.verdict == "failed"
    assert str(problem(found, "drills/one")).startswith("RS-107: b: ")
    assert "See drills/one." in str(problem(found, "drills/one"))
    assert f"{len(numbers)} {'of 200 lost' if what == 'lost' else 'duplicated'}" in found.sentence()


def test_what_did_not_come_back_is_a_failure() -> None:
    found = concluded(Marks(WALL, WALL + 30, None))
    assert (found.verdict, found.redundant_after) == ("failed", None)
    assert "not whole again: failed" in found.sentence()
    assert str(problem(found, "")).startswith("RS-106: The site is not whole after uplink of rack1.")
    assert problem(concluded(), "") is None


def test_the_service_says_which_operation_counts() -> None:
    probes = {"edge": {"clock": {"t": 0.0, "wall": WALL}, "targets": {"vip": said(
        gaps={"knock": [{"t": 0.1, "seconds": 0.32}]}, counts={"knock": {"ok": [2], "failed": [0]}}, errors={},
        acknowledged=0, reads=0,
    )}}}  # fmt: skip
    found = conclude({**FACTS, "service": "edge"}, probes, Marks(WALL, None, WALL + 3), process=False)
    assert (found.outage, found.goal, found.verdict) == (0.32, 0.5, "passed")


def test_the_table_has_a_row_a_drill() -> None:
    gaps = {"write": [{"t": 510.0, "seconds": 22.5}], "read": [{"t": 510.0, "seconds": 2.5}]}
    lines = table([concluded(a=said(gaps=gaps)), concluded(Marks(WALL), a=said(lost=[1]))]).splitlines()
    assert lines[2] == "| postgres | rack1 | uplink | 22.50 s | 29 s | 2.50 s | 0 | 0 | 4 | 11.3 s |"
    assert lines[3] == "| postgres | rack1 | uplink | 0.00 s | 29 s | 0.00 s | 1 | 0 | 4 | never |"
    assert {line.count("|") for line in lines} == {11}


def test_what_is_in_disorder_must_not_be() -> None:
    result = concluded(a={**said(), "reordered": [7, 8]})
    assert result.verdict == "failed"
    assert "2 reordered" in result.sentence()
    assert "a: 2 in disorder" in str(problem(result, "here"))


class Reader(html.parser.HTMLParser):
    """Tells whether tags are balanced, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "path", "br"):
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag != "path":
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    gaps = {"write": [{"t": 510.0, "seconds": 22.5}], "read": [{"t": 501.0, "seconds": 0.4}]}
    result = concluded(a=said(gaps=gaps, errors={"write": {"<b>&": 1}}), b=said())
    page = render(result)
    reader = Reader()
    reader.feed(page)
    assert (reader.open, reader.fetched) == ([], [])
    assert "url(" not in page
    assert "@import" not in page
    assert "&lt;b&gt;&amp;" in page
    assert page.count("<svg") == 4
    assert "Before the fault: 1, of 0.40 s at most." in page
    for words in ("served again, +22.5 s", "fault ended, +30.0 s", "whole again, +41.3 s", "22.50 s", "Passed: "):
        assert words in page


def test_the_picture_has_every_request() -> None:
    (path,) = re.findall(r'<path class="ok" d="([^"]*)"', render(concluded(a=said(counts={
        "write": {"ok": [2, 2, 0, 3], "failed": [0, 0, 1, 0]},
    }))))  # fmt: skip
    assert path == "M0.0 0h2v2h-2zM3.0 0h1v3h-1z"


def test_a_drill_without_requests_has_a_page_too() -> None:
    assert "<h1>" in render(replace(concluded(), rows=(), gaps=(), errors={}, rto={}))
