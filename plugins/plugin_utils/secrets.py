# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The passwords of a site: which there are, and the files that keep them.

A secret is, in this order, the one that the user gives in `rackspread_secrets` (never written anywhere), the one in
`<inventory>/.rackspread/secrets/<service>.yml` (0600), or generated once and kept there. None is generated over a
service that was formed.

While a service's passwords are replaced (passwords.py), the new ones lie beside, in `<service>.next.yml`; the file
`<service>.change` names the change, by its number, and its phase. It stays when the change has ended.
"""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import files, phases, state
from .refusals import Refusal

SECRETS: dict[str, dict[str, str]] = {
    "postgres": {
        "admin": "the role `rackspread`, which owns databases and makes roles",
        "replication": "the role by which replicas stream",
        "rewind": "the role by which pg_rewind reads the new primary",
        "rest": "Patroni's REST interface, for what changes something (beside the client certificate)",
    },
    "redis": {
        "application": "the user `application`, who reads and writes keys",
        "admin": "the user `admin`, who may do everything",
        "replication": "the user `replication`, as whom replicas follow their masters",
        "exporter": "the user `exporter`, who reads figures and no keys",
    },
    "kafka": {
        "admin": "the user `admin`, who may do everything",
        "broker": "the user `broker`, as whom brokers come to each other",
    },
    "edge": {
        "stats": "HAProxy's statistics page",
    },
}
"""service -> name -> what it opens. etcd has none: its clients are known by their certificates."""

GIVEN = "rackspread_secrets"
"""The variable with the user's own: service -> name -> value."""

LENGTH = 40
ALPHABET = string.ascii_letters + string.digits
"""Nothing that needs quoting in any configuration file; 40 of these are 238 bits."""

HEADER = "# Made once by rackspread. Keep it with the inventory's lock, and away from everybody else.\n"

Given = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Change:
    """The replacement of a service's passwords that is under way, or the last one.

    Args:
        number: how many there were, with this one.
        phase: of phases.PHASES; "" where it has ended.
        ended: whether a run has ended the phase.
    """

    number: int = 0
    phase: str = ""
    ended: bool = False

    @property
    def mark(self) -> str:
        """What members are to run with: the number and the phase, `2.1 trust`; "" before the first change.

        After the last phase that changes a host it stays.
        """
        place = min(phases.PHASES.index(self.phase or "drop"), 2)
        return f"{self.number}.{place + 1} {phases.PHASES[place]}" if self.number else ""


def path_for(inventory: str | os.PathLike[str], service: str) -> Path:
    """The file with a service's secrets."""
    return state.folder(inventory) / "secrets" / f"{service}.yml"


def next_path(inventory: str | os.PathLike[str], service: str) -> Path:
    """The file with the passwords that take the place of the present ones."""
    return path_for(inventory, service).with_suffix(".next.yml")


def change_path(inventory: str | os.PathLike[str], service: str) -> Path:
    """The file that names the change of a service's passwords."""
    return path_for(inventory, service).with_suffix(".change")


def change_of(inventory: str | os.PathLike[str], service: str) -> Change:
    """The change of a service's passwords. Raises Refusal RS-042 where its file can't be understood."""
    path = change_path(inventory, service)
    try:
        words = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return Change()
    with suppress(ValueError):
        if words and words[0].isdigit():
            return Change(int(words[0]), *(phases.parse(words[1:]) if words[1:] else ()))
    raise Refusal("RS-042", f"{path} holds no number and phase of a change.", path=path)


def read(path: Path) -> dict[str, str]:
    """The secrets in a file; none where there is no file. Raises Refusal RS-042 where it can't be understood."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        # YAML's own message quotes the line, which is a secret.
        raise Refusal("RS-042", f"{path} can't be read ({type(error).__name__}).", path=path) from None
    if not isinstance(content, dict) or not all(isinstance(value, str) and value for value in content.values()):
        raise Refusal("RS-042", f"{path} is not a list of names with a value each.", path=path)
    return content


def find(inventory: str | os.PathLike[str], service: str, name: str, given: Given | None = None) -> str:
    """A secret, given or kept; nothing is made here.

    Raises Refusal RS-043 where there is none, RS-042 where its file can't be read, ValueError for an unknown name.
    """
    if name not in SECRETS.get(service, {}):
        raise ValueError(f"{service} has no secret {name}; it has: {', '.join(SECRETS.get(service, {})) or 'none'}")
    value = (given or {}).get(service, {}).get(name) or _kept(inventory, service)[0].get(name)
    if not value:
        sentence = f"The secret {name} of {service} is neither given nor in {path_for(inventory, service)}."
        raise Refusal("RS-043", sentence, given=f"{GIVEN}.{service}.{name}")
    return value


def beside(inventory: str | os.PathLike[str], service: str, given: Given | None = None) -> dict[str, str]:
    """The kept secrets, by name, that are to be accepted beside those that `find` answers: while they are replaced.

    Raises Refusal RS-042 as `find`.
    """
    other = _kept(inventory, service)[1]
    return {name: value for name, value in other.items() if name not in (given or {}).get(service, {})}


def _kept(inventory: str | os.PathLike[str], service: str) -> tuple[dict[str, str], dict[str, str]]:
    """What is presented of the kept secrets, and what is accepted beside, by the phase of a change."""
    now, phase = read(path_for(inventory, service)), change_of(inventory, service).phase
    if not phase:
        return now, {}
    new = read(next_path(inventory, service))
    if not new:
        path = next_path(inventory, service)
        raise Refusal("RS-042", f"{service} is in the phase {phase}, and {path} holds no passwords.", path=path)
    if phase == "trust":
        return now, new
    return {**now, **new}, {name: now[name] for name in new if name in now} if phase == "present" else {}


def ensure_secrets(
    inventory: str | os.PathLike[str],
    services: Iterable[str],
    records: Mapping[str, Mapping[str, Any] | None],
    given: Given | None = None,
    *,
    dry: bool = False,
) -> list[str]:
    """Generate the secrets of these services that are neither given nor kept.

    Args:
        inventory: the inventory's folder, or a file in it.
        services: names of the spec; those without secrets are passed over.
        records: host -> its record or None, of every host that may carry a member.
        given: the user's own, which are never written.
        dry: only tell (check mode).

    Returns:
        What was (or would be) generated, as `service/name`; never a value.

    Raises:
        Refusal: RS-040 where a service was formed and its file is gone, RS-042 where a file can't be read.
    """
    made = []
    for service in services:
        path = path_for(inventory, service)
        wanted = SECRETS.get(service, {}).keys() - (given or {}).get(service, {}).keys()
        if wanted <= read(path).keys():
            continue
        if not path.exists():
            state.refuse_if_living(path, service, inventory, records)
        if dry:
            made += [f"{service}/{name}" for name in sorted(wanted - read(path).keys())]
            continue
        with files.exclusive(path.parent):
            kept = read(path)  # another run may have been here meanwhile
            missing = sorted(wanted - kept.keys())
            if missing:
                files.write_whole(path, text(kept | {name: fresh() for name in missing}), 0o600)
            made += [f"{service}/{name}" for name in missing]
    return made


def text(values: Mapping[str, str]) -> str:
    """The content of a file of secrets."""
    return HEADER + yaml.safe_dump(dict(values))


def fresh() -> str:
    """A new secret."""
    return "".join(secrets.choice(ALPHABET) for _place in range(LENGTH))
