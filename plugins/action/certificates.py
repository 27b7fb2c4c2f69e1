# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import files, pki, state
from ansible_collections.rackspread.ha.plugins.plugin_utils.certificates import (
    Entry,
    Held,
    Remedy,
    read_entries,
    remedy,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote

FILES = "rackspread.ha.certificate_files"

ARGUMENTS = {
    "certificates": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "service": {"type": "str", "required": True},
            "folder": {"type": "str"},
            "group": {"type": "str", "required": True},
            "name": {"type": "str"},
            "names": {"type": "list", "elements": "str", "default": []},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "client": {"type": "bool", "default": False},
        },
    },
    "site": {"type": "str", "default": "rackspread"},
    "days": {"type": "int", "default": 730},
    "renew_days": {"type": "int", "default": 30},
}


class ActionModule(ActionBase):
    """Looks at the host, issues what it lacks, and hands it over: one call, or two."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task on one host."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        given = self.validate_argument_spec(ARGUMENTS)[1]
        try:
            return self._converge(given, variables)
        except (Refusal, ValueError) as error:
            raise AnsibleActionFail(str(error)) from error

    def _converge(self, given: Mapping[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        host = variables["inventory_hostname"]
        inventory = state.inventory_of(variables)
        entries = read_entries(given["certificates"], host)
        made = self._ensure_authorities(entries, given["site"], inventory, variables)
        authorities = {entry.service: pki.load(inventory, entry.service) for entry in entries}

        looked = self._call(entries, {}, variables)
        life, left = timedelta(days=given["days"]), timedelta(days=given["renew_days"])
        remedies = {
            entry.folder: found
            for entry, has in zip(entries, looked["entries"], strict=True)
            if (found := remedy(entry, Held(**has), authorities[entry.service], host, life, left))
        }
        if remedies and not self._task.check_mode:
            self._call(entries, remedies, variables)
        issued = [one for one in remedies.values() if one.reason]
        return {
            "changed": bool(made or looked["changed"] or remedies),
            "authorities": made,
            "certificates": [{"folder": str(one.entry.folder), "reason": one.reason} for one in issued],
            "diff": [one.diff() for one in issued],
        }

    def _ensure_authorities(
        self, entries: list[Entry], site: str, inventory: str, variables: dict[str, Any]
    ) -> list[str]:
        """Make the authorities that are missing: in one host's worker, after a look at all hosts; the others wait."""
        services = sorted({entry.service for entry in entries})
        if all(pki.load(inventory, service) for service in services):
            return []
        if self._task.check_mode:
            return pki.ensure_ca(inventory, services, {}, site, dry=True)
        with files.exclusive(state.folder(inventory) / "pki"):
            missing = [service for service in services if pki.load(inventory, service) is None]
            if not missing:
                return []
            records = self._look_at_all([entry for entry in entries if entry.service in missing], variables)
            return pki.ensure_ca(inventory, missing, records, site)

    def _look_at_all(self, entries: list[Entry], variables: dict[str, Any]) -> dict[str, Any]:
        """The records of all hosts of the play. Raises Refusal where one has such a CA already, or does not answer."""
        hosts = variables["ansible_play_hosts_all"]
        wanted = [{"folder": str(entry.folder), "group": entry.group} for entry in entries]
        answers = Remote(self, variables).run([Call(host, FILES, {"entries": wanted, "look": True}) for host in hosts])
        records = {}
        for host, answer in zip(hosts, answers, strict=True):
            if answer.unreachable or answer.failed:
                sentence = f"{host} could not be asked whether it has a CA of {entries[0].service}: {answer.message}."
                raise Refusal("RS-045", sentence, host=host)
            for entry, has in zip(entries, answer.result["entries"], strict=True):
                if has["ca"]:
                    sentence = f"{host} has a CA of {entry.service}, and this controller has none."
                    raise Refusal("RS-041", sentence, service=entry.service, host=host, path=entry.folder)
            records[host] = answer.result["record"]
        return records

    def _call(
        self, entries: list[Entry], remedies: Mapping[PurePosixPath, Remedy], variables: dict[str, Any]
    ) -> dict[str, Any]:
        """Have the host write what it lacks, and tell what it has. Raises AnsibleActionFail with its own sentence."""
        wanted: list[dict[str, str | None]] = [{"folder": str(entry.folder), "group": entry.group} for entry in entries]
        for entry, one in zip(entries, wanted, strict=True):
            if found := remedies.get(entry.folder):
                one |= {"ca": found.ca, "certificate": found.certificate}
        answer: dict[str, Any] = self._execute_module(FILES, module_args={"entries": wanted}, task_vars=variables)
        if answer.get("failed"):
            raise AnsibleActionFail(answer.get("msg") or "The host's part failed.", result=answer)
        return answer
