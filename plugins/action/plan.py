# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import current
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.page import page
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import check_built
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.text import render, tell_bounds, tell_survival
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


class ActionModule(ActionBase):
    """Prints the map itself, since a callback would print it as one quoted string."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Show the site of this run, or refuse it."""
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(
            {
                "buildable": {"type": "bool", "default": False},
                "rebalance": {"type": "bool", "default": False},
                "moves": {"type": "int"},
                "lost": {"type": "list", "elements": "str", "default": []},
                "page": {"type": "path"},
            },
            required_by={"moves": "rebalance"},
        )
        try:
            site = current.site()
            if arguments["rebalance"] or arguments["lost"]:
                site = site.moved(arguments["moves"] if arguments["rebalance"] else 0, arguments["lost"])
            if arguments["buildable"]:
                check_built(site.topology)
        except Refusal as refusal:
            raise AnsibleActionFail(str(refusal)) from refusal
        topology, generation = site.topology, site.lock.generation
        answer = {"changed": False, "changes": topology["changes"], "generation": generation}
        if arguments["buildable"]:
            return answer
        bounds, survival = site.bounds(), site.survival()
        drawn = render(topology, generation, get_terminal_size((100, 24)).columns)
        told = tell_bounds(bounds, site.placement.moves), tell_survival(survival)
        Display().display("\n\n".join((drawn, *told)))
        if arguments["page"]:
            Path(arguments["page"]).write_text(page(site.picture()), encoding="utf-8")
        return {**answer, "bounds": bounds, "survival": survival, "moves": _moves(site.placement.moves)}


def _moves(moves: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    return {component: {"made": made, "least": least} for component, (made, least) in moves.items()}
