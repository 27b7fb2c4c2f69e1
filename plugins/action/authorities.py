# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import (
    certificates,
    files,
    phases,
    pki,
    rotation,
    screen,
    validity,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.live_site import LiveSite
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone

ARGUMENTS = {
    "operation": {"type": "str", "choices": ["begin", "end"], "required": True},
    "change": {"type": "list", "elements": "str", "default": []},
    "renew_days": {"type": "int", "default": 30},
    "confirmed": {"type": "bool", "default": False},
    "maintenance": {"type": "str", "default": ""},
}

PATIENCE, PAUSE = 60.0, 2.0
"""Seconds until all must be whole at the end of a run, and between two looks at it."""


class ActionModule(ActionBase):
    """Says what becomes of the certificates of a site and enters the next phase; or makes sure that it is rolled."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin or end a run of certificates.yml."""
        super().run(tmp, task_vars)
        given = plain(self.validate_argument_spec(ARGUMENTS)[1])
        check = bool(self._task.check_mode)
        try:
            live = LiveSite(current.site(), Remote(self, task_vars or {}))
            unknown = [each for each in given["change"] if each not in certificates.USES]
            if unknown:
                known = ", ".join(certificates.USES)
                raise Refusal("RS-125", f"{', '.join(unknown)} has no CA here; {known} have one")
            with nullcontext() if check else alone(live.inventory / ".rackspread", self._display.display):
                return (self._begin if given["operation"] == "begin" else self._end)(live, given, check)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal

    def _begin(self, live: LiveSite, given: Mapping[str, Any], check: bool) -> dict[str, Any]:
        """Show the days that are left and what will be done, ask, and enter the phases."""
        seen = _Seen(live)
        now = datetime.now(UTC)
        terms = validity.terms_of(seen.holdings)
        due = validity.urgent(terms, now, timedelta(days=given["renew_days"]))
        lines = [*validity.told(terms, live.authorities(), now), f"{len(due)} certificates are renewed by this run."]
        entered = {}
        if given["change"] and given["maintenance"]:
            raise Refusal("RS-120", f"The site is in maintenance: {given['maintenance']}")
        present = {service: pki.phase_of(seen.path(service)) for service in given["change"]}
        phases.check_together(present)
        for service in given["change"]:
            path, missing = seen.path(service), seen.missing(service)
            entered[service] = phase = rotation.next_phase(path, missing)
            again = ", once more" if phase == present[service] else ""
            lines.append(f"CA of {service}, phase {phase}{again}: {rotation.WORDS[phase]}.")
        if (due or entered) and not (check or given["confirmed"]):
            ask(self._display, lines)
        else:
            self._display.display("\n".join(["", *lines, ""]))
        if not check:
            for service, phase in entered.items():
                _enter(seen.path(service), live.inventory, service, phase)
        return {"changed": bool(due or entered), "plan": lines, "phases": entered, "due": due}

    def _end(self, live: LiveSite, given: Mapping[str, Any], check: bool) -> dict[str, Any]:
        """Make sure that the phases are rolled out, settle those that were the last, and say what comes next."""
        if check or not given["change"]:
            return {"changed": False, "told": []}
        seen = _Seen(live)
        deadline = time.monotonic() + PATIENCE  # a member that was just rolled may still be catching up
        while any(map(seen.missing, given["change"])) and time.monotonic() < deadline:
            time.sleep(PAUSE)
            seen = _Seen(live)
        under_way = [service for service in given["change"] if pki.phase_of(seen.path(service))]
        for service in under_way:  # all of them, or none: the next run would begin anew with one that has ended
            rotation.require(seen.path(service), service, seen.missing(service))
        lines: list[str] = []
        for service in under_way:
            path = seen.path(service)
            with files.exclusive(path):
                lines += rotation.end(path, service)
        self._display.display("\n".join(["", *lines, ""]))
        return {"changed": bool(lines), "told": lines}


class _Seen:
    """One look at a site, by which it is judged whether a phase is rolled out."""

    def __init__(self, live: LiveSite) -> None:
        self._inventory = live.inventory
        self._standing = live.stand()
        self.holdings, self._silent = live.holdings()

    def path(self, service: str) -> Path:
        """The folder of a service's authority."""
        return pki.folder_for(self._inventory, service)

    def missing(self, service: str) -> Sequence[str]:
        """What is not as the present phase of a service's CA wants it, a clause each."""
        authority = pki.load(self._inventory, service)
        wanting = [
            each.host
            for each in self.holdings
            if each.entry.service == service and not (authority and each.fits(authority))
        ]
        return [
            *(f"{host} does not answer" for host in self._silent),
            *self._standing.ailments(),
            *rotation.unrolled(screen.pending(self._standing), dict.fromkeys(wanting)),
        ]


def _enter(path: Path, inventory: Path, service: str, phase: str) -> None:
    """Enter a phase, and put what clients have to trust beside it."""
    with files.exclusive(path):
        rotation.enter(path, service, phase)
        if phase != "settle" and (authority := pki.load(inventory, service)):
            rotation.tell_clients(path, authority.trusted)
