# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What CAs and passwords are replaced in, so that at no moment two members do not let each other in.

`trust`: the new one is accepted beside the old one, which is presented. `present`: the new one is presented, both are
accepted. `drop`: only the new one is accepted. Each is brought to all members before the next one begins. `settle`
changes no host: it is the time in which the new one's files take the place of the old one's.

A file on the controller names the phase, and says when a run has ended it: what a run tells at its end, about clients
outside of the site, was read by nobody where it was killed before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .refusals import Refusal

PHASES = ("trust", "present", "drop", "settle")
ENDED = "ended"
"""Behind the phase's name in its file, once a run has ended it. `drop` ends in `settle`, and that in no phase."""


def text(phase: str, ended: bool = False) -> str:
    """How a file names a phase."""
    return f"{phase} {ENDED}" if ended else phase


def parse(words: Sequence[str]) -> tuple[str, bool]:
    """The phase that the words of a file name, and whether a run has ended it. Raises ValueError with a clause."""
    said = " ".join(words)
    if said not in (*PHASES, *(text(phase, ended=True) for phase in PHASES[:2])):
        raise ValueError(f"{said!r}, which is none of {', '.join(PHASES)}")
    return words[0], len(words) > 1


def after(phase: str) -> str:
    """The phase after one of them; the first for "", which says that nothing is replaced."""
    return PHASES[PHASES.index(phase) + 1] if phase else PHASES[0]


def of_run(phase: str, ended: bool, missing: Sequence[str], what: str) -> str:
    """The phase that a run is for: the one after the present one where a run has ended that, and all have taken it.

    Args:
        phase: the present one, "" for none.
        ended: whether a run has ended it.
        missing: what is not as the present phase wants it, a clause each.
        what: is changed, with its verb: "The CA in … is".

    Raises Refusal RS-125 where nothing was begun, and not all is as it should be to begin with.
    """
    if missing and not phase:
        raise Refusal("RS-125", f"{what} not changed now: {'; '.join(missing)}")
    return phase if phase and (missing or not ended) else after(phase)


def check_together(present: Mapping[str, str]) -> None:
    """Refuse (RS-125) a run for several services of which some are changed already and some are not.

    It may be the run that was killed as the last of them were ended: those would begin anew.

    Args:
        present: by service its phase.
    """
    begun, others = ([name for name, phase in present.items() if bool(phase) is wanted] for wanted in (True, False))
    if begun and others:
        sentence = f"{', '.join(begun)} is being changed, and {', '.join(others)} is not: name those that are to go on"
        raise Refusal("RS-125", sentence)


def require(phase: str, missing: Sequence[str], what: str) -> None:
    """Refuse (RS-126) to end a phase that is not rolled out: the next one would lock out who did not follow."""
    if missing and phase != "settle":
        raise Refusal("RS-126", f"{what}, phase {phase}: {'; '.join(missing)}")
