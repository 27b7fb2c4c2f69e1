# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Show what runs where, and how to connect
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Prints a map of racks, hosts and members, the addresses and ports for clients, and a C(psql) line with the place of
    the CA and of the password. The password itself is never printed.
  - Runs on the controller and connects to no host.
options:
  user:
    description: The Postgres role to connect as.
    type: str
    required: true
  database:
    description: The database to connect to.
    type: str
    required: true
  statistics_user:
    description: Who may see HAProxy's statistics page.
    type: str
    default: admin
attributes:
  check_mode:
    description: Shows the same in check mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Show the site and how to connect
  rackspread.ha.report:
    user: rackspread
    database: rackspread
"""

RETURN = r""" # """
