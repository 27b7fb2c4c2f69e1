# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is remembered of a round of reboots that are not due by themselves, until all of them are done."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from . import files


class Round:
    """A round, begun by this run or by one that was killed.

    Attributes:
        since: when it was begun; "" where none is.
        boots: by host the boot id that it had when it became part of the round; one with another id is done.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.since: str = kept.get("since", "")
        self.boots: dict[str, str] = kept.get("boots", {})

    def begin(self, boots: Mapping[str, str]) -> None:
        """Write down the boots of hosts, but for those that are part of the round already."""
        if boots.keys() <= self.boots.keys():
            return
        self.since = self.since or time.strftime("%Y-%m-%d %H:%M:%S")
        self.boots = {**boots, **self.boots}
        files.write_whole(self._path, json.dumps({"since": self.since, "boots": self.boots}, indent=1) + "\n", 0o644)

    def end(self, done: Collection[str], known: Collection[str]) -> None:
        """Forget it, once all its hosts are done that the site still has.

        Args:
            done: hosts that are.
            known: the hosts of the site.
        """
        if not self.boots.keys() & set(known) - set(done):
            self._path.unlink(missing_ok=True)
