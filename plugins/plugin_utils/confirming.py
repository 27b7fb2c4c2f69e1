# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows what will be done, and waits until whoever sits there says yes."""

from __future__ import annotations

from collections.abc import Sequence

from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.utils.display import Display
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


def ask(display: Display, lines: Sequence[str], code: str = "RS-113") -> None:
    """Print the lines of a plan and ask for a yes. Raises Refusal with this code where none is given."""
    display.display("\n".join(["", *lines, ""]))
    try:
        answer = display.prompt_until("Shall this be done? Type yes: ")
    except (AnsiblePromptNoninteractive, AnsiblePromptInterrupt) as error:
        raise Refusal(code, "Nobody is here to say yes.") from error
    if answer.decode(errors="replace").strip().lower() not in ("y", "yes"):
        raise Refusal(code, "It was not confirmed.")
