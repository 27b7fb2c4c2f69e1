# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a group needs next, from what was seen of its members: pure functions, no connection, no clock.

`classify` puts one member into one of ten states; `decide` names one step for the group. Whoever takes the step looks
at every member again before asking for the next. Forming is the one step that could destroy: it is named only where
every member was seen, and nobody, neither lock nor record nor a living cluster, ever saw the group formed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils.services import Service
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock, LockedGroup


class State(StrEnum):
    """What a member can be."""

    UNREACHABLE = "unreachable"
    UNMOUNTED = "unmounted"
    LOST = "lost"
    EMPTY = "empty"
    LEFTOVERS = "leftovers"
    HALF_FORMED = "half_formed"
    STOPPED = "stopped"
    FORMED = "formed"
    FOREIGN = "foreign"
    JOINED = "joined"


class Action(StrEnum):
    """The steps that `decide` can name, and two for members that go (moving.py)."""

    FORM = "form"
    START = "start"
    WAIT = "wait"
    REPAIR = "repair"
    JOIN = "join"
    EXPEL = "expel"
    RETIRE = "retire"
    NOTHING = "nothing"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Known:
    """What the site's lock knows of a group.

    Args:
        group: its key.
        site_id: the lock's.
        intent: `{formation_id, cluster_id, directory_ids}`, None before the first formation was begun.
        formed: the cluster id (a word where the service has none), None as long as it was never seen formed.
    """

    group: str
    site_id: str
    intent: Mapping[str, Any] | None = None
    formed: str | None = None

    @classmethod
    def of(cls, lock: Lock, group: str) -> Known:
        """What a lock knows of the group of this key, which need not be in it."""
        locked = lock.groups.get(group) or LockedGroup(0, 0, ())
        return cls(group, lock.site_id or "", locked.intent, locked.formed)


@dataclass(frozen=True, slots=True)
class Observation:
    """One member as one look found it; the fields are those of docs/architecture.md.

    `found` is `{state: empty | leftovers | half_formed | data | unmounted, cluster_id, marker, detail}`, `live` is
    `{cluster_id, role, healthy, members, in_sync, pending_restart, leader_first, unsettled, unfinished, detail}` or
    None,
    `volume` is `{uuid, path, mounted}` or None, `need` is one of nothing, reload, restart, start. `leaving` says that
    another member takes over from it, `retired` that its host has put it away already, `bearing` that a program of the
    same member stands on it (Driver.bears), `asked` that a restart of it was asked for; `passwords` is the change and
    phase of the passwords that it runs with (passwords.py).
    """

    member: int
    host: str
    reachable: bool = True
    running: bool = False
    found: Mapping[str, Any] = field(default_factory=dict)
    live: Mapping[str, Any] | None = None
    record: Mapping[str, Any] | None = None
    site_id: str | None = None
    machine_id: str | None = None
    volume: Mapping[str, Any] | None = None
    need: str = "nothing"
    staged: str | None = None
    detail: str = ""
    failed: bool = False
    rack: str = ""
    preferred: bool = False
    leaving: bool = False
    retired: bool = False
    bearing: bool = False
    asked: bool = False
    passwords: str = ""
    state: State = State.UNREACHABLE

    @classmethod
    def from_answer(cls, member: Mapping[str, Any], answer: Mapping[str, Any]) -> Observation:
        """Make one of a member (M, as the lock has it) and what the look on its host answered."""
        names = (
            "running", "found", "live", "record", "site_id", "machine_id", "volume", "need", "staged", "detail",
            "retired", "bearing", "asked", "passwords",
        )  # fmt: skip
        given = {name: answer[name] for name in names if answer.get(name) is not None}
        return cls(
            member=member["id"],
            host=member["host"],
            rack=member.get("rack", ""),
            preferred=bool(member.get("leader")),
            leaving=bool(member.get("leaving")),
            **given,
        )

    @classmethod
    def unreachable(cls, member: Mapping[str, Any], detail: str, failed: bool = False) -> Observation:
        """What is known of a member whose host did not answer; or did, but could not look (`failed`)."""
        return replace(cls.from_answer(member, {"detail": detail}), reachable=False, failed=failed)

    def as_(self, state: State) -> Observation:
        """The same observation, classified."""
        return replace(self, state=state)

    def tells(self, name: str, default: Any = None) -> Any:
        """What the running daemon said under this name, `default` where it said nothing."""
        value = (self.live or {}).get(name)
        return default if value is None else value

    @property
    def disk(self) -> str:
        """What lies on the disk: empty, leftovers, half_formed, data, or unmounted where it does in part."""
        return self.found.get("state") or "empty"

    @property
    def leads(self) -> bool:
        """Whether the member is its group's leader (or holds the VIP) now."""
        return self.tells("role") == "leader"

    @property
    def counted(self) -> frozenset[int]:
        """The ids of the members that this member's cluster counts."""
        return frozenset(self.tells("members", ()))

    @property
    def unfinished(self) -> bool:
        """Whether it runs half formed, and waits for the step that was cut short to be taken again."""
        return self.state is State.HALF_FORMED and bool(self.tells("unfinished", False))

    @property
    def wants_roll(self) -> bool:
        """Whether something staged, or the daemon itself, asks for a reload or restart."""
        return self.need in ("reload", "restart")

    def __str__(self) -> str:
        return f"member {self.member} on {self.host}"


