#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace the nftables table `inet rackspread`, on probation until it is confirmed over a new connection."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall_table
short_description: Replace the nftables table inet rackspread, on probation until it is confirmed
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - The host's side of M(rackspread.ha.firewall), which calls it twice where something changes, and once where nothing
    does.
  - V(apply) arms a timer that puts the former table back, then loads the new one in one step. V(confirm), which comes
    over a new connection, stops the timer and writes the table to C(/etc/rackspread/firewall.nft), from where the
    unit C(rackspread-firewall) loads it at boot. So neither a lost connection nor a reboot keeps a table that was not
    confirmed.
  - It touches no other table.
options:
  operation:
    description: The step.
    type: str
    choices: [apply, confirm]
    default: apply
  ruleset:
    description:
      - The file for C(nft -f), which must speak of the table C(inet rackspread) alone.
    type: str
    required: true
  probation:
    description: Seconds after which the former table comes back if the new one is not confirmed.
    type: int
    default: 45
attributes:
  check_mode:
    support: full
    description: Can run in check mode and tell what it would change, on a bare host too.
  diff_mode:
    support: full
    description: Shows the table before and after, as nft lists it.
"""

EXAMPLES = r"""
- name: Load a table on probation
  rackspread.ha.firewall_table:
    ruleset: "{{ ruleset }}"
  register: table

- name: Open a new connection
  ansible.builtin.meta: reset_connection

- name: Keep the table
  rackspread.ha.firewall_table:
    operation: confirm
    ruleset: "{{ ruleset }}"
  when: table is changed
"""

RETURN = r"""
pending:
  description: Whether the table waits to be confirmed.
  returned: success
  type: bool
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.rackspread.ha.plugins.module_utils.host import (
    Failed,
    flock,
    read,
    remove,
    run,
    systemctl,
    unit,
    write_atomic,
)

TABLE = ("inet", "rackspread")
NFT = "/usr/sbin/nft"
FILE = "/etc/rackspread/firewall.nft"
PENDING = "/run/rackspread/firewall.pending.nft"
FORMER = "/run/rackspread/firewall.former.nft"
LOCK = "/run/rackspread/firewall.lock"
ROLLBACK = "rackspread-firewall-rollback"
UNIT = "rackspread-firewall"
UNIT_FILES = {
    f"/etc/systemd/system/{UNIT}.service": f"""\
# Written by rackspread.ha.firewall_table.
[Unit]
Description=The managed ports of this host (nftables table inet rackspread)
Documentation=https://github.com/rackspread/ha
ConditionPathExists={FILE}
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
After=local-fs.target nftables.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={NFT} -f {FILE}

[Install]
WantedBy=sysinit.target
""",
    "/etc/systemd/system/nftables.service.d/60-rackspread.conf": f"""\
# Written by rackspread.ha.firewall_table. Debian's own rules begin with `flush ruleset`: whenever they are loaded, the
# table inet rackspread is loaded after them.
[Service]
ExecStartPost=-{NFT} -f {FILE}
ExecReload=-{NFT} -f {FILE}
""",
}
# The table is declared, so that deleting it never fails, and what follows is loaded in the same step.
REPLACE = f"table {' '.join(TABLE)}\ndelete table {' '.join(TABLE)}\n"


def listed(prefix: tuple[str, ...] = ()) -> str:
    """The table as nft lists it, "" where there is none; `prefix` is a command that runs nft elsewhere."""
    shown = run([*prefix, NFT, "--stateless", "list", "table", *TABLE], check=False)
    return shown.stdout if shown.returncode == 0 else ""


