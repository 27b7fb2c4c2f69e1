# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of a drill: outages, losses and times, laid on one line of time, against what the service promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

STEP = 0.1
"""Seconds of one bar in the picture, as the probes count them."""

GOALS: dict[str, tuple[float, float]] = {
    "edge": (0.5, 1.0), "etcd": (3.0, 3.0), "postgres": (29.0, 6.0), "redis": (5.0, 5.0),
    "kafka": (10.0, 10.0),
}  # fmt: skip
"""By service, the seconds in which clients are served again after a fault, and after one that ends processes alone."""

ASKED = {"edge": "knock"}
"""The operation whose outage counts, where it is not `write`."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time without a success: `at` is its beginning in seconds since the fault."""

    target: str
    op: str
    at: float
    seconds: float

    @property
    def since_fault(self) -> bool:
        """Whether it had not ended before the fault."""
        return self.at + self.seconds > 0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the picture: how many operations of a kind succeeded and failed in each STEP, from `at` on."""

    target: str
    op: str
    at: float
    ok: Sequence[int]
    failed: Sequence[int]


@dataclass(slots=True)
class Marks:
    """When things happened, by the wall clock: the fault, its end, and when all was whole again."""

    fault: float
    heal: float | None = None
    whole: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A drill that ran. All times are seconds, those of moments since the fault.

    Args:
        site, service, target, label, fault, hosts: what was done to whom; `began` is when, in ISO 8601.
        rto: by operation the longest time without a success, from the fault on.
        goal: what the service promises for that; None where it promises nothing.
        back: when the longest outage of the operation that counts was over.
        heal: when the fault was ended; None for one that is over at once.
        whole: when the site was whole again; None where it was not within the time given.
        gaps: every time without a success that is worth naming.
        rows: the picture.
        errors: how often each error came.
        acknowledged, failed, reads, reads_failed, stale, behind, unacknowledged_but_there: as the probes count them.
        lost, duplicated, reordered: acknowledged numbers that are not there, or twice, or behind later ones, by target.
    """

    site: str
    service: str
    target: str
    label: str
    fault: str
    hosts: Sequence[str]
    began: str
    rto: Mapping[str, float]
    goal: float | None
    back: float | None
    heal: float | None
    whole: float | None
    gaps: Sequence[Gap]
    rows: Sequence[Row]
    errors: Mapping[str, int]
    acknowledged: int
    failed: int
    reads: int
    reads_failed: int
    stale: int
    behind: int
    unacknowledged_but_there: int
    lost: Mapping[str, Sequence[int]] = field(default_factory=dict)
    duplicated: Mapping[str, Sequence[int]] = field(default_factory=dict)
    reordered: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def after(self) -> list[Gap]:
        """The gaps that the fault may have to do with."""
        return [gap for gap in self.gaps if gap.since_fault]

    @property
    def noise(self) -> float:
        """The longest gap before the fault: what is not much longer than that says nothing of the site."""
        return max((gap.seconds for gap in self.gaps if not gap.since_fault), default=0.0)

    @property
    def outage(self) -> float:
        """The longest outage of the operation that counts."""
        return self.rto.get(ASKED.get(self.service, "write"), 0.0)

    @property
    def redundant_after(self) -> float | None:
        """From the end of the fault until the site was whole again."""
        return None if self.whole is None else round(self.whole - (self.heal or 0.0), 1)

    @property
    def verdict(self) -> str:
        """`failed`: lost, twice there or in disorder is something, or it is not whole again; `slow`: over the goal."""
        if self.lost or self.duplicated or self.reordered or self.whole is None:
            return "failed"
        return "slow" if self.goal is not None and self.outage > self.goal else "passed"

    def sentence(self) -> str:
        """All that counts in one line."""
        words = {"write": "writes", "read": "reads", "knock": "the VIP"}
        said = [f"{words.get(op, op)} out {seconds:.2f} s" for op, seconds in self.rto.items()]
        if self.acknowledged:
            said.append(f"{_number(self.lost)} of {self.acknowledged} lost, {_number(self.duplicated)} duplicated")
        if self.reordered:
            said.append(f"{_number(self.reordered)} reordered")
        if self.stale:
            said.append(f"{self.stale} of {self.reads} reads stale")
        after = "after its end" if self.heal else "after it"
        said.append("not whole again" if self.whole is None else f"whole {self.redundant_after:g} s {after}")
        if self.noise:
            said.append(f"out {self.noise:.2f} s before the fault already")
        return f"{self.service}, {self.fault} of {self.label}: {', '.join(said)}: {self.verdict}"

    def to_dict(self) -> dict[str, Any]:
        """As it is kept in result.json."""
        names = ("outage", "noise", "redundant_after", "verdict")
        derived = {name: getattr(self, name) for name in names}
        return {"version": 1, **asdict(self), **derived}


