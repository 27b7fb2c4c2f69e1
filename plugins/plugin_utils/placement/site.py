# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site: spec, hosts, lock and placement together, and the shapes in which the rest of the project reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ..lock import Lock
from ..refusals import Refusal
from .bounds import bounds
from .catalogue import BY_ID, fronted
from .engine import place
from .hosts import racks_of, resolve
from .kept import changes, dissolves, with_leaving
from .model import Demand, Group, Host, Placement
from .page import Picture
from .spec import Spec
from .survival import bodies_of, survives
from .vips import check_vips


@dataclass(frozen=True)
class Site:
    """A site that was planned.

    `demands` are what its spec asks of the engine, `state` is the path of its state folder (`<inventory>/.rackspread`).
    """

    name: str
    spec: Spec
    hosts: Mapping[str, Host]
    lock: Lock
    placement: Placement
    state: str
    demands: tuple[Demand, ...] = ()

    def moved(self, moves: int | None, lost: Collection[str] = ()) -> Site:
        """The site after moves and without lost hosts, as `engine.place` makes it; nothing is written."""
        able = [replace(of, hosts=tuple(name for name in of.hosts if name not in lost)) for of in self.demands]
        placement = place(able, self.hosts.values(), self.lock, lost=lost, moves=moves)
        return replace(self, placement=placement, demands=tuple(able))

    @property
    def surplus(self) -> list[str]:
        """The groups that the lock has beyond those that the spec asks for, and that nobody has told to leave yet."""
        asked = {of.component: of.groups for of in self.demands}
        there: dict[str, list[str]] = defaultdict(list)
        for key, group in sorted(self.lock.groups.items(), key=lambda item: item[1].index):
            if not dissolves(group):
                there[key.removesuffix(str(group.index))].append(key)
        return [key for component, keys in there.items() for key in keys[asked[component] :]]

    def check_surplus(self) -> None:
        """Refuse (RS-018) a site with more groups than are asked for: only scale.yml takes them away, when asked."""
        surplus = self.surplus
        for of in self.demands:
            if those := [key for key in surplus if key.startswith(of.component)]:
                raise Refusal(
                    "RS-018",
                    f"The spec asks for {of.groups} groups {of.component}, and there is {', '.join(those)} beside:"
                    " scale.yml takes it away.",
                    key=of.groups_key,
                    live=of.groups + len(those),
                )

    def bounds(self) -> list[dict[str, Any]]:
        """How good the placement is beside the best that could be had, see `bounds.bounds`."""
        return bounds(self.demands, self.hosts.values(), self.placement)

    def survival(self) -> dict[str, Any]:
        """What the placement survives, see `survival.survives`."""
        return survives(bodies_of({"name": key, **group} for key, group in self._groups.items()))

    @cached_property
    def topology(self) -> dict[str, Any]:
        """The whole site as plain data: what the lookup `rackspread.ha.topology` answers (docs/placement.md)."""
        racks: dict[str, list[str]] = defaultdict(list)
        for host in self.hosts.values():
            racks[host.rack].append(host.name)
        return {
            "site": self._identity,
            "state": self.state,
            "racks": dict(racks),
            "hosts": {host.name: {"rack": host.rack, "address": host.address} for host in self.hosts.values()},
            "groups": self._groups,
            "settings": {service: dict(settings) for service, settings in self.spec.settings.items()},
            "changes": changes(self.lock, self.placement),
        }

    def picture(self) -> Picture:
        """What a page of the site shows; before is what the lock has."""
        before = {key: [member.to_dict() for member in group.members] for key, group in self.lock.groups.items()}
        topology = self.topology
        return Picture(
            title=f"Site {self.name}",
            racks=topology["racks"],
            groups={key: group["members"] for key, group in self._groups.items()},
            before=before or None,
            changes=[change["text"] for change in topology["changes"]] if before else [],
            bounds=self.bounds(),
            survival=self.survival(),
            moves=self.placement.moves,
            notes={host.name: host.address or "" for host in self.hosts.values()},
        )

    def slice(self, host: str) -> dict[str, Any]:
        """The `rackspread` variable of a host: its own instances, and the groups that it carries or fronts.

        Raises KeyError where no such host stands in a rack.
        """
        there = self.hosts[host]
        own = self._carried.get(host, [])
        keys = {group.key for group, _id in own}.union(*(self._behind[group.component] for group, _id in own))
        return {
            "site": self._identity,
            "host": host,
            "rack": there.rack,
            "instances": [self._instance(there, group, id) for group, id in own],
            "groups": {key: self._groups[key] for key in sorted(keys, key=self._order.__getitem__)},
        }

    def computed_groups(self) -> dict[str, dict[str, dict[str, list[str]]]]:
        """The inventory groups to make: `rs_postgres` -> `rs_postgres_shard` -> `rs_postgres_shard1` -> its hosts."""
        tree: dict[str, dict[str, dict[str, list[str]]]] = {}
        for key, group in self._ordered:
            components = tree.setdefault(f"rs_{BY_ID[group.component].service}", {})
            groups = components.setdefault(f"rs_{group.component}", {})
            groups[f"rs_{key}"] = [member.host for member in group.members]
        return tree

    @property
    def _identity(self) -> dict[str, Any]:
        return {"id": self.lock.site_id, "name": self.name}

    @cached_property
    def _ordered(self) -> list[tuple[str, Group]]:
        rank = {component: place for place, component in enumerate(BY_ID)}
        return sorted(self.placement.groups.items(), key=lambda item: (rank[item[1].component], item[1].index))

    @cached_property
    def _order(self) -> dict[str, int]:
        return {key: place for place, (key, _group) in enumerate(self._ordered)}

    @cached_property
    def _carried(self) -> dict[str, list[tuple[Group, int]]]:
        """Host -> the groups that it carries, with the id of its member in each."""
        carried: dict[str, list[tuple[Group, int]]] = defaultdict(list)
        for _key, group in self._ordered:
            for member in group.members:
                carried[member.host].append((group, member.id))
        return dict(carried)

    @cached_property
    def _behind(self) -> dict[str, list[str]]:
        """Component -> the groups whose clients its members pass on."""
        keys: dict[str, list[str]] = defaultdict(list)
        for key, group in self._ordered:
            keys[group.component].append(key)
        return {id: [key for other in fronted(BY_ID[id]) for key in keys.get(other, ())] for id in keys}

    @cached_property
    def _groups(self) -> dict[str, dict[str, Any]]:
        return {
            key: {
                "service": BY_ID[group.component].service,
                "component": BY_ID[group.component].name,
                "index": group.index,
                "members": [member.to_dict() for member in group.members],
            }
            for key, group in self._ordered
        }

    @staticmethod
    def _instance(host: Host, group: Group, member: int) -> dict[str, Any]:
        component = BY_ID[group.component]
        return {
            "group": group.key,
            "member": member,
            "unit": f"rackspread-{component.service}-{component.name}{group.index}",
            "data": host.data(component.service, group.key),
        }


