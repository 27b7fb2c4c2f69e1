# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replacing the passwords of a service in phases (phases.py). The files of a change are described in secrets.py.

Which phase a member has taken is written among the files that its process runs with (instance.PASSWORD_PHASE). A phase
begins where a run has ended the one before, and the members themselves, asked once more, have taken it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike

from . import files, phases, secrets
from .formation import State
from .refusals import Refusal
from .secrets import SECRETS, Change, Given, change_of, change_path, next_path, path_for
from .standing import Standing

WORDS = {
    "trust": "the new ones are made, and accepted beside the old ones; the old ones are used",
    "present": "the new ones are used; the old ones are accepted as well",
    "drop": "the new ones alone are accepted",
    "settle": "no host is changed; the new ones take the old ones' place here",
}
"""What a run does in a phase."""

ONE = {
    "postgres": "A role of Postgres has one password, and so has Patroni's REST interface: in the phase present theirs"
    " are changed, and what still presents the old one makes no new connection from then on.",
    "edge": "HAProxy's statistics page has one password: it is changed in the phase present.",
}
"""Where not all passwords can be accepted side by side."""

FIXED = {
    "kafka": "The passwords of kafka can't be changed yet: a user has one, and its brokers, which come to each other by"
    " theirs, would be parted into those with the old and those with the new one",
}
"""Whose passwords are not changed, and why."""

CLIENTS = {
    "trust": "The new ones are in {path}. Give them to every client outside the site before the run for drop.",
    "drop": "The old ones are no longer accepted by anybody.",
}
"""What somebody has to do, or may do, after a phase was rolled."""

Inventory = str | PathLike[str]


def next_phase(inventory: Inventory, service: str, missing: Sequence[str]) -> str:
    """The phase that a run is for. Raises Refusal RS-125; see phases.of_run."""
    if service in FIXED:
        raise Refusal("RS-125", FIXED[service])
    now = change_of(inventory, service)
    return phases.of_run(now.phase, now.ended, missing, f"The passwords of {service} are")


def enter(inventory: Inventory, service: str, phase: str, given: Given | None = None) -> None:
    """Make a phase the present one, with new passwords where it is the first. Entered again, it stays.

    Raises Refusal RS-125 where all passwords of the service are the user's own, who changes them where they are given.
    """
    path, now = path_for(inventory, service), change_of(inventory, service)
    with files.exclusive(path.parent):
        if phase == now.phase:
            return
        if phase == "trust":
            names = sorted(secrets.read(path).keys() & SECRETS[service].keys() - (given or {}).get(service, {}).keys())
            if not names:
                sentence = f"The passwords of {service} are not in {path}: they are given in {secrets.GIVEN}"
                raise Refusal("RS-125", sentence)
            now = Change(now.number + 1)
            # What lies there is in use already, since its change has ended, or never was.
            new = secrets.text({name: secrets.fresh() for name in names})
            files.write_whole(next_path(inventory, service), new, 0o600)
        _write(inventory, service, Change(now.number, phase))


def require(inventory: Inventory, service: str, missing: Sequence[str]) -> None:
    """Refuse (RS-126) to end a run of the present phase where something is not as it wants it, a clause each."""
    phases.require(change_of(inventory, service).phase, missing, f"Passwords of {service}")


def end(inventory: Inventory, service: str) -> list[str]:
    """End a run of the present phase, which all have taken: after the last one the change is settled. What is told."""
    now, what = change_of(inventory, service), f"Passwords of {service}"
    phase, told = now.phase, [f"{what}: changed."]
    if phase in ("drop", "settle"):
        settle(inventory, service)
    else:
        _write(inventory, service, replace(now, ended=True))
        told = [f"{what}: phase {phase} is rolled out. The next run is for {phases.after(phase)}."]
        told += [ONE[service]] if phase == "trust" and service in ONE else []
    return told + ([CLIENTS[phase].format(path=next_path(inventory, service))] if phase in CLIENTS else [])


def settle(inventory: Inventory, service: str) -> None:
    """End a change whose last phase was rolled: the new passwords take the old ones' place.

    Cut short anywhere, it is done again from there.
    """
    enter(inventory, service, "settle")
    path, new = path_for(inventory, service), next_path(inventory, service)
    with files.exclusive(path.parent):
        files.write_whole(path, secrets.text({**secrets.read(path), **secrets.read(new)}), 0o600)
        _write(inventory, service, Change(change_of(inventory, service).number))
        new.unlink()


def lacking(standing: Standing, service: str, change: Change) -> list[str]:
    """The members of a service that do not run with the passwords of the present phase, a clause each.

    Args:
        standing: of the site.
        service: whose passwords change.
        change: the present one, or the last.
    """
    phase = change.mark.partition(" ")[2] or "none"
    return [
        f"{seen} of {group} has not taken the phase {phase}"
        for (_row, group), members in standing.seen.items()
        if group.partition("_")[0] == service
        for seen in members
        if seen.state is not State.JOINED or seen.passwords != change.mark
    ]


def _write(inventory: Inventory, service: str, change: Change) -> None:
    text = f"{change.number} {phases.text(change.phase, change.ended)}".strip()
    files.write_whole(change_path(inventory, service), f"{text}\n", 0o644)
