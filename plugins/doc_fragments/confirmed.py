# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that actions share which show what they will do, and ask."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragments `rackspread.ha.confirmed` and `rackspread.ha.confirmed.maintenance`."""

    DOCUMENTATION = r"""
options:
  confirmed:
    description: The answer where nobody is there to be asked.
    type: bool
    default: false
attributes:
  check_mode:
    description: Only says what would be done, and asks nobody.
    support: full
  diff_mode:
    description: The plan is told in words.
    support: none
"""

    MAINTENANCE = r"""
options:
  maintenance:
    description: Why nothing may be done now; empty where it may.
    type: str
    default: ""
"""
