# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rackspread.ha.plugins.plugin_utils import moving, screen, validity
from ansible_collections.rackspread.ha.plugins.plugin_utils.live_site import LiveSite
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.remote import Remote
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import exposition, told


class ActionModule(ActionBase):
    """Prints what it saw itself, since a callback would print it as one quoted string."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look at the whole site."""
        super().run(tmp, task_vars)
        self.validate_argument_spec({})
        try:
            site = current.site()
            live = LiveSite(site, Remote(self, task_vars or {}))
            standing, authorities = live.stand(), live.authorities()
            terms = validity.terms_of(live.holdings()[0])
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        now = datetime.now(UTC)
        ailments, survived = standing.ailments(), standing.survives(live.topology["racks"])
        displaced, changes = standing.displaced(), [each["text"] for each in live.topology["changes"]]
        days, begun = validity.shortest([*terms, *authorities], now), screen.unfinished(site.lock)
        parts = [
            screen.draw(standing, list(live.topology["racks"])),
            *(["\n".join(begun)] if begun else []),
            *([lines("Leaders that are not where they should be (rebalance.yml):", displaced)] if displaced else []),
            *([lines("By the spec a run would also:", changes)] if changes else []),
            "\n".join(validity.told(terms, authorities, now)),
            told(survived, ailments),
        ]
        self._display.display("\n" + "\n\n".join(parts) + "\n")
        return {
            "changed": False,
            "ailments": ailments,
            "racks": {rack: {"survives": not why, "reasons": why} for rack, why in survived.items()},
            "displaced": displaced,
            "pending": screen.pending(standing),
            "moves": [str(move) for move in moving.moves(site.lock)],
            "given_up": list(site.lock.given_up),
            "certificate_days": days,
            "exposition": exposition(survived, ailments, days, now.timestamp()),
        }


def lines(title: str, sentences: list[str]) -> str:
    """Sentences below their title."""
    return "\n".join([title, *(f"  {sentence}" for sentence in sentences)])
