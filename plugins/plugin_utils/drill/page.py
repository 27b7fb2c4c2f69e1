# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill as one page of HTML that needs nothing else: the verdict, the picture over time, every outage, the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.result import STEP, Result, Row

WORDS = {"write": "writes", "read": "reads", "knock": "knocks"}
VERDICTS = {
    "passed": "Passed: nothing was lost, and clients were served again in time.",
    "slow": "Slow: nothing was lost, but clients waited longer than was promised.",
    "failed": "Failed.",
}
TICKS = (1, 2, 5, 10, 20, 30, 60, 120)
"""Seconds between two marks of the axis; the first that leaves no more than MOST of them."""
MOST = 9
HEIGHT = 40
"""Of a row of the picture, in units of its own coordinates."""

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1c20; --soft: #5c636e; --line: #d9dde3; --strip: #f3f5f8;
  --ok: #2f7ebc; --failed: #c8402f; --fault: #c8402f; --back: #b26a00; --heal: #7a5fb0; --whole: #2d8a57; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171b; --ink: #e6e8ec; --soft: #9aa3b0; --line: #343a44;
  --strip: #1e2228; --ok: #5aa9e6; --failed: #f0705e; --fault: #f0705e; --back: #f2b04a; --heal: #b49ae0;
  --whole: #5cc08a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; }
.soft { color: var(--soft); }
.verdict { display: inline-block; margin: .75rem 0 0; padding: .25rem .75rem; border-left: .35rem solid var(--whole);
  background: var(--strip); }
.verdict.slow { border-color: var(--heal); } .verdict.failed { border-color: var(--failed); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
.figures div { background: var(--strip); padding: .6rem .75rem; border-radius: .4rem; }
.figures b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: .875rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .875rem; margin: 0 0 .75rem; padding: 0;
  list-style: none; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; vertical-align: -.05rem; }
