# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the files of a host's instances on the controller, and stage them there in one round trip."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible_collections.rackspread.ha.plugins.module_utils import start_guard
from ansible_collections.rackspread.ha.plugins.module_utils.instance import PASSWORD_PHASE, Instance
from ansible_collections.rackspread.ha.plugins.plugin_utils import state
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.secrets import change_of

MANAGED = "Written by rackspread.ha: the next run undoes what is changed here."
GUARD_LINE = "ExecStartPre=+/usr/bin/python3 /usr/local/lib/rackspread/start_guard.py"

ARGUMENTS = {
    "service": {"type": "str", "required": True},
    "groups": {"type": "list", "elements": "dict", "required": True},
    "program": {"type": "str"},
    "data_root": {"type": "str"},
    "unit": {"type": "str", "required": True},
    "files": {
        "type": "list", "elements": "dict", "default": [],
        "options": {
            "template": {"type": "str", "required": True},
            "name": {"type": "str"},
            "mode": {"type": "str", "default": "0644"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "secret": {"type": "bool", "default": False},
            "effect": {"type": "str", "choices": ["restart", "reload", "form"], "default": "restart"},
            "validate": {"type": "str"},
        },
    },
    "executables": {"type": "list", "elements": "str", "default": []},
    "watch": {"type": "dict", "default": {}},
    "packages": {"type": "list", "elements": "str", "default": []},
    "vars": {"type": "dict", "default": {}},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render, and call the module `stage` on the host."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _spec, arguments = self.validate_argument_spec(ARGUMENTS)
        host = variables["inventory_hostname"]
        secrets: dict[str, str] = {}
        instances = [
            self._render(group, member, arguments, variables, secrets)
            for group in arguments["groups"] for member in group["members"] if member["host"] == host
        ]
        with open(start_guard.__file__, encoding="utf-8") as file:
            guard = file.read()
        if not instances:
            return {"changed": False, "instances": [], "msg": f"no member of {arguments['service']} is on {host}"}
        result: dict[str, Any] = self._execute_module(
            module_name="rackspread.ha.stage",
            module_args={"instances": instances, "secrets": secrets, "guard": guard},
            task_vars=task_vars,
        )
        result.pop("invocation", None)  # whole files, which the diff shows better
        return result

    def _render(
        self, group: dict[str, Any], member: dict[str, Any], arguments: dict[str, Any], variables: dict[str, Any],
        secrets: dict[str, str],
    ) -> dict[str, Any]:
        instance = Instance.of(group["name"], member["id"], arguments["data_root"], arguments["program"])
        facts = {
            "unit": instance.unit, "data": instance.data, "config": instance.config, "pki": instance.pki,
            "name": instance.name, "first_start": instance.first_start, "start_guard": f"{GUARD_LINE} {instance.name}",
        }
        seen = {
            "ansible_managed": MANAGED, **variables, **arguments["vars"],
            "group": group, "member": member, "instance": facts,
        }
        wanted = [
            {"template": arguments["unit"], "name": f"{instance.unit}.service", "mode": "0644"},
            *arguments["files"],
        ]
        files = []
        for asked in wanted:
            template = asked["template"]
            file = {key: value for key, value in asked.items() if key != "template" and value is not None}
            file.setdefault("name", os.path.basename(template).removesuffix(".j2"))
            content = self._text(template, seen)
            if file.get("secret"):
                secrets[f"{instance.name}/{file['name']}"] = content
            files.append({**file, "content": "" if file.get("secret") else content})
        if mark := self._mark(arguments["service"], variables):
            files.append({"name": PASSWORD_PHASE, "content": f"{mark}\n", "mode": "0644", "effect": "reload"})
        watch = {**arguments["watch"], **dict.fromkeys(arguments["executables"], "restart")}
        return {
            "group": instance.name, "member": member["id"], "unit": instance.unit, "data": instance.data,
            "watch": watch, "files": files, "packages": [name for name in arguments["packages"] if "=" in name],
        }

    @staticmethod
    def _mark(service: str, variables: dict[str, Any]) -> str:
        """Which change and phase the passwords are of that the templates have seen; "" where none was ever changed."""
        try:
            return change_of(state.inventory_of(variables), service.partition("_")[0]).mark
        except Refusal as refusal:
            if refusal.code == "RS-046":  # a role by itself, with passwords of its own
                return ""
            raise AnsibleActionFail(str(refusal)) from refusal

    def _text(self, template: str, variables: dict[str, Any]) -> str:
        """The rendered text of a template, found and rendered as ansible.builtin.template does."""
        try:
            source = self._find_needle("templates", template)
            text = trust_as_template(self._loader.get_text_file_contents(source))
            folders = [*variables.get("ansible_search_path", []), self._loader.get_basedir(), os.path.dirname(source)]
            search = [path for folder in folders for path in (os.path.join(folder, "templates"), folder)]
            templar = self._templar.copy_with_new_env(searchpath=search, available_variables=variables)
            rendered = templar.template(text, escape_backslashes=False, overrides={"trim_blocks": True})
        except AnsibleError as error:
            raise AnsibleActionFail(f"{template} could not be rendered: {error}") from error
        return "" if rendered is None else str(rendered)
