# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import living, pki, secrets
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils.certificates import USES
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Call, Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.running import alone

ARGUMENTS = {
    "records": {"type": "dict"},
    "rebuild": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the lock of the site of this run, or refuse it."""
        super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(ARGUMENTS)
        variables = task_vars or {}
        check = bool(self._task.check_mode)
        try:
            site = current.site()
            folder = Path(site.state)
            path = locks.path_for(folder.parent)
            with nullcontext() if check else alone(folder, self._display.display):
                lock = locks.read(path)
                if given["rebuild"]:
                    wanted = self._rebuilt(site, lock, variables)
                else:
                    wanted = self._merged(site, lock, given["records"], variables)
                written = wanted if check else locks.write(path, wanted, lock.generation)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        return {
            "changed": written != lock,
            "site_id": written.site_id,
            "generation": written.generation,
            "groups": [key for key, group in written.groups.items() if group != lock.groups.get(key)],
        }

    def _merged(self, site: Site, lock: Lock, records: living.Records | None, variables: Mapping[str, Any]) -> Lock:
        """The lock with what is planned, where no host remembers otherwise. The first one asks every host itself."""
        site.check_surplus()
        if lock.site_id is None or records is None:
            records, absent = self._ask(site, variables)
            if absent and lock.site_id is None:
                raise _unasked("There is no lock yet", absent)
        if refusals := living.compare(lock, records):
            raise AnsibleActionFail("\n".join(str(refusal) for refusal in refusals))
        self._provide(site, records, variables)
        return locks.merge(lock, site.placement)

    def _provide(self, site: Site, records: living.Records, variables: Mapping[str, Any]) -> None:
        """Make the secrets and authorities that the site's services have not got yet, never over a living one."""
        services = dict.fromkeys(group["service"] for group in site.topology["groups"].values())
        inventory = Path(site.state).parent
        dry = bool(self._task.check_mode)
        given = self._templar.template(variables.get(secrets.GIVEN) or {})
        secrets.ensure_secrets(inventory, services, records, given, dry=dry)
        pki.ensure_ca(inventory, [service for service in services if service in USES], records, site.name, dry=dry)

    def _rebuilt(self, site: Site, lock: Lock, variables: Mapping[str, Any]) -> Lock:
        """The lock made anew of what all hosts remember."""
        records, absent = self._ask(site, variables)
        if absent:
            raise _unasked("The lock can't be rebuilt", absent)
        rebuilt = living.rebuild(records)
        if lock.site_id not in (None, rebuilt.site_id):
            raise Refusal("RS-049", f"The lock is of the site {lock.site_id}, and the hosts of {rebuilt.site_id}.")
        self._require_secrets(rebuilt, Path(site.state).parent, variables)
        return replace(
            rebuilt,
            generation=max(rebuilt.generation, lock.generation),
            components=lock.components,
            groups={**lock.groups, **rebuilt.groups},
        )

    def _require_secrets(self, lock: Lock, inventory: Path, variables: Mapping[str, Any]) -> None:
        """Refuse where a secret or authority of a formed group is not at hand: the lock alone would be of no use."""
        given = self._templar.template(variables.get(secrets.GIVEN) or {})
        for service in sorted({key.partition("_")[0] for key, group in lock.groups.items() if group.formed}):
            path = secrets.path_for(inventory, service)
            wanted = secrets.SECRETS.get(service, {}).keys() - given.get(service, {}).keys()
            if missing := sorted(wanted - secrets.read(path).keys()):
                raise Refusal("RS-049", f"The secrets {', '.join(missing)} of {service} are not in {path}.")
            if service in USES and pki.load(inventory, service) is None:
                raise Refusal("RS-049", f"The CA of {service} is not in {pki.folder_for(inventory, service)}.")

    def _ask(self, site: Site, variables: Mapping[str, Any]) -> tuple[living.Records, dict[str, str]]:
        """The record of every host of the site, and why those that did not answer did not."""
        calls = [Call(host, "rackspread.ha.host_info", {}) for host in site.hosts]
        answers = dict(zip(site.hosts, Remote(self, variables).run(calls), strict=True))
        absent = {host: answer.message for host, answer in answers.items() if answer.unreachable or answer.failed}
        return {host: answers[host].result["info"]["record"] for host in answers if host not in absent}, absent


def _unasked(why: str, absent: Mapping[str, str]) -> Refusal:
    """A lock is only made of what every host said."""
    hosts = ", ".join(absent)
    return Refusal("RS-033", f"{why}: {hosts} could not be asked ({next(iter(absent.values()))}).", hosts=hosts)
