# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance
from ansible_collections.rackspread.ha.plugins.plugin_utils import passwords, phases, screen, secrets
from ansible_collections.rackspread.ha.plugins.plugin_utils.confirming import ask
from ansible_collections.rackspread.ha.plugins.plugin_utils.live_site import LiveSite
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.plain import plain
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

ARGUMENTS = {
    "operation": {"type": "str", "choices": ["begin", "end"], "required": True},
    "change": {"type": "list", "elements": "str", "required": True},
    "accounts": {"type": "dict", "default": {"replication": "replicator", "rewind": "rewind"}},
    "confirmed": {"type": "bool", "default": False},
    "maintenance": {"type": "str", "default": ""},
}

PATIENCE, PAUSE = 60.0, 2.0
"""Seconds until all must be whole at the end of a run, and between two looks at it."""


class ActionModule(ActionBase):
    """Says what becomes of the passwords of services and enters the next phase; or makes sure that it is rolled."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Begin or end a run of passwords.yml."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = plain(self.validate_argument_spec(ARGUMENTS)[1])
        check = bool(self._task.check_mode)
        try:
            known = [service for service in secrets.SECRETS if service in current.site().topology["settings"]]
            if not arguments["change"] or set(arguments["change"]) - set(known):
                asked = ", ".join(arguments["change"]) or "no service"
                raise Refusal("RS-125", f"{asked} was named, and those with passwords here are {', '.join(known)}")
            given = plain(self._templar.template(variables.get(secrets.GIVEN) or {}))
            run = _Run(Remote(self, variables), given, arguments)
            with nullcontext() if check else alone(run.inventory / ".rackspread", self._display.display):
                return (self._begin if arguments["operation"] == "begin" else self._end)(run, arguments, check)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal

    def _begin(self, run: _Run, arguments: Mapping[str, Any], check: bool) -> dict[str, Any]:
        """Show what will be done, ask, and enter the phases."""
        if arguments["maintenance"]:
            raise Refusal("RS-120", f"The site is in maintenance: {arguments['maintenance']}")
        present = {service: secrets.change_of(run.inventory, service).phase for service in arguments["change"]}
        phases.check_together(present)
        lines, entered = [], {}
        standing = run.stand()
        for service in arguments["change"]:
            entered[service] = phase = passwords.next_phase(run.inventory, service, run.missing(standing, service))
            again = ", once more" if phase == present[service] else ""
            lines.append(f"Passwords of {service}, phase {phase}{again}: {passwords.WORDS[phase]}.")
            lines += [f"  {passwords.ONE[service]}"] if service in passwords.ONE else []
        if check or arguments["confirmed"]:
            self._display.display("\n".join(["", *lines, ""]))
        else:
            ask(self._display, lines)
        if not check:
            for service, phase in entered.items():
                passwords.enter(run.inventory, service, phase, run.given)
        return {"changed": True, "plan": lines, "phases": entered}

    def _end(self, run: _Run, arguments: Mapping[str, Any], check: bool) -> dict[str, Any]:
        """Make sure that the phases are rolled out, settle those that were the last, and say what comes next."""
        if check:
            return {"changed": False, "told": []}
        under_way = [service for service in arguments["change"] if secrets.change_of(run.inventory, service).phase]
        deadline = time.monotonic() + PATIENCE  # a member that was just rolled may still be catching up
        while True:
            standing = run.stand()
            missing = {service: run.missing(standing, service) for service in under_way}
            if not any(missing.values()) or time.monotonic() > deadline:
                break
            time.sleep(PAUSE)
        if "postgres" in under_way and not missing["postgres"]:
            missing["postgres"] = run.settle_accounts(standing)
        for service in under_way:  # all of them, or none: the next run would begin anew with one that has ended
            passwords.require(run.inventory, service, missing[service])
        lines = [line for service in under_way for line in passwords.end(run.inventory, service)]
        self._display.display("\n".join(["", *lines, ""]))
        return {"changed": bool(lines), "told": lines}


class _Run:
    """The site that a run changes the passwords of.

    Args:
        remote: the connections of the action.
        given: the user's own secrets.
        arguments: of the action.
    """

    def __init__(self, remote: Remote, given: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        self.given = given
        self._remote = remote
        self._live = LiveSite(current.site(), remote)
        self._accounts: Mapping[str, str] = arguments["accounts"]
        self.inventory = self._live.inventory

    def stand(self) -> Standing:
        """Look at the whole site."""
        return self._live.stand()

    def missing(self, standing: Standing, service: str) -> list[str]:
        """What is not as the present phase of a service's passwords wants it, a clause each."""
        return [
            *standing.ailments(),
            *(
                f"{group}: {need}"
                for group, need in screen.pending(standing).items()
                if group.partition("_")[0] == service  # no others are rolled in this run
            ),
            *passwords.lacking(standing, service, secrets.change_of(self.inventory, service)),
        ]

    def settle_accounts(self, standing: Standing) -> list[str]:
        """Give the accounts by which members of Postgres come to each other what those present now. Why it failed.

        The role does so too, on hosts that take part in its run; here all leaders are asked.
        """
        users = [
            {"name": account, "password": secrets.find(self.inventory, "postgres", name, self.given)}
            for name, account in self._accounts.items()
        ]
        calls, groups = [], []
        for key, group in self._live.topology["groups"].items():
            if (group["service"], group["component"]) == ("postgres", "shard") and (leader := standing.leader(key)):
                port = group["members"][0]["ports"]["main"]
                instance = {"group": key, "socket": f"/run/{Instance.of(key, leader.member).unit}", "port": port}
                arguments = {"instances": [instance], "users": users}
                calls.append(Call(leader.host, "rackspread.ha.postgres_content", arguments))
                groups.append(key)
        return [
            f"{group}: {answer.message}"
            for group, answer in zip(groups, self._remote.run(calls), strict=True)
            if answer.failed or answer.unreachable
        ]
