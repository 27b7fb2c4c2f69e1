# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A CA is replaced in phases, none of which lets two hosts distrust each other, however far each of them is."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils import files, pki, rotation
from ansible_collections.rackspread.ha.plugins.plugin_utils.certificates import Held, read_entries, remedy
from ansible_collections.rackspread.ha.plugins.plugin_utils.pki import Authority
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

YEAR, MONTH = timedelta(days=365), timedelta(days=30)
SERVER = {"service": "etcd", "group": "etcd", "names": ["r1h1"], "addresses": ["127.0.0.1"], "client": True}
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
).decode()  # fmt: skip
PRIVATE = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()  # fmt: skip
STEPS = ("", "trust", "present", "drop")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pki.ensure_ca(tmp_path, ["etcd"], {}, "harbour")
    return pki.folder_for(tmp_path, "etcd")


def known(path: Path) -> Authority:
    found = pki.load(path.parents[2], "etcd")
    assert found
    return found


def brought_up(path: Path, held: Held) -> Held:
    """A host as a run leaves it."""
    [entry] = read_entries([SERVER], "r1h1")
    found = remedy(entry, held, known(path), "r1h1", YEAR, MONTH)
    if found is None:
        return held
    return Held(found.ca or held.ca, found.certificate or held.certificate, PUBLIC)


def hosts_of_each_phase(path: Path) -> Iterator[tuple[str, Held]]:
    held = Held(public_key=PUBLIC)
    for phase in STEPS:
        if phase:
            rotation.enter(path, "etcd", phase)
        held = brought_up(path, held)
        yield phase, held


def greet(server: Held, client: Held, folder: Path) -> None:
    """A handshake in which both sides ask for the other's certificate. Raises ssl.SSLError."""
    contexts = []
    for name, held, purpose in (
        ("server", server, ssl.Purpose.CLIENT_AUTH), ("client", client, ssl.Purpose.SERVER_AUTH),
    ):  # fmt: skip
        (folder / name).mkdir(exist_ok=True)
        for file, text in (("ca", held.ca), ("crt", held.certificate), ("key", PRIVATE)):
            (folder / name / file).write_text(text or "")
        context = ssl.create_default_context(purpose, cafile=str(folder / name / "ca"))
        context.load_cert_chain(folder / name / "crt", folder / name / "key")
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(one, other, server_side=True), contexts[1].wrap_bio(other, one, server_hostname="r1h1"),
    ]  # fmt: skip
    for _turn in range(8):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[0].getpeercert()
    assert ends[1].getpeercert()


def test_hosts_of_two_phases_that_follow_each_other_trust_each_other(path: Path, tmp_path: Path) -> None:
    phases = list(hosts_of_each_phase(path))
    assert [phase for phase, _held in phases] == list(STEPS)
    for (_before, one), (_after, other) in pairwise(phases):
        greet(one, other, tmp_path)
        greet(other, one, tmp_path)
    first, last = phases[0][1], phases[-1][1]
    with pytest.raises(ssl.SSLError):
        greet(last, first, tmp_path)


def test_each_phase_changes_what_it_says(path: Path) -> None:
    held = dict(hosts_of_each_phase(path))
    count = {phase: (one.ca or "").count("BEGIN") for phase, one in held.items()}
    assert count == {"": 1, "trust": 2, "present": 2, "drop": 1}
    assert len({one.certificate for one in held.values()}) == 4, "a new serial number makes Patroni read its CA file"
    assert brought_up(path, held["drop"]) == held["drop"], "and nothing is done twice"


def test_a_change_that_has_ended_leaves_one_authority_and_knows_the_one_before(path: Path) -> None:
    before = known(path).pem
    held = dict(hosts_of_each_phase(path))["drop"]
    rotation.settle(path, "etcd")
    after = known(path)
    assert (after.pem, after.trusted) == (held.ca, held.ca)
    assert after.key
    assert pki.ordinal_of(after) == 2
    assert pki.phase_of(path) == ""
    assert brought_up(path, held) == held
    assert after.knows(before), "a host that was away is brought up to date and not refused"
    assert not (path / "former/ca.key").exists()
    rotation.enter(path, "etcd", "trust")
    assert pki.ordinal_of(pki.load_pair(path / "next", "etcd") or after) == 3