def canonical(ruleset: str) -> str:
    """The table as nft would list it, found out by loading it into an empty network namespace.

    Raises Failed where nft does not take it, or where it speaks of any other table.
    """
    script = f"{NFT} -f - && exec {NFT} --stateless list ruleset"
    shown = run(["unshare", "--net", "/bin/sh", "-c", script], stdin=ruleset, check=False)
    if shown.returncode != 0:
        raise Failed(f"nft does not take the ruleset: {' '.join(shown.stderr.split())}")
    tables = re.findall(r"^table (.+) \{$", shown.stdout, flags=re.MULTILINE)
    if any(table != " ".join(TABLE) for table in tables) or "flush ruleset" in ruleset:
        raise Failed(f"the ruleset may speak of the table {' '.join(TABLE)} alone, and speaks of {', '.join(tables)}")
    return shown.stdout


def installed(ruleset: str) -> bool:
    """Whether this ruleset is the one that the host loads at boot."""
    files = {FILE: ruleset, **UNIT_FILES}
    return all(read(path) == content for path, content in files.items()) and unit(UNIT).enabled == "enabled"


def install(ruleset: str) -> None:
    """Keep the ruleset for the next boot."""
    for path, content in {FILE: ruleset, **UNIT_FILES}.items():
        write_atomic(path, content)
    systemctl("daemon-reload")
    systemctl("enable", "--quiet", UNIT)


def disarm() -> None:
    """Stop the rollback, if one is armed."""
    run(["systemctl", "stop", f"{ROLLBACK}.timer"], check=False)
    run(["systemctl", "reset-failed", f"{ROLLBACK}.timer", f"{ROLLBACK}.service"], check=False)


def apply(ruleset: str, live: str, probation: int) -> None:
    """Load the ruleset, with the former table to come back unless it is confirmed in time."""
    disarm()
    # A table that waits to be confirmed was never good: the one before it stays the one to go back to.
    if not os.path.exists(PENDING):
        write_atomic(FORMER, REPLACE + live, mode=0o600)
    write_atomic(PENDING, ruleset, mode=0o600)
    undo = f"flock {LOCK} /bin/sh -c 'test ! -e {PENDING} || {{ {NFT} -f {FORMER} && rm -f {PENDING}; }}'"
    run(["systemd-run", "--quiet", "--collect", f"--on-active={probation}", "--timer-property=AccuracySec=1s",
         f"--unit={ROLLBACK}", "/bin/sh", "-c", undo])  # fmt: skip
    loaded = run([NFT, "-f", PENDING], check=False)
    if loaded.returncode != 0:
        remove(PENDING)
        disarm()
        raise Failed(f"nft does not take the ruleset: {' '.join(loaded.stderr.split())}")


def confirm(ruleset: str) -> None:
    """Keep the table that waits; raises Failed where it was put back already."""
    disarm()
    if read(PENDING) != ruleset:
        raise Failed("the new table was not confirmed in time, and the former one was put back")
    install(ruleset)
    remove(PENDING)
    remove(FORMER)


def main() -> None:
    """Compare the live table with the wanted one, and take the step."""
    module = AnsibleModule(
        argument_spec={
            "operation": {"type": "str", "choices": ["apply", "confirm"], "default": "apply"},
            "ruleset": {"type": "str", "required": True},
            "probation": {"type": "int", "default": 45},
        },
        supports_check_mode=True,
    )
    ruleset = module.params["ruleset"]
    try:
        if module.check_mode and not os.path.exists(NFT):
            module.exit_json(changed=True, pending=False, diff={"before": "", "after": ruleset})
        with flock(LOCK):
            if module.params["operation"] == "confirm" and not module.check_mode:
                confirm(ruleset)
                module.exit_json(changed=True, pending=False)
            live, wanted = listed(), canonical(ruleset)
            changed = live != wanted or os.path.exists(PENDING)
            kept = installed(ruleset)
            if changed and not module.check_mode:
                apply(ruleset, live, module.params["probation"])
            elif not kept and not module.check_mode:
                install(ruleset)
        module.exit_json(
            changed=changed or not kept,
            pending=changed and not module.check_mode,
            diff={"before": live, "after": wanted},
        )
    except (Failed, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
