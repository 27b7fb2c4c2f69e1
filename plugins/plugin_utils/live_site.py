# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site of this run as it is looked at: every group that something builds, over the hosts' own connections."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.rackspread.ha.plugins.module_utils.services import Service, programs_of
from ansible_collections.rackspread.ha.plugins.plugin_utils import certificates, pki
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils.certificates import Held, Holding
from ansible_collections.rackspread.ha.plugins.plugin_utils.looking import Asked, look
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing
from ansible_collections.rackspread.ha.plugins.plugin_utils.validity import Term


class LiveSite:
    """A planned site and what its hosts say of it.

    Args:
        site: as the inventory plugin planned it.
        remote: the connections of an action.
        access: what drivers need to act, by the row of services: `{settings, secrets}`. A look needs none of it.
    """

    def __init__(self, site: Site, remote: Remote, access: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.topology: Mapping[str, Any] = site.topology
        self.inventory = Path(site.state).parent
        self._site = site
        self._remote = remote
        self._access = access or {}
        self._vips = site.topology["settings"].get("edge", {}).get("vips", [])
        self.asked = list(self._rows())

    def stand(self) -> Standing:
        """Look at every member, all at once."""
        lock = locks.read(locks.path_for(self.inventory))
        seen = look(self._remote.run, self.asked, lock)
        return Standing.of(self.topology["groups"], seen, lock, len(self._vips))

    def act(
        self, service: str, group: str, member: int, operation: str, arguments: Mapping[str, Any], seconds: float = 120
    ) -> str:
        """Do one operation of a member's module, on its host. Why it failed; nothing where it did not."""
        lock = locks.read(locks.path_for(self.inventory))
        asked = next(each for each in self.asked if each.service == service)
        (answer,) = self._remote.run([asked.act(group, member, operation, lock, arguments, seconds)])
        return answer.message or "it failed without a word" if answer.failed or answer.unreachable else ""

    def holdings(self) -> tuple[list[Holding], list[str]]:
        """The certificates on the hosts, and the hosts that do not tell."""
        settings = self.topology["settings"]
        wanted = {host: certificates.for_host(self._site.slice(host), settings) for host in self._site.hosts}
        entries = {host: certificates.read_entries(those, host) for host, those in wanted.items() if those}
        calls = [
            Call(
                host,
                "rackspread.ha.certificate_files",
                {"entries": [{"folder": str(one.folder), "group": one.group} for one in those], "look": True},
            )
            for host, those in entries.items()
        ]
        found: list[Holding] = []
        silent: list[str] = []
        for call, answer in zip(calls, self._remote.run(calls), strict=True):
            if answer.unreachable or answer.failed:
                silent.append(call.host)
                continue
            held = answer.result["entries"]
            found += [
                Holding(call.host, entry, Held(**has)) for entry, has in zip(entries[call.host], held, strict=True)
            ]
        return found, silent

    def authorities(self) -> list[Term]:
        """Until when the authorities beside the inventory are valid."""
        services = dict.fromkeys(group["service"] for group in self.topology["groups"].values())
        known = [pki.load(self.inventory, service) for service in services if service in certificates.USES]
        return [Term.of(each.service, f"the CA in {each.path}", each.trusted) for each in known if each]

    def _rows(self) -> list[Asked]:
        by_row: dict[str, list[dict[str, Any]]] = defaultdict(list)
        rows: dict[str, Service] = {}
        for key, group in self.topology["groups"].items():
            for row in programs_of(group):
                if row.name != "keepalived" or self._vips:
                    rows[row.name] = row
                    by_row[row.name].append({"name": key, "index": group["index"], "members": group["members"]})
        return [
            Asked(
                name,
                groups,
                self._root(rows[name]),
                rows[name].program,
                self._settings(rows[name]),
                self._access.get(name, {}).get("secrets", {}),
            )
            for name, groups in by_row.items()
        ]

    def _settings(self, row: Service) -> dict[str, Any]:
        given: Mapping[str, Any] = self._access.get(row.name, {}).get("settings", {})
        return {**given} if row.stateful else {**given, "vips": self._vips}

    def _root(self, row: Service) -> Any:
        """The data root of a service on a host."""
        service = row.component.partition("_")[0]

        def root(host: str) -> str | None:
            known = self._site.hosts[host]
            return known.data_roots.get(service, known.data_root) if row.stateful else None

        return root
