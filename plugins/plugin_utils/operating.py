# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator asks of a site's members: that a host be replaced or emptied, that members be spread anew.

Each is planned here, from how the site stands, as a lock that intends the moves and the lines that tell them; nothing
is written and nobody is asked. Pure but for the placement engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.rackspread.ha.plugins.module_utils.gate import healthy
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils import moving, spanning
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

Places = frozenset[tuple[str, int]]
"""Members, by their group's key and their id."""

LOST = (State.UNMOUNTED, State.LOST)
"""What a member is whose disk is another than it was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What shall be done.

    Args:
        lock: what is to be written before the first act.
        lines: what is told of it.
        moves: the members that go and come.
    """

    lock: Lock
    lines: tuple[str, ...]
    moves: tuple[moving.Move, ...] = ()

    @property
    def targets(self) -> list[str]:
        """The hosts that get members."""
        return sorted({move.new.host for move in self.moves if move.new})


def resumption(lock: Lock) -> Plan | None:
    """The plan to end moves that were begun; None where there are none."""
    if not moving.under_way(lock):
        return None
    moves = tuple(moving.moves(lock))
    return Plan(lock, ("Moves that were begun, and are gone on with:", *_told(moves)), moves)


def replacement(site: Site, standing: Standing, hosts: Collection[str]) -> Plan:
    """Have the members of hosts that are gone for good, or lost their disks, rebuilt where the placement names.

    A host that does not answer is given up. One that answers stays, with those of its members that have their data.

    Raises Refusal: RS-111 a host whose members serve, RS-112 too little is left, RS-114 no such host.
    """
    _check_hosts(site, hosts, "replace_hosts")
    lock, seen = site.lock, _members(standing)
    lost: set[tuple[str, int]] = set()
    away: list[str] = []
    for host in hosts:
        own = {place: those for place, those in seen.items() if those[0].host == host}
        answering = [place for place, those in own.items() if any(one.state is not State.UNREACHABLE for one in those)]
        if not answering:
            away.append(host)
        broken = [place for place, those in own.items() if any(one.state in LOST for one in those)]
        if answering and not broken:
            serving = ", ".join(f"{group}/{member}" for group, member in answering)
            raise Refusal("RS-111", f"{host} answers, and has the data of its members ({serving}).")
        lost |= set(broken if answering else own)
        if not answering:
            lost |= {(key, m.id) for key, group in lock.groups.items() for m in group.members if m.host == host}
    _check_rest(standing, frozenset(lost))
    placed = replace(site, lock=_without(lock, lost)).moved(0, away).placement
    intended = moving.intend(lock, placed, lost, away)
    return _plan(site, intended, "What is lost is rebuilt from the living:")


def retirement(site: Site, standing: Standing, hosts: Collection[str]) -> Plan:
    """Empty hosts on purpose: their members move to where the placement names, one after another.

    Raises Refusal: RS-114 no such host, RS-115 a site that is not whole.
    """
    _check_hosts(site, hosts, "retire_hosts")
    _check_whole(site.lock, standing)
    intended = moving.intend(site.lock, site.moved(0, hosts).placement, (), hosts)
    return _plan(site, intended, f"{', '.join(hosts)} is emptied, and gets nothing new:")


def rebalancing(site: Site, standing: Standing, limit: int | None) -> Plan:
    """Spread members and preferred leaders as evenly as if all were placed anew, or as a limit on moves allows.

    Raises Refusal RS-115 for a site that is not whole.
    """
    _check_whole(site.lock, standing)
    placed = site.moved(limit).placement
    plan = _plan(site, moving.intend(site.lock, placed), "Members move so that load and leaders are even:")
    told = [
        f"{component}: {made} moves; no way needs fewer than {least}."
        for component, (made, least) in sorted(placed.moves.items())
        if made
    ]
    return replace(plan, lines=(*plan.lines, *told, *_leaders(site.lock, plan.lock)))


def growth(site: Site, take_back: Collection[str] = (), standing: Standing | None = None) -> Plan:
    """What the spec and the inventory have come to ask for beyond what is there: shards, members, hosts; or of shards
    that share one whole, fewer.

    Args:
        site: as it is planned.
        take_back: hosts that were given up and may carry members again.
        standing: how it stands, where groups are to be taken away.

    Raises Refusal: RS-114 a host to be taken back that was not given up, RS-115 groups to be taken away from a site
    that is not whole.
    """
    lock = site.lock
    if unknown := sorted(set(take_back) - set(lock.given_up)):
        raise Refusal("RS-114", f"{', '.join(unknown)} was never given up.", key="scale_take_back")
    lines = [change["text"] for change in site.topology["changes"]]
    if take_back:
        lock = replace(lock, given_up=tuple(host for host in lock.given_up if host not in take_back))
        lines.append(f"{', '.join(take_back)} may carry members again, from the next run on.")
    if site.surplus:
        if standing:
            _check_whole(lock, standing)
        intended = moving.intend(lock, site.moved(0).placement)
        lock = replace(lock, groups={key: group for key, group in intended.groups.items() if key in lock.groups})
        lines.append(f"{', '.join(site.surplus)} hands all on to the others, and then its members leave:")
        lines += _told(moving.moves(lock, site.lock))
    lines += _slots(site)
    made = sum(made for made, _least in site.moved(None).placement.moves.values())
    if made:
        lines.append(f"{made} members would have to move for load and leaders to be even: rebalance.yml does that.")
    return Plan(lock, tuple(lines or ["There is nothing new in spec or inventory."]))


