# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
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
            live = LiveSite(current.site(), Remote(self, task_vars or {}))
            standing = live.stand()
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        ailments, survived = standing.ailments(), standing.survives(live.topology["racks"])
        self._display.display(f"\n{told(survived, ailments)}\n")
        return {
            "changed": False,
            "ailments": ailments,
            "racks": {rack: {"survives": not why, "reasons": why} for rack, why in survived.items()},
            "exposition": exposition(survived, ailments, time.time()),
        }
