# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of a site's state on the controller, `<inventory>/.rackspread/`: which it is, and what is made once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import lock
from .placement import current
from .refusals import Refusal


def folder(inventory: str | os.PathLike[str]) -> Path:
    """The site's state folder, given its inventory's folder or a file in it."""
    return lock.path_for(inventory).parent


def inventory_of(variables: Mapping[str, Any]) -> str:
    """The inventory whose state folder counts: the one with the spec, or, without a spec, the one with the host.

    Args:
        variables: the host's, as a task or lookup gets them.

    Raises Refusal RS-046 where neither is there.
    """
    with suppress(Refusal):
        return str(Path(current.site().topology["state"]).parent)
    if not variables.get("inventory_dir"):
        raise Refusal("RS-046", "No inventory folder is known here.")
    return str(variables["inventory_dir"])


def refuse_if_living(
    missing: Path, service: str, inventory: str | os.PathLike[str], records: Mapping[str, Mapping[str, Any] | None]
) -> None:
    """Raise RS-040 where the lock or a host's record says that a group of the service was formed.

    Args:
        missing: the file that would have to be made, for the sentence.
        service: whose it is.
        inventory: the inventory's folder, or a file in it.
        records: host -> its record, of every host that may carry a member; None for a host without one.
    """
    prefix = f"{service}_"
    formed = {key for key, group in lock.read(lock.path_for(inventory)).groups.items() if group.formed}
    witnesses = [("the lock", key) for key in sorted(formed) if key.startswith(prefix)] + [
        (host, key)
        for host, record in sorted(records.items())
        for key, group in sorted((record or {}).get("groups", {}).items())
        if key.startswith(prefix) and group.get("formed")
    ]
    if witnesses:
        witness, group = witnesses[0]
        raise Refusal("RS-040", f"{missing} is not there, but {witness} says that {group} was formed.", path=missing)