@dataclass(frozen=True, slots=True)
class Decision:
    """One step for one group.

    Args:
        action: what to do.
        members: the ids it is done to, in order; empty for `nothing`.
        reason: a sentence for the operator.
        code: of a refusal, a key of `refusals.REFUSALS`.
        facts: what that code's remedy asks for.
    """

    action: Action
    members: tuple[int, ...] = ()
    reason: str = ""
    code: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def classify(seen: Observation, known: Known) -> State:
    """The state of a member that keeps data."""
    if not seen.reachable:
        return State.UNREACHABLE
    record = seen.record or {}
    if seen.site_id not in (None, known.site_id):
        return State.FOREIGN
    if seen.disk == "unmounted" or not _volume_is_there(record.get("volume"), seen.volume):
        return State.UNMOUNTED
    if seen.disk == "leftovers":
        return State.LEFTOVERS
    intent = known.intent or record.get("intent")
    if seen.disk == "empty":
        if seen.running and (intent or known.formed or record.get("formed")):
            return State.HALF_FORMED
        return State.LOST if record.get("formed") else State.EMPTY
    if not _is_ours(seen, known, intent):
        return State.FOREIGN
    if seen.running and seen.member in seen.counted and seen.tells("healthy", False):
        return State.JOINED
    if seen.disk == "half_formed" or not (known.formed or record.get("formed")):
        return State.HALF_FORMED
    return State.FORMED if seen.running else State.STOPPED


def classify_stateless(seen: Observation) -> State:
    """The state of a member without data: it serves, it runs without serving, or it does not run."""
    if not seen.reachable:
        return State.UNREACHABLE
    if not seen.running:
        return State.STOPPED
    return State.JOINED if seen.tells("healthy", False) else State.FORMED


def classified(observations: Sequence[Observation], known: Known, service: Service) -> list[Observation]:
    """All members of a group with their states."""
    return [seen.as_(classify(seen, known) if service.stateful else classify_stateless(seen)) for seen in observations]


def decide(group: str, observations: Sequence[Observation], formed_before: bool, service: Service) -> Decision:
    """The next step of a group.

    Args:
        group: its key, for sentences.
        observations: every member of it, each classified, all of one look.
        formed_before: whether the lock or any record says that the group was ever formed.
        service: the row of the group's service.

    The rules stand in docs/architecture.md in this order; tests/unit/decisions.tsv has the answer for all states.
    """
    by_state = {state: [seen for seen in observations if seen.state is state] for state in State}

    for state, code, sentence in (
        (State.FOREIGN, "RS-060", "{who} holds data or a record of another cluster or site{detail}."),
        (State.UNREACHABLE, "RS-061", "{who} can't be reached{detail}."),
        (State.UNMOUNTED, "RS-062", "{who} misses the volume of its data{detail}."),
        (State.LEFTOVERS, "RS-063", "{who} has files where its data should go{detail}."),
    ):
        if those := by_state[state]:
            return _refuse(code, sentence.format(who=_names(those), detail=_details(those)), those)

    joined = by_state[State.JOINED]
    if not (formed_before or joined or by_state[State.LOST] or by_state[State.STOPPED] or by_state[State.FORMED]):
        return _form(observations, by_state[State.HALF_FORMED], service)

    if all(seen.state in (State.LOST, State.EMPTY) for seen in observations):
        sentence = "it was formed, and now all its disks are blank: a failed mount or a loss of data, no new group."
        return _refuse("RS-066", sentence, observations)

    voting = service.gate == "quorum"
    lost = by_state[State.LOST]
    remaining = len(observations) - len(lost) - len(by_state[State.EMPTY])
    if voting and lost and remaining <= len(lost):  # starting them would only wait for ever
        return _refuse("RS-067", f"{_names(lost)} lost data, and the others are no majority.", lost)

    halted = [seen for seen in observations if seen.state in (State.STOPPED, State.HALF_FORMED) and not seen.running]
    if halted:
        how = "stopped, with data" if service.stateful else "not running"
        return Decision(Action.START, _ids(halted), f"{_names(halted)} {how}")
    waiting = [seen for seen in observations if seen.state in (State.FORMED, State.HALF_FORMED) and not seen.unfinished]
    if waiting:
        return Decision(Action.WAIT, _ids(waiting), f"{_names(waiting)} not joined yet{_details(waiting)}", "RS-068")

    counted = frozenset[int]().union(*(seen.counted for seen in joined))
    fresh = [
        seen
        for seen in observations
        if seen.unfinished or (seen.state is State.EMPTY and not (voting and seen.member in counted))
    ]
    # A voter that its cluster counts and whose disk is blank must not come back as if it remembered.
    missing = [seen for seen in observations if seen.state in (State.LOST, State.EMPTY) and seen not in fresh]
    if len(missing) > 1:
        return _refuse("RS-067", f"{_names(missing)} lost their data.", missing)
    if (missing or fresh) and (lack := _lacks(joined, counted, service)):
        return _refuse("RS-065", f"{_names(missing + fresh)} can't join: the others have {lack}.", missing + fresh)
    if missing:
        return Decision(Action.REPAIR, _ids(missing), f"{_names(missing)} lost its data, all others are joined")
    if fresh:
        fresh = fresh if service.joins == "side_by_side" else fresh[:1]
        what = "half formed" if any(seen.unfinished for seen in fresh) else "empty"
        return Decision(Action.JOIN, _ids(fresh), f"{_names(fresh)} {what}, the group is formed")
    return Decision(Action.NOTHING, reason="all members are joined")


