# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at members of groups, each on its own host, all at once: what is asked, and what is made of the answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Answer, Call

LOOK_SECONDS = 60

Seen = dict[tuple[str, str], list[Observation]]
"""By the service's row and the group's key every member, in the order of the group."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Groups that one service's modules are asked about.

    Args:
        service: a row of services.SERVICES, by name.
        groups: `{name, index, members: [M]}` each.
        root: the data root of a host; None for a service without data.
        program: where several programs share a group.
        settings, secrets: what the service's drivers go by.
    """

    service: str
    groups: Sequence[Mapping[str, Any]]
    root: Callable[[str], str | None]
    program: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Any] = field(default_factory=dict)

    def instance(self, group: Mapping[str, Any], member: Mapping[str, Any]) -> Instance:
        """The instance of a member, by the names that everything follows."""
        return Instance.of(group["name"], member["id"], self.root(member["host"]), self.program)

    def described(self, group: Mapping[str, Any], member: Mapping[str, Any], lock: Lock) -> dict[str, Any]:
        """How the modules on the hosts are told of a member."""
        instance = self.instance(group, member)
        locked = lock.groups.get(group["name"])
        whole = {
            **group,
            "intent": locked and locked.intent,
            "formed": locked and locked.formed,
            "next_id": locked.next_id if locked else max(each["id"] for each in group["members"]) + 1,
            "gone": [each.to_dict() for each in locked.gone] if locked else [],
        }
        return {
            "group": whole,
            "member": member["id"],
            "unit": instance.unit,
            "data": instance.data,
            "program": self.program,
        }

    def call(self, host: str, kind: str, arguments: Mapping[str, Any], seconds: float) -> Call:
        """A call of the service's module of a kind, `info` or `member`."""
        common = {"settings": self.settings, "secrets": self.secrets}
        modules = SERVICES[self.service].modules or self.service
        return Call(host, f"rackspread.ha.{modules}_{kind}", {**arguments, **common}, seconds)

    def act(
        self, group: str, member: int, operation: str, lock: Lock, arguments: Mapping[str, Any], seconds: float
    ) -> Call:
        """An operation of the service's member module, on the host of a member of one of these groups."""
        whole = next(each for each in self.groups if each["name"] == group)
        locked = lock.groups.get(group)
        gone = [each.to_dict() for each in locked.gone] if locked else []
        own = next(each for each in (*whole["members"], *gone) if each["id"] == member)
        known = {"operation": operation, "site_id": lock.site_id, "generation": lock.generation}
        described = self.described(whole, own, lock)
        return self.call(own["host"], "member", {**described, **arguments, **known}, seconds)


def look(
    run: Callable[[Sequence[Call]], list[Answer]], asked: Sequence[Asked], lock: Lock, seconds: float = LOOK_SECONDS
) -> Seen:
    """Look at every member that is asked about: one call a host and service. Not classified yet.

    Args:
        run: makes calls, as Remote.run does.
        asked: about what.
        lock: the site's.
        seconds: the most that a host may take.
    """
    calls: list[Call] = []
    places: list[list[tuple[Asked, Mapping[str, Any], Mapping[str, Any]]]] = []
    for each in asked:
        by_host: dict[str, list[tuple[Asked, Mapping[str, Any], Mapping[str, Any]]]] = defaultdict(list)
        for group in each.groups:
            for member in group["members"]:
                by_host[member["host"]].append((each, group, member))
        for host, those in by_host.items():
            instances = [each.described(group, member, lock) for _asked, group, member in those]
            calls.append(each.call(host, "info", {"instances": instances}, seconds))
            places.append(those)
    found: dict[tuple[str, str, int], Observation] = {}
    for those, answer in zip(places, run(calls), strict=True):
        for each, group, member in those:
            instance = each.instance(group, member).group
            found[each.service, group["name"], member["id"]] = _observation(instance, member, answer)
    return {
        (each.service, group["name"]): [found[each.service, group["name"], m["id"]] for m in group["members"]]
        for each in asked
        for group in each.groups
    }


def _observation(instance: str, member: Mapping[str, Any], answer: Answer) -> Observation:
    seen = answer.result.get("members", {}).get(instance)
    if answer.unreachable or answer.failed or seen is None:
        return Observation.unreachable(
            member, answer.message or "the look had no answer", failed=not answer.unreachable
        )
    return Observation.from_answer(member, seen)
