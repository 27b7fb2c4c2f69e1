"""What is fetched by address and checksum: whole or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.host import Failed
from ansible_collections.rackspread.ha.plugins.modules import archive

Have = Callable[..., Path]


def packed(*names: str) -> bytes:
    """A tar archive with these files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            tar.addfile(entry, io.BytesIO(name.encode()))
    return content.getvalue()


@pytest.fixture
def have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Have:
    """Has what the bytes are; answers its folder."""
    lock = archive.flock
    monkeypatch.setattr(archive, "flock", lambda _path, timeout: lock(str(tmp_path / "lock"), timeout))

    def run(content: bytes, checksum: str | None = None) -> Path:
        source, root = tmp_path / "source", tmp_path / "root"
        source.write_bytes(content)
        checksum = checksum or hashlib.sha256(content).hexdigest()
        params = {
            "name": "thing", "url": source.as_uri(), "checksum": checksum, "root": str(root), "timeout": "5",
        }  # fmt: skip
        archive.have(params, str(root / "thing-1"))
        return root / "thing-1"

    return run


def test_a_program_is_put_under_its_name(have: Have) -> None:
    folder = have(b"#!/bin/sh\n")
    assert (folder / "thing").read_bytes() == b"#!/bin/sh\n"
    assert (folder / "thing").stat().st_mode & 0o777 == 0o755


def test_the_one_top_folder_of_an_archive_is_left_out(have: Have) -> None:
    folder = have(packed("thing-4.1/bin/run", "thing-4.1/libs/a.jar"))
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        "bin/run", "libs/a.jar",
    ]  # fmt: skip


def test_an_archive_without_one_is_taken_as_it_is(have: Have) -> None:
    assert {path.name for path in have(packed("run", "libs/a.jar")).iterdir()} == {"run", "libs"}


def test_another_checksum_leaves_nothing(have: Have, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"has the SHA-256 .*, and 0000"):
        have(b"something else", "0" * 64)
    assert list((tmp_path / "root").iterdir()) == []


def test_what_is_not_there_is_told(have: Have, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "as_uri", lambda _self: f"file://{tmp_path}/missing")
    with pytest.raises(Failed, match="thing can't be had from file:///"):
        have(b"")
    assert list((tmp_path / "root").iterdir()) == []
