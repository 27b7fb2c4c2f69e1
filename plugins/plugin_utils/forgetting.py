# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What leaves management: a member, a group or a service of the lock. Nothing of it is stopped or removed.

Hosts forget first and the lock last: a run that was killed in between leaves members that the lock has and their hosts
do not remember, which any run takes back, and forgetting them is begun again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES, row_of
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import State
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.catalogue import IMPLIES
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing


@dataclass(frozen=True, slots=True)
class Leaving:
    """Members of a group that leave; `whole` where the group leaves with them."""

    group: str
    members: tuple[Member, ...]
    whole: bool

    @property
    def service(self) -> str:
        """Its service."""
        return self.group.partition("_")[0]


def leaving(names: Iterable[str], lock: Lock) -> list[Leaving]:
    """What these names mean: `postgres` a service, `postgres_shard2` a group, `postgres_shard2/3` a member.

    Raises Refusal RS-127 for a name that means nothing in the lock.
    """
    found: dict[str, set[int]] = {}
    for name in names:
        key, _slash, member = name.partition("/")
        groups = [group for group in lock.groups if group == key or (not member and group.startswith(f"{key}_"))]
        ids = {
            group: {each.id for each in lock.groups[group].members if not member or str(each.id) == member}
            for group in groups
        }
        if not any(ids.values()):
            known = ", ".join(lock.groups) or "nothing"
            raise Refusal("RS-127", f"The lock knows no {name}.", known=known)
        for group, those in ids.items():
            found.setdefault(group, set()).update(those)
    return [
        Leaving(
            key, tuple(each for each in group.members if each.id in found[key]), len(found[key]) == len(group.members)
        )
        for key, group in lock.groups.items()
        if found.get(key)
    ]


def check(those: Sequence[Leaving], lock: Lock, standing: Standing) -> None:
    """Refuse (RS-130) to forget what others stand on that stay: a service that another needs, a member that runs."""
    left = without(lock, those).groups
    for each in those:
        needing = [key for key in left if _stands_on(key, each)]
        if needing:
            raise Refusal(
                "RS-130",
                f"{', '.join(needing)} stands on {each.group}.",
                way=f"Forget {', '.join(dict.fromkeys(key.partition('_')[0] for key in needing))} as well, or neither.",
            )
        hosts = {member.host for member in each.members}
        running = (
            []
            if each.whole
            else [
                seen
                for (_service, group), members in standing.seen.items()
                if group == each.group
                for seen in members
                if seen.host in hosts and (seen.running or seen.state is State.JOINED)
            ]
        )
        if running:
            unit = Instance.of(each.group, running[0].member).unit
            raise Refusal(
                "RS-130",
                f"{running[0]} of {each.group} runs, and the others count on it.",
                way=f"retire.yml takes a member out. To forget it alone, end it first: systemctl disable --now {unit}",
            )


def _stands_on(key: str, other: Leaving) -> bool:
    """Whether a group needs another: its service does, or it is of the cluster that the other one forms."""
    row = row_of(key)
    cluster = row.cluster if row and row.cluster != row.component else None
    return other.service in IMPLIES.get(key.partition("_")[0], ()) or (
        cluster is not None and other.group.startswith(cluster)
    )


def require_answers(silent: Sequence[str]) -> None:
    """Refuse (RS-128) where hosts do not answer: they would remember what the lock has forgotten."""
    if silent:
        raise Refusal("RS-128", f"{', '.join(silent)} can't be reached.", hosts=", ".join(silent))


def helper(each: Leaving, standing: Standing) -> int | None:
    """The member that has its cluster forget one that leaves a group of voters; None where no such thing is done."""
    if each.whole:
        return None
    leaving_ids = {member.id for member in each.members}
    for (service, group), members in standing.seen.items():
        if group == each.group and SERVICES[service].gate == "quorum":
            serving = [seen for seen in members if seen.state is State.JOINED and seen.member not in leaving_ids]
            return min(serving, key=lambda seen: (not seen.leads, seen.member)).member if serving else None
    return None


def without(lock: Lock, those: Iterable[Leaving]) -> Lock:
    """The lock without what leaves. No index and no id is ever given again."""
    groups = dict(lock.groups)
    for each in those:
        if each.whole:
            del groups[each.group]
        else:
            stay = tuple(member for member in groups[each.group].members if member not in each.members)
            groups[each.group] = replace(groups[each.group], members=stay)
    return replace(lock, groups=groups)


def describe(those: Sequence[Leaving]) -> list[str]:
    """What is forgotten, and what that means, in words."""
    lines = []
    for each in those:
        members = ", ".join(f"{member.id} on {member.host}" for member in each.members)
        what = "the group with its members" if each.whole else "of the group the members"
        lines.append(f"{each.group} is forgotten: {what} {members}.")
    services = ", ".join(dict.fromkeys(each.service for each in those))
    return [
        *lines,
        "Nothing of it is stopped or removed: data, units, configuration and certificates stay, and start with their"
        " hosts.",
        "From now on no run looks at it, starts, repairs or restarts it, or renews its certificates. Its ports leave"
        " the firewall's table, and the balancers publish no group that is forgotten. patch.yml reboots its hosts like"
        " any other, and hands nothing over that it leads.",
        f"Take it out of the spec ({services}) as well, or the next run places others instead, under new names.",
        "There is no way back yet: nothing adopts what was forgotten (RS-129).",
    ]
