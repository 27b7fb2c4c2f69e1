# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that the modules C(<service>_member) and C(<service>_info) share."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragments `rackspread.ha.member` and `rackspread.ha.member.info`."""

    DOCUMENTATION = r"""
options:
  operation:
    description:
      - What is done on this host. V(look) tells what is seen, all others act; V(admit) and V(expel) are done on a
        living member for another one, O(target). V(ask) notes that a restart is asked for. V(retire) stops for good a
        member that leaves, or is lost; its data is put aside and kept. V(share) has groups that are shares of one whole
        come nearer to having the same, for a while; it is called again until they have.
    type: str
    choices:
      [look, form, join, start, activate, revert, admit, expel, step_down, share, settle, remember, ask, retire,
       forget]
    default: look
  group:
    description: The group, whole, a dictionary of C(name), C(index), C(members), C(intent) and C(next_id).
    type: dict
    required: true
  member:
    description: Id of the member of this host.
    type: int
    required: true
  unit:
    description: Its systemd unit, without C(.service).
    type: str
    required: true
  data:
    description: Its data folder. A service without data leaves it out.
    type: path
  program:
    description: Which of several programs of the group this is about.
    type: str
  site_id:
    description: Id of the site. Required by all that acts.
    type: str
  generation:
    description: Generation of the site's lock. A host where a run with a higher one acted refuses.
    type: int
    default: 0
  intent:
    description: What is to be formed. Required by V(operation=form).
    type: dict
  peer:
    description: What V(operation=admit) on a living member answered, for V(operation=join).
    type: dict
    default: {}
  target:
    description: Id of the other member, for V(operation=admit), V(operation=expel) and V(operation=step_down).
    type: int
  emptied:
    description: Keys of the groups that are to have nothing, for V(operation=share).
    type: list
    elements: str
    default: []
  settings:
    description: What the role wants the service to know.
    type: dict
    default: {}
  secrets:
    description: The same for what must not be seen.
    type: dict
    default: {}
notes:
  - The action M(rackspread.ha.converge) calls this module. Its operations check again what they rely on, so that two
    runs do no harm.
attributes:
  check_mode:
    support: full
    description: Can run in check mode; acts are not taken.
  diff_mode:
    support: none
    description: Has nothing to show.
"""

    INFO = r"""
options:
  instances:
    description:
      - The members to look at, each a dictionary of C(group), C(member), C(unit), C(data) and C(program). By default
        all of the service that this host's record knows.
    type: list
    elements: dict
  settings:
    description: What the role wants the service to know.
    type: dict
    default: {}
  secrets:
    description: The same for what must not be seen.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Has nothing to show.
"""
