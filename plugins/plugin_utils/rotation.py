# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replacing a service's authority by a new one, in phases, so that at no moment two halves do not trust each other.

`trust`: hosts trust both, certificates are the old one's. `present`: certificates are the new one's, both are trusted.
`drop`: only the new one is trusted. Each is brought to all hosts and rolled before the next one begins. One file on
the controller names the phase, and is replaced in one step; `settle`, which changes no host, is the time in which the
new one's files take the place of the old one's, and a run that was killed in it ends it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import files, phases, pki
from .refusals import Refusal

TRUSTED = "trusted.crt"
"""Beside ca.crt while a CA is changed: what clients outside have to trust meanwhile."""

WORDS = {
    "trust": "hosts trust the new CA beside the old one; certificates stay the old one's",
    "present": "hosts get certificates of the new CA; both are trusted",
    "drop": "hosts trust the new CA alone",
    "settle": "no host is changed; the new CA takes the old one's place here",
}
"""What a run does in a phase."""

CLIENTS = {
    "trust": "Before the next phase give every client outside the site {path} as its CA file.",
    "drop": "Clients outside the site may drop the old CA: {path} is the new one alone.",
}
"""What somebody has to do after a phase was rolled."""


def next_phase(path: Path, missing: Sequence[str]) -> str:
    """The phase that a run is for; see phases.of_run.

    Args:
        path: the authority's folder.
        missing: what is not as the present phase wants it, a clause each (`unrolled`, and what ails the site).

    Raises Refusal RS-125 where nothing was begun, and the hosts are not as they should be to begin with.
    """
    return phases.of_run(pki.phase_of(path), pki.phase_ended(path), missing, f"The CA in {path} is")


def enter(path: Path, service: str, phase: str) -> None:
    """Make a phase the present one; what it needs is there before. Entered again, it stays."""
    if phase == "trust" and pki.phase_of(path) != phase:
        old = pki.load_pair(path, service)
        if old is None:
            raise Refusal("RS-125", f"There is no CA of {service} in {path} that could be changed")
        fresh = path / pki.NEXT
        left = pki.load_pair(fresh, service)
        if left and left.certificate == old.certificate:
            _remove(fresh)  # of a change that has ended
            left = None
        if left is None:
            fresh.mkdir(mode=0o700, exist_ok=True)
            pki.make(fresh, service, old.site, pki.ordinal_of(old) + 1)
    if pki.phase_of(path) != phase:
        files.write_whole(path / pki.PHASE, f"{phase}\n", 0o644)


def require(path: Path, service: str, missing: Sequence[str]) -> None:
    """Refuse (RS-126) to end a run of the present phase where something is not as it wants it, a clause each."""
    phases.require(pki.phase_of(path), missing, f"CA of {service}")


def end(path: Path, service: str) -> list[str]:
    """End a run of the present phase, which all have taken: after the last one the change is settled. What is told."""
    phase, what = pki.phase_of(path), f"CA of {service}"
    told = [f"{what}: changed."]
    if phase in ("drop", "settle"):
        settle(path, service)
    else:
        files.write_whole(path / pki.PHASE, f"{phases.text(phase, ended=True)}\n", 0o644)
        told = [f"{what}: phase {phase} is rolled out. The next run is for {phases.after(phase)}."]
    return told + remarks(path, phase)


def settle(path: Path, service: str) -> None:
    """End a change whose last phase was rolled: the new authority takes the old one's place.

    Of the old one the certificate stays, by which a host that still trusts it is known; its key goes. Cut short
    anywhere, it is done again from there.
    """
    enter(path, service, "settle")
    new, first = pki.load_pair(path / pki.NEXT, service), pki.certificate_of(path, service)
    if new and first and first != new.certificate:
        (path / pki.FORMER).mkdir(mode=0o700, exist_ok=True)
        _copy(path, path / pki.FORMER, "ca.crt", 0o644)
    _copy(path / pki.NEXT, path, "ca.crt", 0o644)
    if new and new.key:
        _copy(path / pki.NEXT, path, "ca.key", 0o600)
    else:  # it is kept elsewhere
        (path / "ca.key").unlink(missing_ok=True)
    (path / TRUSTED).unlink(missing_ok=True)
    (path / pki.PHASE).unlink()
    _remove(path / pki.NEXT)


def tell_clients(path: Path, trusted: str) -> None:
    """Put what clients have to trust where they are told to find it."""
    if not (path / TRUSTED).exists() or (path / TRUSTED).read_text(encoding="utf-8") != trusted:
        files.write_whole(path / TRUSTED, trusted, 0o644)


def remarks(path: Path, phase: str) -> list[str]:
    """What somebody has to do once a phase is rolled."""
    place = path / ("ca.crt" if phase == "drop" else TRUSTED)
    return [CLIENTS[phase].format(path=place)] if phase in CLIENTS else []


def unrolled(needs: Mapping[str, str], wanting: Iterable[str]) -> list[str]:
    """Why a phase is not rolled out yet, a clause each.

    Args:
        needs: by group what a run would still do to its members.
        wanting: hosts whose files are not those of the phase.
    """
    return [*(f"{group}: {need}" for group, need in needs.items()), *(f"{host}: certificates" for host in wanting)]


def _remove(folder: Path) -> None:
    """Take an authority's folder away, its key first: one left alone would be taken up by the next change."""
    (folder / "ca.key").unlink(missing_ok=True)
    shutil.rmtree(folder)


def _copy(source: Path, target: Path, name: str, mode: int) -> None:
    """A file from one folder to another, whole."""
    files.write_whole(target / name, (source / name).read_text(encoding="utf-8"), mode)