def _slots(site: Site) -> Iterable[str]:
    """What moves between groups that share one whole, where there are to be more or fewer of them."""
    for row in (row for row in SERVICES.values() if row.spans):
        there = sum(key.startswith(row.component) and bool(group.formed) for key, group in site.lock.groups.items())
        asked = sum(of.groups for of in site.demands if of.component == row.component)
        if there and there != asked:
            count = spanning.shifted(there, asked)
            yield f"{count} slots of {row.name} move, from {there} shards to {asked}, while clients are served."


def _plan(site: Site, intended: Lock, title: str) -> Plan:
    known = {key: group for key, group in intended.groups.items() if key in site.lock.groups}
    # What is new to the site is placed, and given its index, by the run itself.
    intended = replace(intended, groups=known, components=site.lock.components)
    moves = tuple(moving.moves(intended, site.lock))
    beside = [change["text"] for change in site.topology["changes"] if change["change"] == "new group"]
    lines = [title, *_told(moves)] if moves else ["No member has to move."]
    if beside:
        lines += ["Beside that, as any run would, since the spec asks for it:", *(f"  {text}" for text in beside)]
    return Plan(intended, tuple(lines), moves)


def _told(moves: Sequence[moving.Move]) -> list[str]:
    lines = [f"  {move}" for move in moves]
    if any(move.old and move.new and not move.gone for move in moves):
        lines.append("One after another: the new one is whole before the old one stops, whose data stays on its host.")
    return lines


def _leaders(before: Lock, after: Lock) -> Iterable[str]:
    """The groups that are to be led elsewhere than the lock had it."""
    for key, group in sorted(after.groups.items()):
        old, new = (next((m for m in each.members if m.leader), None) for each in (before.groups[key], group))
        if old and new and old.host != new.host:
            yield f"{key} is to be led on {new.host}, and not on {old.host}."


def _members(standing: Standing) -> Mapping[tuple[str, int], list[Observation]]:
    """Every member, with what was seen of each of its programs."""
    found: dict[tuple[str, int], list[Observation]] = {}
    for (_service, group), members in standing.seen.items():
        for seen in members:
            found.setdefault((group, seen.member), []).append(seen)
    return found


def _without(lock: Lock, lost: Collection[tuple[str, int]]) -> Lock:
    """The lock without members, whose ids are never given again."""
    groups = {
        key: replace(group, members=tuple(m for m in group.members if (key, m.id) not in lost))
        for key, group in lock.groups.items()
    }
    return replace(lock, groups=groups)


def _check_hosts(site: Site, hosts: Collection[str], key: str) -> None:
    if not hosts:
        raise Refusal("RS-114", "No host is named.", key=key)
    if unknown := sorted(set(hosts) - site.hosts.keys()):
        raise Refusal("RS-114", f"{', '.join(unknown)} stands in no rack of this site.", key=key)


def _check_whole(lock: Lock, standing: Standing) -> None:
    """Refuse to move what lives while something else is missing; what is yet to be built is not."""
    known = {key: seen for key, seen in standing.seen.items() if key[1] in lock.groups}
    if ailments := replace(standing, seen=known).ailments():
        raise Refusal("RS-115", f"Nothing is moved while {'; '.join(ailments)}.")


def _check_rest(standing: Standing, lost: Places) -> None:
    """Refuse where those that are left could not take another in: no majority, no leader, nobody."""
    for (service, group), members in standing.seen.items():
        row = SERVICES[service]
        gone = [seen for seen in members if (group, seen.member) in lost]
        rest = [seen for seen in members if seen not in gone]
        up = [seen for seen in rest if seen.state is State.JOINED]
        if not gone or (not row.stateful and up):
            continue
        enough = {
            "quorum": len(up) > len(members) // 2,
            "in_sync": any(seen.leads for seen in up),
            "copies": bool(up),
            "any_other": bool(up),
        }[row.gate]
        whole = healthy(group, rest, row.gate)
        if not enough or not whole:
            hosts = ", ".join(seen.host for seen in members)
            why = whole.reason if not whole else f"the others of {group} have no majority"
            raise Refusal("RS-112", f"{group} can't be rebuilt: {why}.", hosts=hosts)
