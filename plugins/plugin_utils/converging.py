# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the groups of a service to what was staged: look, decide, act, look again; then roll. No Ansible in here.

All that touches hosts, files or the clock goes through a `World`, so that the same loop runs over ssh and in tests.
What is remembered between two steps is only how long to wait: what a killed run leaves behind the next look finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from ansible_collections.rackspread.ha.plugins.module_utils.gate import healthy, may_restart, roll_order
from ansible_collections.rackspread.ha.plugins.module_utils.kafka_client import new_uuid
from ansible_collections.rackspread.ha.plugins.module_utils.services import Service
from ansible_collections.rackspread.ha.plugins.plugin_utils import spanning
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import (
    Action,
    Decision,
    Known,
    Observation,
    State,
    classified,
    intents,
    was_formed,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup
from ansible_collections.rackspread.ha.plugins.plugin_utils.moving import step
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

SHARE_SECONDS = 180.0
"""The most that one step of sharing may take; a driver says after half a minute how far it came."""
TRIES = 3
"""How often that may fail, one time after another."""
PAUSES = (0.5, 1.0, 1.5, 2.0, 3.0)
"""Seconds between two looks at what is on its way; the last one goes on."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the role was given it; `members` are M of docs/architecture.md."""

    name: str
    index: int
    members: tuple[Mapping[str, Any], ...]

    def member(self, member: int) -> Mapping[str, Any]:
        """One of its members, by id."""
        return next(each for each in self.members if each["id"] == member)


@dataclass(frozen=True, slots=True)
class Deed:
    """One operation of a service's member module, on the host of a member.

    Args:
        group: the group's key.
        member: the id of the member on whose host it is done.
        operation: see docs/architecture.md.
        arguments: `intent`, `peer`, `target`, as the operation needs them.
        seconds: how long it may take.
    """

    group: str
    member: int
    operation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 120


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a deed; `answer` is what `admit` tells the one who joins."""

    ok: bool
    message: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    unreachable: bool = False


class World(Protocol):
    """What the loop sees and moves."""

    def look(self, groups: Sequence[Group]) -> dict[str, list[Observation]]:
        """Every member of these groups, all at once, in the order of their members. Not classified yet."""

    def act(self, deeds: Sequence[Deed], lock: Lock) -> list[Outcome]:
        """Do all of these at once."""

    def save(self, lock: Lock) -> Lock:
        """Write the lock, and return it with its new generation."""

    def absent_hosts(self) -> list[str]:
        """The hosts of the site that do not answer."""

    def say(self, line: str) -> None:
        """Tell the operator."""

    def ask(self, lines: Sequence[str]) -> None:
        """Show what will be done, and have it confirmed. Raises Refusal where it is not."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def pause(self, seconds: float) -> None:
        """Let time pass."""


@dataclass(slots=True)
class Report:
    """What a convergence did and found.

    Args:
        steps: what was done, or, in check mode, what would be.
        refusals: why groups were not brought further.
        unconverged: the same where only unreachable hosts were the reason.
        observations: the last look at each group.
    """

    steps: list[str] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    unconverged: list[str] = field(default_factory=list)
    observations: dict[str, list[Observation]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """What an operator asks of a run beside what is staged.

    Args:
        restart: every member is restarted once, though nothing asks for it.
        home: leaders go back to the members that the placement prefers.
        ask: what will be rolled is shown before, and is to be confirmed.
    """

    restart: bool = False
    home: bool = False
    ask: bool = False


@dataclass(slots=True)
class _Course:
    """What one formation remembers between two looks: what it tried, and until when it waits for that."""

    tried: set[tuple[Action, int]] = field(default_factory=set)
    until: float | None = None
    waits: int = 0


class Convergence:
    """One run over the groups of a service.

    Args:
        service: its row.
        groups: all groups, each whole.
        lock: the site's, as it is in its file.
        world: hosts, file and clock.
        check: only look, and tell what would be done.
        wish: what is asked for beside.
    """

    def __init__(
        self,
        service: Service,
        groups: Sequence[Group],
        lock: Lock,
        world: World,
        check: bool = False,
        wish: Wish | None = None,
    ) -> None:
        self._service = service
        present = [_present(group, lock) for group in groups]
        self._groups = {group.name: group for group in present if group.members}
        self._lock = lock
        self._world = world
        self._check = check
        self._wish = wish or Wish()
        self._stopped: set[str] = set()
        self._retired: dict[str, list[int]] = {}
        self._expelled: set[tuple[str, int]] = set()
        self._decisions: dict[str, Decision] = {}
        self.report = Report()

    def run(self) -> Report:
        """Form what is to be formed and make the moves, then roll what wants it."""
        self._form()
        try:
            self._share()
            self._dissolve()
            if self._announce():
                self._roll()
            self._bring_home()
            if self._wish.home:
                self._go_home()
        except Refusal as refusal:
            self.report.refusals.append(refusal)
        return self.report

    # Formation

    def _form(self) -> None:
        """One round a look: every group that is not settled yet makes its next step, all groups side by side.

        But one move at a time: a group with a member that leaves begins when the one before it is settled.
        """
        moving = [] if self._check else [name for name in self._groups if self._moves(name)]
        if moving and self._service.spans:  # what one group may do the others must be seen for
            self._look(self._groups)
            self._decide(self._groups)
        courses = {name: _Course() for name in self._groups if name not in moving}
        while courses or moving:
            if moving and not any(self._moves(name) for name in courses):
                courses[moving.pop(0)] = _Course()
            self._look(courses)
            self._decide(courses)
            steps = {name: step for name, course in courses.items() if (step := self._next(name, course)) is not None}
            courses = {name: courses[name] for name in steps}
            taken = {name: decision for name, decision in steps.items() if decision.action is not Action.WAIT}
            if self._check:
                self._stopped |= courses.keys()
                return
            if taken:
                for name in self._take(taken):
                    del courses[name]
            elif courses:
                self._world.pause(PAUSES[min(max(course.waits for course in courses.values()), len(PAUSES)) - 1])

    def _decide(self, names: Iterable[str]) -> None:
        """What each of these groups needs by what was just seen; of those that are settled the last word stands."""
        for name in names:
            seen = self.report.observations[name]
            self._decisions[name] = step(name, seen, self._was_formed(name), self._service, self._gone(name))
        if self._service.spans:
            formed = {name for name in self._groups if self._was_formed(name)}
            self._decisions = spanning.together(self._decisions, self.report.observations, formed)

    def _was_formed(self, name: str) -> bool:
        return was_formed(self.report.observations[name], self._known(name))

    def _next(self, name: str, course: _Course) -> Decision | None:
        """What a group needs now; None where it is settled, for better or worse."""
        seen = self.report.observations[name]
        decision = self._decisions[name]
        left = [member for member in self._retired[name] if (Action.RETIRE, member) not in course.tried]
        if left and not self._dissolves(name):
            decision = Decision(Action.RETIRE, tuple(left), "put away before, by a run that was ended")
        action, now = decision.action, self._world.now()
        if action in (Action.RETIRE, Action.EXPEL):
            course.tried |= {(action, member) for member in decision.members}
            course.until = None
            self._step(name, f"{action.value} ({decision.reason})")
            return decision
        if action is Action.NOTHING:
            self._remember(name, seen)
            return None
        if action is Action.REFUSE:
            self._refuse(name, decision.code or "", decision.reason, **decision.facts)
            return None
        those = [each for each in seen if each.member in decision.members]
        if action is Action.WAIT:
            if all(each.wants_roll for each in those) and not self._moves(name):
                return None  # what is staged may be what it lacks: the roll takes broken members first
            if course.until is None:
                copying = any(each.state is State.HALF_FORMED for each in those)
                course.until = now + (self._service.join if copying else self._service.start)
                self._say(name, f"wait ({decision.reason})")
        elif (bare := [each for each in those if each.staged is None]) and not self._check:  # a check stages nothing
            hosts = ", ".join(each.host for each in bare)
            self._refuse(
                name, "RS-070", f"nothing is staged for it on {hosts}, so it can't {action.value}.", hosts=hosts
            )
            return None
        elif action is Action.FORM and (missing := self._waits_for(name)) and not self._check:
            self._refuse(name, "RS-074", f"{missing}, whose cluster it belongs to, is not formed yet.", missing=missing)
            return None
        elif new := [each for each in those if (action, each.member) not in course.tried]:
            course.tried |= {(action, each.member) for each in new}
            course.until = now + getattr(self._service, "join" if action is Action.REPAIR else action.value)
            course.waits = 0
            self._step(name, f"{action.value} ({decision.reason})")
            return Decision(action, tuple(each.member for each in new), decision.reason)
        if now > (course.until or now):
            hosts = ", ".join(each.host for each in those)
            self._refuse(name, "RS-068", f"{decision.reason}, after all the time that it may take.", hosts=hosts)
            return None
        course.waits += 1
        return Decision(Action.WAIT, decision.members, decision.reason)

    def _waits_for(self, name: str) -> str:
        """The group that must be formed before this one can be; nothing where there is none, or it is formed."""
        cluster, index = self._service.cluster, self._groups[name].index
        if cluster in (None, self._service.component) or self._begun(name) or self._cluster_of_others(index):
            return ""
        return f"{cluster}{index}"

    def _take(self, steps: Mapping[str, Decision]) -> list[str]:
        """Take a step in each of these groups, the lock first. Returns the groups in which it failed."""
        over: list[str] = []
        for name, decision in steps.items():
            match decision.action:
                case Action.EXPEL | Action.RETIRE:
                    over += self._stop_at_refusal(name, partial(self._see_off, name, decision))
                case Action.JOIN:  # one that is repaired is known to the others, who can spare nobody meanwhile
                    over += self._stop_at_refusal(name, partial(self._open_doors, name))
                case Action.START if not self._service.stateful:
                    over += self._stop_at_refusal(name, partial(self._introduce, name))
        coming = {
            name: decision
            for name, decision in steps.items()
            if name not in over and decision.action not in (Action.EXPEL, Action.RETIRE)
        }
        return over + self._bring_up(coming)

    def _bring_up(self, steps: Mapping[str, Decision]) -> list[str]:
        """Form, start, or have members join. Returns the groups in which it failed."""
        lock = self._lock
        for name, decision in steps.items():
            lock = self._with_group(lock, name, forming=decision.action is Action.FORM)
        self._save(lock)
        failed: dict[str, Outcome] = {}
        peers: dict[tuple[str, int], Mapping[str, Any]] = {}
        joining = [
            (name, member, decision.action)
            for name, decision in steps.items()
            if decision.action in (Action.JOIN, Action.REPAIR)
            for member in decision.members
        ]
        # A lost voter is forgotten before it is expected again, and expected before it starts.
        expel = [self._help(name, member, "expel") for name, member, action in joining if action is Action.REPAIR]
        self._do(expel, failed)
        for deed, outcome in self._do([self._help(name, member, "admit") for name, member, _action in joining], failed):
            peers[deed.group, deed.arguments["target"]] = outcome.answer
        self._do([deed for name, decision in steps.items() for deed in self._deeds(name, decision, peers)], failed)
        # A host that vanished in the middle is no failure: the next look says so.
        refused = {name: outcome.message for name, outcome in failed.items() if not outcome.unreachable}
        for name, message in refused.items():
            hosts = ", ".join(self._groups[name].member(member)["host"] for member in steps[name].members)
            self._refuse(name, "RS-069", f"{steps[name].action.value} failed: {message}", hosts=hosts)
        return list(refused)

    def _deeds(
        self, name: str, decision: Decision, peers: Mapping[tuple[str, int], Mapping[str, Any]]
    ) -> Iterable[Deed]:
        intent = self._lock.groups[name].intent
        for member in decision.members:
            match decision.action:
                case Action.FORM:
                    yield Deed(name, member, "form", {"intent": intent}, self._service.form + 60)
                case Action.START:
                    yield Deed(name, member, "start", {}, 2 * self._service.start + 60)
                case _:
                    yield Deed(name, member, "join", {"peer": peers.get((name, member), {})}, self._service.start + 60)

    def _help(self, name: str, target: int, operation: str) -> Deed:
        """A deed that a joined member, the leader if there is one, does for another; who leaves expels nobody."""
        others = [seen for seen in self.report.observations[name] if seen.member != target]
        joined = [seen for seen in others if seen.state is State.JOINED]
        helper = min(joined, key=lambda seen: (operation == "expel" and seen.leaving, not seen.leads, seen.member))
        seconds = self._service.expel if operation == "expel" else 120
        return Deed(name, helper.member, operation, {"target": target}, seconds)

    def _do(self, deeds: Sequence[Deed], failed: dict[str, Outcome]) -> list[tuple[Deed, Outcome]]:
        """Do what is still to be done in groups where nothing failed yet; note what fails now."""
        deeds = [deed for deed in deeds if deed.group not in failed]
        done = list(zip(deeds, self._world.act(deeds, self._lock), strict=True)) if deeds else []
        for deed, outcome in done:
            if not outcome.ok and (deed.group not in failed or failed[deed.group].unreachable):
                failed[deed.group] = outcome
        return done

    # What groups have of a whole

    def _share(self) -> None:
        """Where groups are shares of one whole, have each get its own, and those that dissolve nothing; step by step,
        while clients are served. Raises Refusal where that does not go on.
        """
        if not self._service.spans or self._stopped:
            return
        failures = 0
        while reason := spanning.uneven(self.report.observations):
            name = next(name for name in self._groups if not self._dissolves(name))
            leader = next(own for own in self.report.observations[name] if own.leads)
            self._step(name, f"share ({reason})")
            if self._check:
                return
            emptied = {"emptied": [each for each in self._groups if self._dissolves(each)]}
            [outcome] = self._world.act([Deed(name, leader.member, "share", emptied, SHARE_SECONDS)], self._lock)
            self._look(self._groups)
            if outcome.answer.get("moved"):
                failures = 0
                self._say(name, f"{outcome.answer['moved']} slots moved, {outcome.answer['left']} to go")
                continue
            failures += 1  # a master may just have been lost, or gone home
            if failures == TRIES or self._until(name, self._ailing, self._service.spare):
                raise Refusal("RS-073", f"{reason}: {outcome.message or 'no slot moves'}", hosts=leader.host)

    def _ailing(self) -> str:
        """Why the groups are not whole, nothing where they are."""
        verdicts = (healthy(name, seen, self._service.gate) for name, seen in self.report.observations.items())
        return next((verdict.reason for verdict in verdicts if not verdict), "")

    def _dissolve(self) -> None:
        """Put away the groups that are to be no more, followers first. Nothing needs them: `_share` has seen to that.

        Raises Refusal.
        """
        if self._stopped:
            return
        for name in [name for name in self._groups if self._dissolves(name)]:
            seen = {own.member: own for own in self.report.observations[name]}
            members = sorted(self._leavers(name), key=lambda member: (member in seen and seen[member].leads, member))
            self._step(name, "retire (all of it leaves, and others have what it had)")
            if not self._check:
                self._see_off(name, Decision(Action.RETIRE, tuple(members)))

    # Moves

    def _open_doors(self, name: str) -> None:
        """Have those that are there take what is staged before another joins: it is they who must let it in."""
        needs = {seen.need for seen in self.report.observations[name] if seen.wants_roll}
        if needs and not ("restart" in needs and self._world.absent_hosts()):
            self._roll_group(name)

    def _introduce(self, name: str) -> None:
        """Have balancers hear of one that is about to start, else it takes the addresses that they hold as well.

        A reload stops nobody, so it waits for no gate: one that serves alone must hear of the other, too.
        """
        for seen in roll_order(self.report.observations[name]):
            if seen.need == "reload" and seen.state is State.JOINED:
                self._activate(name, seen, gate=False)

    def _see_off(self, name: str, decision: Decision) -> None:
        """Have members leave: hand over, be forgotten by the cluster, stop for good. Raises Refusal."""
        self._save(self._with_group(self._lock, name))
        for member in decision.members:
            if decision.action is Action.EXPEL:
                self._expelled.add((name, member))
            elif (own := self._find(name, member)) and own.leads and self._service.heir != "none":
                self._step_down(name, own)
            if self._service.stateful and not self._dissolves(name):
                self._must(self._help(name, member, "expel"))
            away = Deed(name, member, "retire", {}, 2 * self._service.restart + 60)
            outcome = self._must(away, absent=decision.action is Action.EXPEL)
            if data := outcome.answer.get("data"):
                host = self._place(name, member)["host"]
                self._say(name, f"the data of member {member} stays on {host} in {data}; it is yours to remove")
            if not outcome.answer.get("remaining"):  # no other program of this member is there
                self._forget(name, member)

    def _forget(self, name: str, member: int) -> None:
        """A member that is put away belongs to the group no more."""
        group, locked = self._groups[name], self._lock.groups[name]
        seen = self.report.observations[name]
        self.report.observations[name] = [own for own in seen if own.member != member]
        self._groups[name] = replace(group, members=tuple(each for each in group.members if each["id"] != member))
        if not self._groups[name].members:
            del self._groups[name], self.report.observations[name], self._decisions[name]
            self._save(replace(self._lock, groups={key: own for key, own in self._lock.groups.items() if key != name}))
            return
        self._save(
            self._lock.with_group(
                name,
                members=tuple(each for each in locked.members if each.id != member),
                gone=tuple(each for each in locked.gone if each.id != member),
            )
        )

    def _must(self, deed: Deed, absent: bool = False) -> Outcome:
        """Do what a member can't leave without; with `absent` its host may be gone."""
        [outcome] = self._world.act([deed], self._lock)
        if outcome.ok or (absent and outcome.unreachable):
            return outcome
        member = deed.arguments.get("target", deed.member)
        sentence = f"member {member} of {deed.group} can't leave, {deed.operation} failed: {outcome.message}"
        raise Refusal("RS-110", sentence, group=deed.group)

    def _stop_at_refusal(self, name: str, deed: Callable[[], None]) -> list[str]:
        """Do something to a group; its name where that was refused."""
        try:
            deed()
        except Refusal as refusal:
            self._stopped.add(name)
            self.report.refusals.append(refusal)
            self._world.say(str(refusal))
            return [name]
        return []

    def _place(self, name: str, member: int) -> Mapping[str, Any]:
        """The M of a member, or of one that is gone."""
        gone = [each.to_dict() for each in self._lock.groups[name].gone]
        return next(each for each in (*self._groups[name].members, *gone) if each["id"] == member)

    def _leavers(self, name: str) -> list[int]:
        return [each["id"] for each in self._groups[name].members if each.get("leaving")]

    def _dissolves(self, name: str) -> bool:
        """Whether nobody of a group stays."""
        return len(self._leavers(name)) == len(self._groups[name].members)

    def _moves(self, name: str) -> bool:
        """Whether others take over from members of a group."""
        return bool(self._leavers(name)) and not self._dissolves(name)

    def _gone(self, name: str) -> list[Member]:
        """The lost members that the group's cluster may still count."""
        locked = self._lock.groups.get(name)
        return [each for each in locked.gone if (name, each.id) not in self._expelled] if locked else []

    def _remember(self, name: str, seen: Sequence[Observation]) -> None:
        """Have the hosts of joined members write down what they are part of, where their record says less."""
        if not self._service.stateful or self._check:
            return
        group = self._groups[name]
        wanted = {
            "index": group.index,
            "next_id": self._next_id(name),
            "members": [dict(each) for each in group.members],
        }
        behind = [
            each.member
            for each in seen
            if each.state is State.JOINED
            and (not (known := each.record or {}).get("formed") or any(known[key] != wanted[key] for key in wanted))
        ]
        failed: dict[str, Outcome] = {}
        self._do([Deed(name, member, "remember") for member in behind], failed)
        for outcome in failed.values():
            hosts = ", ".join(group.member(member)["host"] for member in behind)
            self._refuse(name, "RS-069", f"remember failed: {outcome.message}", hosts=hosts)

    # Roll

    def _announce(self) -> bool:
        """Show what will be rolled and ask, where that is wished, and whether to go on; note which restarts are asked.

        Those that an earlier run was asked for and could not end are what is asked for: nobody is restarted twice.
        """
        seen = {name: those for name, those in self.report.observations.items() if name not in self._stopped}
        resumed = any(own.asked for those in seen.values() for own in those)
        idle = [
            Deed(name, own.member, "ask")
            for name, those in seen.items()
            for own in those
            if self._wish.restart and not resumed and own.state is State.JOINED and own.need != "restart"
        ]
        asked = {(deed.group, deed.member): "restart" for deed in idle}
        wanted = [
            (name, own, asked.get((name, own.member), own.need))
            for name, those in sorted(seen.items())
            for own in roll_order(those)
            if own.wants_roll or (name, own.member) in asked
        ]
        lines = [
            f"{name}: {need} {own}{', which hands over before' if self._hands_over(own, need) else ''}"
            for name, own, need in wanted
        ]
        if self._wish.ask and lines and not self._check:
            self._world.ask(lines)
        if not idle:
            return True
        if self._check:
            self.report.steps += lines
            return False
        for deed, outcome in zip(idle, self._world.act(idle, self._lock), strict=True):
            if not outcome.ok:
                raise Refusal("RS-110", f"member {deed.member} of {deed.group} can't be asked: {outcome.message}")
        self._look(seen)
        return True

    def _go_home(self) -> None:
        """Have leaders hand over to the members that the placement prefers, one group after another."""
        for name in sorted(self.report.observations.keys() - self._stopped):
            seen = self.report.observations[name]
            home = next((own for own in seen if own.preferred), None)
            leader = next((own for own in seen if own.leads), None)
            if not home or not leader or home == leader:
                continue
            whole = healthy(name, seen, self._service.gate)
            if not whole:
                self.report.unconverged.append(f"{name}: its leader stays on {leader.host}: {whole.reason}.")
                continue
            self._step(name, f"{leader} hands over to {home}, its home")
            if not self._check:
                self._hand_over(name, leader, home)

    def _hand_over(self, name: str, leader: Observation, target: Observation) -> None:
        """Have the leader hand over, and wait until the group is whole under the other one."""
        deed = Deed(name, leader.member, "step_down", {"target": target.member})
        [outcome] = self._world.act([deed], self._lock)

        def missing() -> str:
            if not self._own(name, target.member).leads:
                return f"{target} does not lead"
            verdict = healthy(name, self.report.observations[name], self._service.gate)
            return "" if verdict else verdict.reason

        reason = outcome.message
        if outcome.ok:
            self._look([name])
            reason = self._until(name, missing, self._service.restart)
        if reason:
            sentence = f"{leader} of {name} did not hand over to {target}: {reason}"
            raise Refusal("RS-084", sentence, hosts=leader.host)

    def _roll(self) -> None:
        """Take what is staged, member after member. Raises Refusal where one fails, or the gate stays shut."""
        wanting = [
            name
            for name, observations in sorted(self.report.observations.items(), key=lambda item: self._whole(item[1]))
            if name not in self._stopped and any(seen.wants_roll for seen in observations)
        ]
        if not wanting:
            return
        groups = ", ".join(wanting)
        if self._stopped and not self._check:
            missing = ", ".join(sorted(self._stopped))
            self.report.unconverged.append(f"{groups}: nothing is restarted before {missing} is whole.")
        elif absent := self._world.absent_hosts():
            self.report.unconverged.append(
                f"{groups}: nothing is restarted while {', '.join(absent)} can't be reached."
            )
        else:
            for name in wanting:
                self._roll_group(name)

    def _roll_group(self, name: str) -> None:
        """Roll the members that want it, each once for each need: a reload may show that a restart is needed."""
        taken: set[tuple[int, str]] = set()
        while True:
            wanting = [seen for seen in roll_order(self.report.observations[name]) if seen.wants_roll]
            seen = next((seen for seen in wanting if (seen.member, seen.need) not in taken), None)
            if seen is None:
                return
            again = " after the reload, as it asks itself" if (seen.member, "reload") in taken else ""
            taken.add((seen.member, seen.need))
            if self._check:
                self._step(name, f"{seen.need} {seen}")
            else:
                self._activate(name, seen, again)

    def _activate(self, name: str, own: Observation, again: str = "", gate: bool = True) -> None:
        """Roll one member: gate, hand over, activate, gate."""
        if gate:
            self._spare(name, own.member)
            own = self._own(name, own.member)
        if self._hands_over(own, own.need):
            self._step_down(name, own)
        self._save(self._with_group(self._lock, name))
        served = {seen.member for seen in self.report.observations[name] if seen.state is State.JOINED} - {own.member}
        self._step(name, f"{own.need} {own}{again}")
        deed = Deed(name, own.member, "activate", {}, 2 * self._service.restart + 60)
        [outcome] = self._world.act([deed], self._lock)
        reason = self._comes_up(name, own, served) if outcome.ok else outcome.message
        if reason:
            self._revert(name, own.member, reason)
        self._bring_home()

    def _spare(self, name: str, member: int) -> None:
        """Wait until the group can spare the member."""

        def shut() -> str:
            # Who is yet to join has nothing that could be missed.
            there = [seen for seen in self.report.observations[name] if seen.state is not State.EMPTY]
            verdict = may_restart(name, there, member, self._service.gate)
            if verdict and self._service.spans:
                around = {
                    each: [own for own in seen if own.state is not State.EMPTY]
                    for each, seen in self.report.observations.items()
                }
                verdict = spanning.may_restart(around, name, member)
            return "" if verdict else verdict.reason

        if reason := self._until(name, shut, self._service.spare):
            host = self._groups[name].member(member)["host"]
            raise Refusal("RS-080", f"member {member} of {name} on {host} can't be spared: {reason}.", hosts=host)

    def _hands_over(self, own: Observation, need: str) -> bool:
        """Whether a member that is to be rolled gives its leadership away before."""
        leaves = need == "restart" and own.leads and not own.tells("leader_first", False)
        return self._service.heir != "none" and leaves

    def _step_down(self, name: str, own: Observation) -> None:
        """Have the leader hand over, to the best follower where it can choose, and wait until it can be spared."""
        followers = [seen for seen in self.report.observations[name] if seen.state is State.JOINED and not seen.leads]
        if not followers:
            return
        in_sync = own.tells("in_sync", ())
        target = min(
            followers, key=lambda seen: (seen.member not in in_sync, seen.leaving, not seen.preferred, seen.member)
        )
        chosen = self._service.heir == "named"
        heir = str(target) if chosen else "another member"
        self._say(name, f"{own} hands over to {heir}")
        deed = Deed(name, own.member, "step_down", {"target": target.member} if chosen else {})
        [outcome] = self._world.act([deed], self._lock)
        if not outcome.ok:
            raise Refusal("RS-084", f"{own} of {name} did not hand over to {heir}: {outcome.message}", hosts=own.host)
        self._look(self._around(name))
        self._spare(name, own.member)

    def _bring_home(self) -> None:
        """Where leaders elect, have them go back to their own racks, one after another, while a rack holds too many."""
        if not self._service.spans or self._check or self._stopped:
            return

        def stranded() -> str:
            verdict = spanning.healthy(self.report.observations)
            return "" if verdict or spanning.homeward(self.report.observations) else verdict.reason

        anywhere = next(iter(self._groups))
        while not (reason := self._until(anywhere, stranded, self._service.spare)):
            step = spanning.homeward(self.report.observations)
            if step is None:
                return
            self._step(step.shard, f"hand over from {step.leader.host} to {step.target.host} ({step.reason})")
            deed = Deed(step.shard, step.leader.member, "step_down", {"target": step.target.member})
            [outcome] = self._world.act([deed], self._lock)
            if not outcome.ok:
                sentence = f"{step.leader.host} did not hand over {step.shard}: {outcome.message}"
                raise Refusal("RS-084", sentence, hosts=step.leader.host)
            self._look(self._groups)
        self.report.unconverged.append(f"{reason}, and nobody can go home: that rack's loss would stop the cluster.")

    def _comes_up(self, name: str, rolled: Observation, served: Iterable[int]) -> str:
        """Wait until the member serves with what it took, beside those that served before. Why not, or nothing."""

        def missing() -> str:
            for seen in self.report.observations[name]:
                said = f": {seen.detail}" if seen.detail else ""
                if seen.member in {rolled.member, *served} and seen.state is not State.JOINED:
                    return f"{seen} is {seen.state.value.replace('_', ' ')}{said}"
                if seen.member == rolled.member and seen.need == rolled.need:
                    return f"{seen} did not take what is staged{said}"
            return ""

        self._look(self._around(name))
        return self._until(name, missing, self._service.restart)

    def _revert(self, name: str, member: int, reason: str) -> None:
        """Go back to what ran before, and stop."""
        own = self._groups[name].member(member)
        who = f"member {member} of {name} on {own['host']}"
        self._step(name, f"revert member {member} on {own['host']}, which does not come up")
        [outcome] = self._world.act([Deed(name, member, "revert", {}, 2 * self._service.restart + 60)], self._lock)

        def missing() -> str:
            seen = self._own(name, member)
            return "" if seen.state is State.JOINED else f"{seen} is {seen.state.value.replace('_', ' ')}"

        back = outcome.message
        if outcome.ok:
            self._look([name])
            back = self._until(name, missing, self._service.restart)
        if back:
            raise Refusal(
                "RS-082",
                f"{who} came up neither with what was staged ({reason}) nor with what it ran before ({back}).",
                hosts=own["host"],
            )
        raise Refusal("RS-081", f"{who} did not come up with what was staged: {reason}", hosts=own["host"])

    def _until(self, name: str, obstacle: Callable[[], str], seconds: float) -> str:
        """Look at a group until nothing is in the way. Returns what still is when the time is over."""
        end = self._world.now() + seconds
        waits = 0
        while (reason := obstacle()) and self._world.now() < end:
            self._world.pause(PAUSES[min(waits, len(PAUSES) - 1)])
            waits += 1
            self._look(self._around(name))
        return reason

    def _around(self, name: str) -> Iterable[str]:
        """The groups that a look at one of them must show too."""
        return self._groups if self._service.spans else [name]

    # What both share

    def _look(self, names: Iterable[str]) -> None:
        """Look at groups anew, classify, and take note of a group that is seen formed."""
        lock = self._lock
        for name, observations in self._world.look([self._groups[name] for name in names]).items():
            known = self._known(name)
            members = classified(observations, known, self._service)
            self._retired[name] = [seen.member for seen in members if seen.retired]
            members = [seen for seen in members if not seen.retired]
            self.report.observations[name] = members
            if self._service.stateful and not known.formed:
                cluster = next((seen.tells("cluster_id") for seen in members if seen.state is State.JOINED), None)
                if cluster:
                    lock = self._with_group(lock, name).with_group(name, formed=cluster)
        self._save(lock)

    def _own(self, name: str, member: int) -> Observation:
        return next(seen for seen in self.report.observations[name] if seen.member == member)

    def _find(self, name: str, member: int) -> Observation | None:
        return next((seen for seen in self.report.observations[name] if seen.member == member), None)

    def _known(self, name: str) -> Known:
        return Known.of(self._lock, name)

    def _with_group(self, lock: Lock, name: str, forming: bool = False) -> Lock:
        """The lock with this group in it, whole; with an intent where it is to be formed."""
        group = self._groups[name]
        members = tuple(Member.from_dict({"leader": False, **each}) for each in group.members)
        before = lock.groups.get(name) or LockedGroup(group.index, 0, ())
        locked = replace(before, index=group.index, next_id=self._next_id(name), members=members)
        lock = replace(lock, site_id=lock.site_id or str(uuid4()), groups={**lock.groups, name: locked})
        if not forming or locked.intent:
            return lock
        new: dict[str, Any] = {"formation_id": str(uuid4()), "cluster_id": None, "directory_ids": {}}
        if self._service.spans:
            new["slots"] = self._shares()[name]
        if self._service.cluster == self._service.component:
            new["cluster_id"] = new_uuid()
            new["directory_ids"] = {str(each["id"]): new_uuid() for each in group.members}
        elif self._service.cluster:
            new["cluster_id"] = self._cluster_of_others(group.index)
        return lock.with_group(name, intent=self._begun(name) or new)

    def _begun(self, name: str) -> Mapping[str, Any] | None:
        """The intent that a group was begun with, by the lock or by a host."""
        return next(iter(intents(self.report.observations[name], self._known(name)).values()), None)

    def _cluster_of_others(self, index: int) -> str | None:
        """The id of the cluster that the group of this index of another component has formed; None before that."""
        formed_first = self._lock.groups.get(f"{self._service.cluster}{index}")
        return formed_first.formed if formed_first else None

    def _shares(self) -> dict[str, str | None]:
        """What each group of a cluster that they all are begins with."""
        in_order = sorted(self._groups.values(), key=lambda group: group.index)
        formed = {name for name in self._groups if self._was_formed(name)}
        return spanning.shares({group.name: self._begun(group.name) for group in in_order}, formed)

    def _next_id(self, name: str) -> int:
        """The id that the group gives next: one that was never used."""
        locked = self._lock.groups.get(name)
        return max(locked.next_id if locked else 0, *(each["id"] + 1 for each in self._groups[name].members))

    def _save(self, lock: Lock) -> None:
        if lock != self._lock and not self._check:
            self._lock = self._world.save(lock)

    def _step(self, name: str, deed: str) -> None:
        self.report.steps.append(self._say(name, deed))

    def _say(self, name: str, deed: str) -> str:
        """Tell what is done to a group; where several programs serve it, to which of them, named as on the hosts."""
        program = self._service.name
        line = f"{name}: {deed}" if name.startswith(program) else f"{name}_{program}: {deed}"
        self._world.say(line)
        return line

    def _refuse(self, name: str, code: str, sentence: str, **facts: str) -> None:
        """Note why a group is not brought further; an unreachable host is a matter of its own."""
        self._stopped.add(name)
        self._decisions[name] = Decision(Action.REFUSE, reason=sentence, code=code)
        refusal = Refusal(code, f"{name}: {sentence}", **facts)
        unreachable = [seen for seen in self.report.observations[name] if seen.state is State.UNREACHABLE]
        if code == "RS-061" and not any(seen.failed for seen in unreachable):
            self.report.unconverged.append(str(refusal))
        else:
            self.report.refusals.append(refusal)
        self._world.say(str(refusal))

    @staticmethod
    def _whole(observations: Sequence[Observation]) -> bool:
        return all(seen.state is State.JOINED for seen in observations)


def _present(group: Group, lock: Lock) -> Group:
    """The group without members that have left since the run read its inventory."""
    locked = lock.groups.get(group.name)
    known = {member.id for member in locked.members} if locked else set()
    return replace(
        group, members=tuple(each for each in group.members if not each.get("leaving") or each["id"] in known)
    )