class Killed(Exception):
    """The run ends here."""


@pytest.mark.parametrize("last", range(12))
def test_a_change_that_is_killed_anywhere_goes_on(path: Path, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    real = files.write_whole

    def write_whole(*words: Any) -> None:
        nonlocal written
        if written == last:
            raise Killed
        written += 1
        real(*words)

    def change() -> None:
        for phase in STEPS[1:]:
            if pki.phase_of(path) not in (*STEPS[STEPS.index(phase) :], "settle"):
                rotation.enter(path, "etcd", phase)
            assert known(path)
        rotation.settle(path, "etcd")

    monkeypatch.setattr(files, "write_whole", write_whole)
    try:
        change()
    except Killed:
        monkeypatch.setattr(files, "write_whole", real)
        assert known(path), "whatever was written, there is an authority"
        change()
    assert pki.ordinal_of(known(path)) == 2
    assert pki.phase_of(path) == ""
    assert not (path / "next").exists()


def test_the_key_of_a_change_that_has_ended_is_never_taken_up_by_the_next(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(folder: Path) -> None:
        (folder / "ca.crt").unlink()
        raise Killed

    dict(hosts_of_each_phase(path))
    monkeypatch.setattr(rotation.shutil, "rmtree", cut_short)
    with pytest.raises(Killed):
        rotation.settle(path, "etcd")
    monkeypatch.undo()
    ended = (path / "ca.key").read_text()
    rotation.enter(path, "etcd", "trust")
    assert (path / "next/ca.key").read_text() != ended


def test_no_phase_begins_before_the_one_before_it_is_rolled(path: Path) -> None:
    with pytest.raises(Refusal, match="RS-125"):
        rotation.next_phase(path, missing=["why"])
    assert rotation.next_phase(path, missing=[]) == "trust"
    for phase, after in (("trust", "present"), ("present", "drop")):
        rotation.enter(path, "etcd", phase)
        assert rotation.next_phase(path, missing=["why"]) == phase
        assert rotation.next_phase(path, missing=[]) == phase, "a run that was killed has told nobody what comes next"
        rotation.end(path, "etcd")
        assert rotation.next_phase(path, missing=["why"]) == phase
        assert rotation.next_phase(path, missing=[]) == after
    assert rotation.unrolled({"etcd_voter1": "restart r1h1"}, ["r2h1"]) == [
        "etcd_voter1: restart r1h1", "r2h1: certificates",
    ]  # fmt: skip


def test_a_phase_ends_when_it_is_rolled_out_and_says_what_comes_next(path: Path) -> None:
    rotation.enter(path, "etcd", "trust")
    with pytest.raises(Refusal, match="RS-126: CA of etcd, phase trust: r2h1: certificates"):
        rotation.require(path, "etcd", ["r2h1: certificates"])
    first, remark = rotation.end(path, "etcd")
    assert first == "CA of etcd: phase trust is rolled out. The next run is for present."
    assert f"{path}/trusted.crt" in remark
    assert pki.phase_of(path) == "trust", "the next run enters the next one"
    rotation.enter(path, "etcd", "present")
    rotation.enter(path, "etcd", "drop")
    assert rotation.end(path, "etcd")[0] == "CA of etcd: changed."
    assert pki.phase_of(path) == ""


def test_a_phase_without_its_authority_is_refused(path: Path) -> None:
    (path / "phase").write_text("present\n")
    with pytest.raises(Refusal, match="RS-042"):
        known(path)
    for words in ("later", "settle ended", ""):
        (path / "phase").write_text(f"{words}\n")
        with pytest.raises(Refusal, match=f"RS-042: .*phase holds '{words}', which is none of trust, present"):
            known(path)
