# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: placement
short_description: Place the members of highly available services on hosts in racks
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Reads a spec, a file whose name ends in C(rackspread.yml), and computes on which host every member of every service
    goes. No two members of a group share a host, as few as possible share a rack, and preferred leaders are rotated
    over racks.
  - The hosts themselves stand in another source that is parsed before the spec, such as C(hosts.yml) in its folder.
  - Adds the groups C(rs_<service>), C(rs_<service>_<component>) and C(rs_<service>_<component><n>), and gives each host
    that stands in a rack the variable C(rackspread) with its own part of the placement, which is
    P(rackspread.ha.slice#lookup) of its name.
  - Members that the lock (C(.rackspread/lock.yml) beside the spec) names stay where they are. Parsing never writes it.
options:
  plugin:
    description: The name of this plugin.
    required: true
    type: str
    choices: [rackspread.ha.placement]
  site:
    description: The name of the site. The name of the inventory's folder where it is not given.
    type: str
  racks:
    description: A pattern over the names of inventory groups, or a list of them. Each group is a rack.
    type: raw
    default: rack*
  rack_first:
    description:
      - Whether members are spread over racks before the domains that hold racks, which the host variable
        C(rackspread_within) names. The outermost come first where it is not set.
    type: bool
    default: false
  services:
    description:
      - The services of the site, a mapping of service to what is asked of it.
      - Known are C(etcd), C(postgres), C(redis), C(elasticsearch), C(mongodb), C(kafka) and C(edge).
      - Each takes its counts, the patterns C(hosts) and C(exclude) over hosts and groups, C(weight) in MiB a member,
        C(clients), a list of networks, and C(failover), one of C(fast), C(standard) and C(cautious).
      - A count may be a mapping of C(count) and what is said of placing for the one component, with C(ports) too, a
        range such as C(20000-29999).
    type: dict
    required: true
  use_vars_plugins:
    description:
      - Whether to read C(group_vars) and C(host_vars) folders too, as P(ansible.builtin.constructed#inventory) can.
    type: bool
    default: true
notes:
  - Of a host's variables it reads C(rackspread_address) (else C(ansible_host)), C(rackspread_rack),
    C(rackspread_within), C(rackspread_capacity) in MiB, C(rackspread_data_root) and C(rackspread_data_roots). Where no
    capacity is given it is the host's memory, if facts of it are cached (C(ansible_memtotal_mb)).
"""

EXAMPLES = r"""
# inventories/example/services.rackspread.yml
plugin: rackspread.ha.placement
racks: rack*
services:
  edge: {balancers: 2, vips: [192.0.2.100/24]}
  postgres: {shards: 2, members: 3}
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.group import Group
from ansible.inventory.helpers import sort_groups
from ansible.inventory.host import Host
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.plugins.loader import cache_loader
from ansible.template import trust_as_template
from ansible.vars.plugins import get_vars_from_inventory_sources
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.hosts import VARIABLES
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site, plan
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.spec import parse
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

SLICE = trust_as_template("{{ lookup('rackspread.ha.slice', inventory_hostname) }}")


class InventoryModule(BaseInventoryPlugin):
    """Translates between Ansible's inventory and the engine."""

    NAME = "rackspread.ha.placement"

    def verify_file(self, path: str) -> bool:
        """Whether a file is a spec, by its name."""
        return super().verify_file(path) and path.endswith(("rackspread.yml", "rackspread.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Plan the site and add it to the inventory; refuse where that cannot be."""
        super().parse(inventory, loader, path, cache)
        try:
            site = self._plan(path)
        except Refusal as refusal:
            current.remember(refusal)
            raise AnsibleParserError(str(refusal)) from refusal
        current.remember(site)
        self._add(site)

    def _plan(self, path: str) -> Site:
        try:
            data = plain(self._read_config_data(path))
        except AnsibleError as error:
            raise Refusal("RS-001", f"{path} can't be read as a spec: {error}") from error
        spec = parse(data)
        hosts: dict[str, Host] = self.inventory.hosts
        if any("rackspread" in host.vars for host in hosts.values()):
            raise Refusal("RS-024", f"{path} is read, and another spec has placed members on its hosts already.")
        groups = {name: [host.name for host in group.get_hosts()] for name, group in self.inventory.groups.items()}
        groups["all"] = list(hosts)  # Ansible completes it only after the last source
        sources = self.inventory.processed_sources if self.get_option("use_vars_plugins") else ()
        layers = _Layers(self.loader, sources, self.inventory.groups["all"])
        facts = cache_loader.get(constants.CACHE_PLUGIN)
        variables = {
            name: self._variables([*layers.of(host), *([facts.get(name)] if facts.contains(name) else [])], name)
            for name, host in hosts.items()
        }
        where = lock.path_for(path)
        return plan(spec, groups, variables, lock.read(where), str(where.parent), Path(path).resolve().parent.name)

    def _variables(self, layers: list[Mapping[str, Any]], host: str) -> dict[str, Any]:
        """Those of a host's variables that placement reads, templates filled in."""
        chosen = {key: next((layer[key] for layer in layers if key in layer), None) for key in VARIABLES}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        # Ansible's own question takes a fifth of a millisecond a host, and nearly no host has a template.
        if any("{" in str(value) for value in chosen.values()) and self.templar.is_template(chosen):
            every = {key: value for layer in reversed(layers) for key, value in layer.items()}
            self.templar.available_variables = {**every, "inventory_hostname": host}
            chosen = self.templar.template(chosen)
        return plain(chosen)

    def _add(self, site: Site) -> None:
        # From inside to outside: Ansible walks over all that holds a group whenever something is added to it.
        for service, components in site.computed_groups().items():
            for component, groups in components.items():
                for group, hosts in groups.items():
                    self.inventory.add_group(group)
                    for host in hosts:
                        self.inventory.add_child(group, host)
                self.inventory.add_group(component)
                for group in groups:
                    self.inventory.add_child(component, group)
            self.inventory.add_group(service)
            for component in components:
                self.inventory.add_child(service, component)
        # A template, not what it stands for: on ten thousand hosts, printing all slices alone takes Ansible 11 s.
        for host in site.hosts:
            self.inventory.set_variable(host, "rackspread", SLICE)


class _Layers:
    """A host's variables in Ansible's order, the strongest layer first: its own, then its groups', inmost first.

    Groups are read once, not once a host.
    """

    def __init__(self, loader: Any, sources: Iterable[str], outmost: Group) -> None:
        self._loader, self._sources, self._outmost = loader, list(sources), outmost
        self._groups: dict[str, Mapping[str, Any]] = {}

    def of(self, host: Host) -> list[Mapping[str, Any]]:
        # A group that is named at the top of a source is no child of `all` before the last source was read.
        groups = [group for group in sort_groups(host.get_groups())[::-1] if group is not self._outmost]
        groups.append(self._outmost)
        for group in groups:
            if group.name not in self._groups:
                self._groups[group.name] = self._files(group)
        layers = [self._files(host), host.vars, *(self._groups[group.name] for group in groups)]
        return [layer for layer in (*layers, *(group.vars for group in groups)) if layer]

    def _files(self, entity: Host | Group) -> Mapping[str, Any]:
        if not self._sources:
            return {}
        return get_vars_from_inventory_sources(self._loader, self._sources, [entity], "all")