def conclude(
    drill: Mapping[str, Any], probes: Mapping[str, Mapping[str, Any]], marks: Marks, process: bool
) -> Result:
    """Lay what the probes saw beside the marks.

    Args:
        drill: `{site, service, target, label, fault, hosts, began}`.
        probes: by probe what its `verify` answered (probes/counting.py).
        marks: by the wall clock.
        process: whether the fault ended processes alone.
    """
    gaps: list[Gap] = []
    rows: list[Row] = []
    errors: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    behind = 0
    lost: dict[str, tuple[int, ...]] = {}
    duplicated: dict[str, tuple[int, ...]] = {}
    reordered: dict[str, tuple[int, ...]] = {}
    for probe in probes.values():
        # The probe's start in seconds since the fault; its own times are those of its monotonic clock.
        start = probe["clock"]["wall"] - marks.fault
        for target, said in probe["targets"].items():
            for op, found in said["gaps"].items():
                gaps += [
                    Gap(target, op, round(each["t"] - probe["clock"]["t"] + start, 3), each["seconds"])
                    for each in found
                ]
            rows += [
                Row(target, op, round(start, 3), tuple(counts["ok"]), tuple(counts["failed"]))
                for op, counts in sorted(said["counts"].items(), key=lambda each: OPS.index(each[0]))
            ]
            for each in said["errors"].values():
                errors.update(each)
            sums.update({key: said[key] for key in SUMS})
            behind = max(behind, said["behind"])
            lost |= {target: tuple(said["lost"])} if said["lost"] else {}
            duplicated |= {target: tuple(said["duplicated"])} if said["duplicated"] else {}
            reordered |= {target: tuple(said["reordered"])} if said.get("reordered") else {}
    after = [gap for gap in gaps if gap.since_fault]
    rto = {
        op: max((gap.seconds for gap in after if gap.op == op), default=0.0)
        for op in OPS
        if any(row.op == op for row in rows)
    }
    asked = ASKED.get(str(drill["service"]), "write")
    worst = max((gap for gap in after if gap.op == asked), key=lambda gap: gap.seconds, default=None)
    goal = GOALS.get(str(drill["service"]))
    counted: Mapping[str, Any] = {key: sums[key] for key in SUMS}
    return Result(
        **drill,
        **counted,
        rto=rto,
        goal=goal and goal[process],
        back=None if worst is None else round(worst.at + worst.seconds, 3),
        heal=_since(marks.heal, marks),
        whole=_since(marks.whole, marks),
        gaps=tuple(sorted(gaps, key=lambda gap: (gap.at, gap.target, gap.op))),
        rows=tuple(rows),
        errors=dict(errors.most_common()),
        behind=behind,
        lost=lost,
        duplicated=duplicated,
        reordered=reordered,
    )


OPS = ("write", "read", "knock")
SUMS = ("acknowledged", "failed", "reads", "reads_failed", "stale", "unacknowledged_but_there")


def problem(result: Result, folder: str) -> Refusal | None:
    """What must not happen, where it did: a loss (RS-107), or a site that did not come back (RS-106).

    Args:
        result: the drill's.
        folder: where it lies.
    """
    if result.lost or result.duplicated or result.reordered:
        what = [f"{target}: {len(numbers)} lost" for target, numbers in result.lost.items()]
        what += [f"{target}: {len(numbers)} twice there" for target, numbers in result.duplicated.items()]
        what += [f"{target}: {len(numbers)} in disorder" for target, numbers in result.reordered.items()]
        return Refusal("RS-107", f"{'; '.join(what)}.", path=folder)
    if result.whole is None:
        return Refusal("RS-106", f"The site is not whole after {result.fault} of {result.label}.")
    return None


def table(results: Sequence[Result]) -> str:
    """Drills as a table in Markdown, one a row."""
    head = ["service", "hit", "fault", "out", "goal", "reads out", "lost", "duplicated", "stale reads", "whole after"]
    rows = [
        [
            each.service,
            each.target,
            each.fault,
            f"{each.outage:.2f} s",
            "" if each.goal is None else f"{each.goal:g} s",
            f"{each.rto['read']:.2f} s" if "read" in each.rto else "",
            str(_number(each.lost)),
            str(_number(each.duplicated)),
            str(each.stale) if each.reads else "",
            "never" if each.whole is None else f"{each.redundant_after:g} s",
        ]
        for each in results
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def _number(numbers: Mapping[str, Sequence[int]]) -> int:
    return sum(map(len, numbers.values()))


def _since(moment: float | None, marks: Marks) -> float | None:
    return None if moment is None else round(moment - marks.fault, 3)