def intents(observations: Iterable[Observation], known: Known) -> dict[str, Mapping[str, Any]]:
    """Every intent that the lock or a host's record holds, by its formation id."""
    all_of_them = [known.intent, *((seen.record or {}).get("intent") for seen in observations)]
    return {intent["formation_id"]: intent for intent in all_of_them if intent}


def was_formed(observations: Iterable[Observation], known: Known) -> bool:
    """Whether anybody ever saw the group formed: the lock, or the record of any host."""
    return bool(known.formed) or any((seen.record or {}).get("formed") for seen in observations)


def _form(observations: Sequence[Observation], begun: Sequence[Observation], service: Service) -> Decision:
    """A group that was never formed, all of whose members are empty or half formed."""
    recorded = {intent["formation_id"] for seen in observations if (intent := (seen.record or {}).get("intent"))}
    if len(recorded) > 1:
        sentence = f"its members were begun under different intents ({', '.join(sorted(recorded))})."
        return _refuse("RS-064", sentence, observations)
    if service.forms == "together":
        chosen = list(observations)
    else:  # Where it was begun it must be ended; else the leader that the placement prefers comes first.
        chosen = [min(begun or observations, key=lambda seen: (not seen.preferred, seen.member))]
    if idle := [seen for seen in chosen if not seen.running or seen.unfinished]:
        reason = f"resumes, {_names(begun)} half formed" if begun else f"{len(observations)} members, all empty"
        return Decision(Action.FORM, _ids(idle), reason)
    return Decision(Action.WAIT, _ids(chosen), f"{_names(chosen)} not formed yet{_details(chosen)}", "RS-068")


def _lacks(joined: Sequence[Observation], counted: frozenset[int], service: Service) -> str:
    """What keeps the joined members from taking another one in; nothing where they can."""
    if service.gate == "quorum":
        return "" if len(joined) > len(counted) // 2 else "no majority"
    if service.gate == "copies":
        return "" if joined else "nobody who serves"
    return "" if any(seen.leads for seen in joined) else "no leader"


def _volume_is_there(recorded: Mapping[str, Any] | None, seen: Mapping[str, Any] | None) -> bool:
    """Whether the volume that the record names, if it names one, is the one under the data folder."""
    if not recorded or not recorded.get("uuid"):
        return True
    return bool(seen and seen.get("mounted") and seen.get("uuid") == recorded["uuid"])


def _is_ours(seen: Observation, known: Known, intent: Mapping[str, Any] | None) -> bool:
    """Whether the data on the disk, and the cluster that answers from it, is this member's own.

    The marker in the data folder proves it, or a cluster id that lock or record know; and nothing may speak against it.
    """
    expected = {known.formed, (seen.record or {}).get("formed"), (intent or {}).get("cluster_id")} - {None, ""}
    told = {seen.found.get("cluster_id"), seen.tells("cluster_id")} - {None, ""}
    if len(expected) > 1 or len(told) > 1 or (expected and told - expected):
        return False
    marker = seen.found.get("marker")
    if marker:
        wanted = {"site_id": known.site_id, "group": known.group, "member": seen.member}
        if any(marker.get(name) != value for name, value in wanted.items()):
            return False
        formation = (intent or {}).get("formation_id")
        return formation is None or marker.get("formation_id") in (None, formation)
    return bool(expected and told)


def _ids(observations: Iterable[Observation]) -> tuple[int, ...]:
    return tuple(seen.member for seen in observations)


def _names(observations: Sequence[Observation]) -> str:
    return " and ".join(str(seen) for seen in observations)


def _details(observations: Sequence[Observation]) -> str:
    """What the members themselves said, or what volume they miss, in brackets."""
    said = [text for seen in observations if (text := _missing_volume(seen) or seen.detail)]
    return f" ({'; '.join(said)})" if said else ""


def _missing_volume(seen: Observation) -> str:
    """Which volume is not where the record has it."""
    volume = (seen.record or {}).get("volume")
    if seen.state is not State.UNMOUNTED or not volume or seen.disk == "unmounted":
        return ""
    return f"{volume['uuid']} is not mounted at {volume.get('path')}"


def _refuse(code: str, sentence: str, those: Sequence[Observation]) -> Decision:
    facts = {"hosts": ", ".join(dict.fromkeys(seen.host for seen in those))}
    return Decision(Action.REFUSE, _ids(those), sentence, code, facts)