def plan(
    spec: Spec,
    groups: Mapping[str, Iterable[str]],
    variables: Mapping[str, Mapping[str, Any]],
    lock: Lock,
    state: str,
    name: str,
) -> Site:
    """Plan a site.

    Args:
        spec: what is asked for.
        groups: the inventory's groups with all their hosts.
        variables: host -> its variables, at least those of `hosts.VARIABLES`.
        lock: what is there already.
        state: the path of the state folder.
        name: the site's name where the spec gives none.

    Raises Refusal, the codes RS-001 to RS-021.
    """
    hosts = resolve(racks_of(spec.racks, groups, variables), variables)
    demands = tuple(replace(ask.demand(hosts, groups), rack_first=spec.rack_first) for ask in spec.asks)
    if lock.given_up:
        demands = tuple(
            replace(of, hosts=tuple(name for name in of.hosts if name not in lock.given_up)) for of in demands
        )
    placement = with_leaving(place(demands, hosts.values(), lock), hosts, lock)
    _check_ports(placement)
    for group in placement.groups.values():
        if group.component == "edge_balancer":
            check_vips(spec.settings["edge"]["vips"], group.members, hosts)
    return Site(spec.site or name, spec, hosts, lock, placement, state, demands)


def _check_ports(placement: Placement) -> None:
    """Refuse (RS-025) a port taken twice on a host: the lock's groups keep the ports of another time."""
    taken: dict[tuple[str, int], str] = {}
    for group in placement.groups.values():
        for member in group.members:
            for port in member.ports.values():
                other = taken.setdefault((member.host, port), group.key)
                if other != group.key:
                    one, other = sorted((other, group.key))
                    raise Refusal("RS-025", f"{one} and {other} would both have port {port} on {member.host}.")


def check_built(topology: Mapping[str, Any]) -> None:
    """Refuse (RS-023) a site that asks for what no role builds yet; `plan.yml` shows it, `site.yml` stops here."""
    asked = {f"{group['service']}_{group['component']}" for group in topology["groups"].values()}
    missing = [component.id for component in BY_ID.values() if component.id in asked and not component.roles]
    if missing:
        raise Refusal("RS-023", f"The spec asks for {', '.join(missing)}, and no role builds that yet.")
