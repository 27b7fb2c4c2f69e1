# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils import look, operating
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.firewall import openings
from ansible_collections.rackspread.ha.plugins.plugin_utils.live_site import LiveSite
from ansible_collections.rackspread.ha.plugins.plugin_utils.operating import Plan
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.kept import with_leaving
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone

PATIENCE = 90.0
"""Seconds for the others to find a new leader, where a host has only just been lost."""

ARGUMENTS = {
    "operation": {"type": "str", "choices": ["replace", "retire", "rebalance", "scale"], "required": True},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "limit": {"type": "int"},
    "confirmed": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    """Plans moves of members from how the site stands, asks, and writes them into the lock. It touches no member."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Plan, ask, write."""
        super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(ARGUMENTS)[1])
        check = bool(self._task.check_mode)
        try:
            site = current.site()
            if site.lock.site_id is None:
                raise Refusal("RS-115", "This site was never built.")
            remote = Remote(self, task_vars or {})
            plan = self._plan(site, remote, given)
            if plan.lock != site.lock:
                self._look_at(plan, site, remote)
            lines = [*plan.lines, *(["Nothing is done in check mode."] if check else [])]
            if check or given["confirmed"]:
                self._display.display("\n".join(["", *lines, ""]))
            else:
                ask(self._display, lines)
            if not check and plan.lock != site.lock:
                path = locks.path_for(Path(site.state).parent)
                with alone(path.parent, self._display.display):
                    locks.write(path, plan.lock)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        return {
            "changed": plan.lock != site.lock,
            "plan": lines,
            "moves": [
                {
                    "group": move.group,
                    "old": move.old and move.old.to_dict(),
                    "new": move.new and move.new.to_dict(),
                    "lost": move.gone,
                }
                for move in plan.moves
            ],
        }

    def _plan(self, site: Site, remote: Remote, given: Mapping[str, Any]) -> Plan:
        """What shall be done. What was begun is ended before anything else; only a loss can't wait."""
        operation, hosts = given["operation"], given["hosts"]
        begun = operating.resumption(site.lock)
        if begun and (operation != "replace" or self._replaced(site, hosts)):
            return begun
        live = LiveSite(site, remote)
        if operation == "scale":
            return operating.growth(site, hosts, live.stand() if site.surplus else None)
        site.check_surplus()
        if operation == "retire":
            return operating.retirement(site, live.stand(), hosts)
        if operation == "rebalance":
            return operating.rebalancing(site, live.stand(), given["limit"])
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return operating.replacement(site, live.stand(), hosts)
            except Refusal as refusal:
                if refusal.code != "RS-112" or time.monotonic() > deadline:
                    raise
                remote.stay()
                time.sleep(3)

    @staticmethod
    def _replaced(site: Site, hosts: list[str]) -> bool:
        """Whether these hosts are being replaced already."""
        return bool(hosts) and set(hosts) <= {m.host for group in site.lock.groups.values() for m in group.gone}

    def _look_at(self, plan: Plan, site: Site, remote: Remote) -> None:
        """Refuse, before anything is written, hosts that can't take what they are to get."""
        after = replace(site, lock=plan.lock).moved(0)
        after = replace(after, placement=with_leaving(after.placement, site.hosts, plan.lock))
        calls = [
            Call(
                host,
                "rackspread.ha.host_info",
                {
                    "ports": list(openings(after.topology["groups"], host)),
                    "folders": [each["data"] for each in after.slice(host)["instances"]],
                },
            )
            for host in plan.targets
        ]
        looks, asked = {}, time.time()
        for call, answer in zip(calls, remote.run(calls), strict=True):
            if answer.unreachable or answer.failed:
                raise Refusal("RS-116", f"{call.host} can't be looked at: {answer.message}", host=call.host)
            looks[call.host] = look.with_offset(answer.result["info"], asked, time.time())
        weights = {each.component.id: each.weight for each in site.spec.asks}
        if refusals := look.judge(looks, after.topology, weights):
            raise AnsibleActionFail("\n".join(map(str, refusals)))
