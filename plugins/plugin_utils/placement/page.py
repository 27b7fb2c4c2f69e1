# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A placement as one page of HTML that needs nothing else: no network, no script, light and dark, on paper and a phone.

Each rack is a column of hosts, each member a chip in the colour of its group with the leader marked; before and after
stand side by side where something changes. Groups are told apart by text as well as by colour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from .hosts import natural
from .text import EVENTS, count, evenness, tell_moves

GOLDEN = 137.508
"""Degrees between the hues of one group and the next: any few neighbours are far apart."""
MANY = 400
"""Members beyond which a chip bears only the end of its group's name; the whole is told on pointing at it."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #1d2327; --soft: #66707a; --line: #d9d6cd; --card: #ffffff;
  --chip-l: 90%; --edge-l: 42%; --good: #2d7a4f; --bad: #b3372b; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --ink: #e8e6e1; --soft: #98a1a9; --line: #343a40;
  --card: #1e2226; --chip-l: 24%; --edge-l: 66%; --good: #6cc492; --bad: #f08a7c; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem; background: var(--paper); color: var(--ink);
  font: .94rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1.05rem; margin: 2.4rem 0 .8rem; }
p { margin: .4rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
.sides { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); }
.tiles { display: grid; gap: .8rem; margin-top: 1.4rem; max-width: 68rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 9.5rem), 1fr)); }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .7rem .9rem;
  break-inside: avoid; }
.tile > b { display: block; font-size: 1.02rem; line-height: 1.35; }
.tile > span { font-size: .8rem; color: var(--soft); }
.racks { display: grid; gap: .8rem; max-width: calc(var(--racks) * 23rem);
  grid-template-columns: repeat(auto-fill, minmax(min(100%, max(10.5rem, 100% / (var(--racks) + 1))), 1fr)); }
.rack { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: .7rem;
  break-inside: avoid; }
.rack > h3 { margin: 0 0 .5rem; font-size: .82rem; font-weight: 650; letter-spacing: .04em; }
.rack > h3 small { font-weight: 400; color: var(--soft); letter-spacing: 0; }
.host { border-top: 1px solid var(--line); padding: .4rem 0 .5rem; }
.host > b { display: block; font: 600 .78rem/1.5 ui-monospace, monospace; }
.host > .soft { font-size: .74rem; }
.host > b small { color: var(--soft); font-weight: 400; }
.chip { display: inline-block; margin: .15rem .2rem 0 0; padding: 0 .45rem; border-radius: 5px; font-size: .74rem;
  line-height: 1.55; overflow-wrap: anywhere; background: hsl(var(--hue) 55% var(--chip-l));
  border: 1px solid hsl(var(--hue) 45% var(--edge-l) / .45); }
.leader { font-weight: 650; border: 1.5px solid hsl(var(--hue) 60% var(--edge-l)); }
.leader::before { content: "\\2605\\00a0"; }
.gone { opacity: .55; text-decoration: line-through; }
.key { display: inline-block; --hue: 210; }
.new { box-shadow: 0 0 0 2px var(--card), 0 0 0 4px hsl(var(--hue) 60% var(--edge-l));
  margin: .25rem .35rem .15rem .1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .28rem 1.4rem .28rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
.yes { color: var(--good); } .no { color: var(--bad); }
ul { margin: .3rem 0; padding-left: 1.1rem; }
li { margin: .15rem 0; }
@media print { @page { margin: 14mm; } :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444;
  --line: #bbb; --card: #fff; --chip-l: 92%; --edge-l: 38%; font-size: 11px; } body { padding: 0; }
  .chip { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2 { break-after: avoid; } }
"""


