#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage the files of a host's instances beside what runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Stage the files of a host's instances beside what runs
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Puts a whole set of files for each instance into a version folder, where the next activation takes it. It
    touches nothing that runs.
  - The action M(rackspread.ha.apply) renders the templates and calls this module; tasks use that one.
options:
  instances:
    description:
      - The instances of this host, each a dictionary of C(group), C(member), C(unit), C(data) (or null), C(watch),
        C(packages) and C(files).
      - Each file is a dictionary of C(name), C(content), C(mode), C(owner), C(group), C(secret), C(effect) and
        C(validate). The content of
        a secret one stands in O(secrets).
    type: list
    elements: dict
    required: true
  secrets:
    description:
      - Content of secret files, with C(<group>/<name>) as key.
    type: dict
    default: {}
  guard:
    description:
      - Content of the start guard that is installed as C(/usr/local/lib/rackspread/start_guard.py).
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change, on a bare host too.
  diff_mode:
    support: full
    description: Shows what differs from what is staged; of secret files only that they differ.
"""

EXAMPLES = r"""
- name: Stage one instance
  rackspread.ha.stage:
    guard: "{{ lookup('ansible.builtin.file', 'start_guard.py') }}"
    instances:
      - group: etcd_voter1
        member: 1
        unit: rackspread-etcd-voter1
        data: /var/lib/rackspread/etcd_voter1
        watch: {/usr/bin/etcd: restart}
        files:
          - {name: etcd.env, content: "ETCD_NAME=etcd_voter1-1\n", mode: "0644"}
"""

RETURN = r"""
instances:
  description: One entry an instance.
  returned: success
  type: list
  elements: dict
  contains:
    group: {description: The instance's name., type: str}
    member: {description: The member's id., type: int}
    unit: {description: "Its systemd unit, without .service.", type: str}
    data: {description: Its data folder., type: str}
    need:
      description: What taking the staged files asks for, C(nothing), C(reload) or C(restart); C(start) where
        nothing runs.
      type: str
"""

import shutil
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils.host import Failed, digest, read, run, units, write_atomic
from ansible_collections.rackspread.ha.plugins.module_utils.instance import File, Instance

GUARD = "/usr/local/lib/rackspread/start_guard.py"


def file_of(group: str, given: dict[str, Any], secrets: dict[str, str]) -> File:
    """The file that a dictionary of the module's parameters describes."""
    content = secrets[f"{group}/{given['name']}"] if given.get("secret") else given["content"]
    return File(**{**given, "content": content})


def validate(module: AnsibleModule, instance: Instance, files: list[File]) -> None:
    """Let each file's own command look at a copy of it, beside copies of the instance's other files."""
    if not any(file.validate for file in files):
        return
    # Not the module's own tmpdir: the first use of that on a host is a warning of Ansible's about root's home.
    with tempfile.TemporaryDirectory(prefix="rackspread-") as aside:
        for file in files:
            write_atomic(f"{aside}/{file.name}", file.content, mode=0o600)
        for file in files:
            if file.validate:
                command = [word.replace("%s", f"{aside}/{file.name}") for word in file.validate.split()]
                if module.check_mode and shutil.which(command[0]) is None:
                    continue  # a bare host
                done = run(command, check=False)
                if done.returncode:
                    said = (done.stderr.strip() or done.stdout.strip()).replace(f"{aside}/", "")
                    raise Failed(f"{instance.group}: {file.name} is not valid: {said}")


def difference(instance: Instance, files: list[File]) -> list[dict[str, str]]:
    """What staging would change, in the form of Ansible's diff mode."""
    staged = instance.manifest(instance.staged) or {"files": {}}
    result = []
    for file in files:
        before = read(f"{instance.staged}/{file.name}")
        if before == file.content:
            continue
        after = file.content
        if file.secret:
            before = None if before is None else f"(secret, {digest(before)[:8]})\n"
            after = f"(secret, {digest(after)[:8]})\n"
        header = f"{instance.group}/{file.name}"
        result.append({"before_header": header, "after_header": header, "before": before or "", "after": after})
    gone = sorted(set(staged["files"]) - {file.name for file in files})
    removed = [{"before_header": f"{instance.group}/{name}", "before": "(removed)\n", "after": ""} for name in gone]
    return result + removed


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=dict(
            instances=dict(type="list", elements="dict", required=True),
            secrets=dict(type="dict", default={}, no_log=True),
            guard=dict(type="str", required=True),
        ),
        supports_check_mode=True,
    )
    changed = False
    diff: list[dict[str, str]] = []
    answer = []
    try:
        if read(GUARD) != module.params["guard"]:
            changed = True
            if not module.check_mode:
                write_atomic(GUARD, module.params["guard"])
        state = units([given["unit"] for given in module.params["instances"]])
        for given in module.params["instances"]:
            instance = Instance(given["group"], given["member"], given["unit"], given["data"])
            files = [file_of(instance.group, file, module.params["secrets"]) for file in given["files"]]
            running = state[instance.unit].running
            need = instance.need(running)
            packages = given.get("packages") or []
            instance.require_no_older(files)
            if instance.staged_differs(files, given["watch"], packages):
                changed = True
                diff += difference(instance, files)
                validate(module, instance, files)
                if not module.check_mode:
                    instance.stage(files, given["watch"], packages)
                    need = instance.need(running)
            answer.append({
                "group": instance.group, "member": instance.member, "unit": instance.unit, "data": instance.data,
                "need": need,
            })
    except (Failed, OSError, ValueError) as error:
        module.fail_json(msg=str(error), instances=answer)
    module.exit_json(changed=changed, instances=answer, diff=diff)


if __name__ == "__main__":
    main()