.picture { position: relative; padding-bottom: 1.5rem; }
.row { font-size: .875rem; margin: .5rem 0 .1rem; position: relative; z-index: 1; }
.row span { background: var(--paper); padding-right: .4rem; }
.picture svg { display: block; width: 100%; height: 2.75rem; background: var(--strip); }
.ok { fill: var(--ok); } .bad { fill: var(--failed); }
.mark { position: absolute; top: 0; bottom: 1.4rem; border-left: 2px solid; }
.tick { position: absolute; bottom: 0; font-size: .75rem; color: var(--soft); transform: translateX(-50%);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); font-size: .875rem; }
td.number, th.number { text-align: right; white-space: nowrap; }
code { font-size: .875rem; overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } h2, .row, tr { break-inside: avoid; } }
"""


def render(result: Result) -> str:
    """The page."""
    title = f"{result.service}: {result.fault} of {result.label}"
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{escape(result.site)}, {escape(result.began)}, on {escape(", ".join(result.hosts))}</p>',
        f'<p class="verdict {result.verdict}">{escape(_verdict(result))}</p>',
        _figures(result),
        _picture(result),
        _outages(result),
        _counts(result),
        _errors(result),
        f'<p class="soft">Clients ask 20 times a second; a bar is {STEP:g} s. Gaps are measured on one clock, the'
        " clients'; the marks are laid beside them by the clocks of the hosts.</p>",
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _verdict(result: Result) -> str:
    said = VERDICTS[result.verdict]
    if result.lost:
        said += " Acknowledged writes are missing."
    if result.duplicated:
        said += " Writes are there twice."
    if result.whole is None:
        said += " The site did not come back to full redundancy in the time given."
    return said


def _figures(result: Result) -> str:
    """The numbers that count."""
    figures = [(f"{seconds:.2f} s", f"{WORDS.get(op, op)} out, at most") for op, seconds in result.rto.items()]
    if result.goal is not None:
        figures.append((f"{result.goal:g} s", "promised"))
    if result.acknowledged:
        lost, twice = (sum(map(len, each.values())) for each in (result.lost, result.duplicated))
        figures += [(str(lost), f"lost, of {result.acknowledged} acknowledged"), (str(twice), "twice there")]
    if result.reads:
        figures.append((str(result.stale), f"stale, of {result.reads} reads"))
    redundant = "never" if result.redundant_after is None else f"{result.redundant_after:g} s"
    figures.append((redundant, "after its end, all whole again" if result.heal else "after it, all whole again"))
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(what)}</span></div>" for value, what in figures)
    return f'<div class="figures">{cells}</div>'


def _marks(result: Result) -> list[tuple[str, str, float]]:
    """What happened when: class, words, seconds since the fault."""
    named = [
        ("fault", "fault", 0.0),
        ("back", "served again", result.back),
        ("heal", "fault ended", result.heal),
        ("whole", "whole again", result.whole),
    ]
    return [(name, words, at) for name, words, at in named if at is not None]


def _picture(result: Result) -> str:
    """Requests over time: a strip for each target and kind of operation, on one axis."""
    if not result.rows:
        return ""
    first = min(row.at for row in result.rows)
    last = max(row.at + len(row.ok) * STEP for row in result.rows)
    span = max(last - first, STEP)
    legend = "".join(
        f'<li><i style="background: var(--{name})"></i>{escape(words)}</li>'
        for name, words in (("ok", "answered"), ("failed", "failed"))
    )
    legend += "".join(
        f'<li><i style="width: 2px; background: var(--{name})"></i>{escape(words)}, {at:+.1f} s</li>'
        for name, words, at in _marks(result)
    )
    strips = "".join(
        f'<p class="row"><span>{escape(row.target)}, {escape(WORDS.get(row.op, row.op))}</span></p>'
        + _strip(row, first, span)
        for row in result.rows
    )
    lines = "".join(
        f'<span class="mark" style="left: {(at - first) / span:.3%}; border-color: var(--{name})"></span>'
        for name, _words, at in _marks(result)
        if first <= at <= last
    )
    return (
        f'<h2>Requests over time</h2><ul class="legend">{legend}</ul>'
        f'<div class="picture">{strips}{lines}{_axis(first, last)}</div>'
    )


def _strip(row: Row, first: float, span: float) -> str:
    """The bars of a row; the tallest fills it."""
    tallest = max(*(good + bad for good, bad in zip(row.ok, row.failed, strict=True)), 1)
    left = (row.at - first) / STEP
    good = _bars((left + n, 0, count) for n, count in enumerate(row.ok))
    bad = _bars((left + n, row.ok[n], count) for n, count in enumerate(row.failed))
    words = f"{sum(row.ok)} {WORDS.get(row.op, row.op)} of {row.target} answered, {sum(row.failed)} failed"
    return (
        f'<svg viewBox="0 0 {span / STEP:.1f} {tallest}" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(words)}"><g transform="matrix(1 0 0 -1 0 {tallest})">'
        f'<path class="ok" d="{good}"/><path class="bad" d="{bad}"/></g></svg>'
    )


def _bars(bars: Iterable[tuple[float, int, int]]) -> str:
    """A path of rectangles `(left, bottom, height)`, each one wide; neighbours of one height are drawn as one."""
    found = []
    solid = [each for each in bars if each[2]]
    for (_number, bottom, height), same in groupby(
        enumerate(solid), key=lambda item: (round(item[1][0] - item[0], 6), item[1][1], item[1][2])
    ):
        those = [each for _place, each in same]
        found.append(f"M{those[0][0]:.1f} {bottom}h{len(those)}v{height}h-{len(those)}z")
    return "".join(found)


def _axis(first: float, last: float) -> str:
    """Seconds since the fault."""
    step = next((each for each in TICKS if (last - first) / each <= MOST), TICKS[-1])
    ticks = range(int(first // step) + 1, int(last // step) + 1)
    return "".join(
        f'<span class="tick" style="left: {(n * step - first) / (last - first):.3%}">{n * step} s</span>' for n in ticks
    )


def _outages(result: Result) -> str:
    """What was out from the fault on; before it there should be nothing, and what there is is the machine's own."""
    before = len(result.gaps) - len(result.after)
    noise = f"<p>Before the fault: {before}, of {result.noise:.2f} s at most.</p>" if before else ""
    rows = [
        [gap.target, WORDS.get(gap.op, gap.op), f"{round(gap.at, 2) + 0:+.2f} s", f"{gap.seconds:.2f} s"]
        for gap in result.after
    ]
    found = _table(["of", "kind", "from", "for"], rows, numbers=2) if rows else "<p>None.</p>"
    return f"<h2>Outages of more than 0.2 s</h2>{found}{noise}"


def _counts(result: Result) -> str:
    rows = [
        ["writes acknowledged", str(result.acknowledged)],
        ["writes not acknowledged", str(result.failed)],
        ["of those there all the same", str(result.unacknowledged_but_there)],
        ["reads answered", str(result.reads)],
        ["reads failed", str(result.reads_failed)],
        ["stale reads", str(result.stale)],
        ["numbers that one was behind, at most", str(result.behind)],
    ]
    if not (result.acknowledged or result.reads):
        return ""
    return f"<h2>Writes and reads</h2>{_table(['', ''], rows, numbers=1)}"


def _errors(result: Result) -> str:
    if not result.errors:
        return ""
    rows = [[error, str(count)] for error, count in result.errors.items()]
    return f"<h2>Errors</h2>{_table(['what clients were told', 'times'], rows, numbers=1)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int) -> str:
    """A table whose last columns are numbers."""
    mark = [""] * (len(head) - numbers) + [' class="number"'] * numbers
    top = "".join(f"<th{kind}>{escape(cell)}</th>" for cell, kind in zip(head, mark, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, mark, strict=True)) + "</tr>"
        for row in rows
    )
    header = f"<thead><tr>{top}</tr></thead>" if any(head) else ""
    return f'<div class="wide"><table>{header}<tbody>{body}</tbody></table></div>'