@dataclass(frozen=True)
class Picture:
    """What a page shows.

    Attributes:
        title: its heading.
        racks: rack -> its hosts, all in order.
        groups: name -> members `{host, leader}`.
        before: the same as it was, where something changes; None where there was nothing.
        changes: sentences.
        bounds, survival: as `bounds.bounds` and `survival.survives` answer.
        moves: component -> how many members move, and the fewest that could do.
        notes: of each host, shown beside its name: its address.
    """

    title: str
    racks: Mapping[str, Sequence[str]]
    groups: Mapping[str, Sequence[Mapping[str, Any]]]
    before: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    changes: Sequence[str] = ()
    bounds: Sequence[Mapping[str, Any]] = ()
    survival: Mapping[str, Any] = field(default_factory=dict)
    moves: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def page(picture: Picture) -> str:
    """The page, a whole document."""
    names = sorted({*picture.groups, *(picture.before or {})}, key=natural)
    hue = {name: round(at * GOLDEN % 360) for at, name in enumerate(names)}
    moved = picture.before is not None and picture.before != picture.groups
    if moved:
        sides = (
            f"<section><h2>Before</h2>{_racks(picture, picture.before or {}, picture.groups, 'gone', hue)}</section>"
            f"<section><h2>After</h2>{_racks(picture, picture.groups, picture.before or {}, 'new', hue)}</section>"
        )
        drawn = f'<div class="sides">{sides}</div>'
    else:
        drawn = f"<h2>Racks</h2>{_racks(picture, picture.groups, picture.groups, '', hue)}"
    marks = ""
    if moved:
        marks = ' What leaves a host is <span class="key chip gone">struck out</span>, what comes is'
        marks += ' <span class="key chip new">ringed</span>.'
    hosts = sum(map(len, picture.racks.values()))
    counts = f"{count(len(picture.racks), 'rack')}, {count(hosts, 'host')}, {count(len(picture.groups), 'group')}"
    parts = [
        f"<h1>{escape(picture.title)}</h1>",
        f'<p class="soft">{counts}. A colour is a group, a star its preferred leader.{marks}</p>',
        _tiles(picture),
        drawn,
        _changes(picture),
        _survival(picture.survival),
        _bounds(picture.bounds),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(picture.title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _racks(
    picture: Picture,
    groups: Mapping[str, Sequence[Mapping[str, Any]]],
    other: Mapping[str, Sequence[Mapping[str, Any]]],
    mark: str,
    hue: Mapping[str, int],
) -> str:
    """Racks with the members of groups; those that the other side does not have are marked."""
    there = {(name, member["host"]) for name, members in other.items() for member in members}
    carried: dict[str, list[str]] = defaultdict(list)
    brief = sum(map(len, groups.values())) > MANY
    for name in sorted(groups, key=natural):
        for member in groups[name]:
            kinds = ["chip", *(["leader"] if member["leader"] else [])]
            kinds += [mark] if (name, member["host"]) not in there else []
            label = escape(name.rpartition("_")[2] if brief else name).replace("_", "_<wbr>")
            looks = f'class="{" ".join(kinds)}" style="--hue:{hue[name]}" title="{escape(name)}"'
            carried[member["host"]].append(f"<span {looks}>{label}</span>")
    columns = []
    known = {host for hosts in picture.racks.values() for host in hosts}
    lost = sorted({host for host in carried if host not in known}, key=natural)
    for rack, hosts in [*picture.racks.items(), *([("gone", lost)] if lost else [])]:
        cells = "".join(_host(host, carried.get(host, ()), picture.notes.get(host, "")) for host in hosts)
        small = f"<small>{count(len(hosts), 'host')}</small>"
        columns.append(f'<div class="rack"><h3>{escape(rack)} {small}</h3>{cells}</div>')
    return f'<div class="racks" style="--racks:{len(columns)}">{"".join(columns)}</div>'


def _host(name: str, chips: Iterable[str], note: str) -> str:
    carried = "".join(chips) or '<span class="soft">nothing</span>'
    return f'<div class="host"><b>{escape(name)} <small>{escape(note)}</small></b>{carried}</div>'


def _changes(picture: Picture) -> str:
    if not picture.changes and not picture.moves:
        return ""
    items = "".join(f"<li>{escape(text)}</li>" for text in picture.changes)
    told = "".join(f"<p>{escape(tell_moves(name, *made))}</p>" for name, made in picture.moves.items())
    return f"<h2>What changes</h2>{told}<ul>{items}</ul>"


def _survival(survival: Mapping[str, Any]) -> str:
    if not survival:
        return ""
    rows = []
    for event, words in EVENTS.items():
        lost = survival[event]["lost"]
        names = sorted({loss["name"] for loss in lost}, key=natural)
        first = {loss["name"]: loss for loss in reversed(lost)}
        told = ", ".join(f"{escape(name)} loses {escape(first[name]['loses'])}" for name in names[:12])
        told += f" and {len(names) - 12} more" if len(names) > 12 else ""
        verdict = f'<b>can stop {count(len(names), "group")}</b>: {told}' if lost else "everything goes on"
        mark = "" if lost else '<b class="yes">&#10003;</b> '
        rows.append(f"<li>The loss of {words}: {mark}{verdict}</li>")
    rows += [f"<li>{escape(said)}</li>" for said in survival["witness"]]
    return f"<h2>What it survives</h2><ul>{''.join(rows)}</ul>"


def _bounds(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    kinds = {True: "yes", False: "no", None: "soft"}
    heads, lines = evenness(rows)
    head = "".join(f"<th>{word}</th>" for word in ("component", *heads))
    body = "".join(
        f"<tr><td>{escape(component)}</td>"
        + "".join(f'<td class="{kinds[optimal]}">{escape(said)}</td>' for said, optimal in cells)
        + "</tr>"
        for component, cells in lines.items()
    )
    note = '<p class="soft">From the least to the most. What is green could not be more even.</p>'
    return f'<h2>How even it is</h2>{note}<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _tiles(picture: Picture) -> str:
    """What a hurried reader wants to know."""
    tiles: list[tuple[str, str, str]] = []
    for event, words in EVENTS.items() if picture.survival else ():
        lost = {loss["name"] for loss in picture.survival[event]["lost"]}
        said = f"can stop {count(len(lost), 'group')}" if lost else "everything goes on"
        kind = "yes" if not lost else "no" if event != "rack_and_host" else ""  # more than a site must bear
        tiles.append((kind, said, f"without {words}"))
    if picture.bounds:
        worse = sum(row["optimal"] is False for row in picture.bounds)
        said = "could be more even" if worse else "as even as can be"
        tiles.append(("no" if worse else "yes", said, "members and leaders"))
    if picture.moves:
        made, least = (sum(each[at] for each in picture.moves.values()) for at in (0, 1))
        kind, said = "yes" if made <= least else "soft", f"{count(made, 'member')} moved"
        tiles.append((kind, said, f"the best needs no fewer than {least}"))
    shown = [f'<div class="tile"><b class="{kind}">{said}</b><span>{of}</span></div>' for kind, said, of in tiles]
    return f'<div class="tiles">{"".join(shown)}</div>' if tiles else ""
