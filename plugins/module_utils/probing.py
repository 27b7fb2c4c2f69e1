# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the clients of a drill live on the host that they run on."""

from __future__ import annotations

FOLDER = "/run/rackspread/probe"
LOG = "log"
SETTINGS = "settings.json"
SHARED = "counting.py"


def folder(service: str) -> str:
    """The folder of one probe."""
    return f"{FOLDER}/{service}"


def unit(service: str) -> str:
    """The transient unit that a probe runs in, without `.service`."""
    return f"rackspread-probe-{service}"
