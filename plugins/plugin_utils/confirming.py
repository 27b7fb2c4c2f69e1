# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every playbook that is asked for does before it acts: it says what it will do, and asks."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

with suppress(ImportError):  # ansible-test imports each file without
    from ansible.errors import AnsiblePromptInterrupt, AnsiblePromptNoninteractive


def ask(display: Any) -> None:
    """Ask whether it shall be done. Raises Refusal RS-105 for anything but a yes, and where nobody can answer."""
    try:
        answer = display.prompt_until("Shall this be done? Type yes: ")
    except (AnsiblePromptNoninteractive, AnsiblePromptInterrupt) as error:
        raise Refusal("RS-105", "Nobody is here to say yes.") from error
    if answer.decode(errors="replace").strip().lower() not in ("y", "yes"):
        raise Refusal("RS-105", "It was not confirmed.")
