# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a host is brought to what is asked, and what nobody asked for stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.modules import host_settings


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's files, with what a role has asked for before."""
    for name in ("HOSTS", "SYSCTL"):
        monkeypatch.setattr(host_settings, name, str(tmp_path / name))
    monkeypatch.setattr(host_settings, "KERNEL", str(tmp_path / "kernel"))
    (tmp_path / "kernel/vm").mkdir(parents=True)
    (tmp_path / "kernel/vm/swappiness").write_text("60\n")
    monkeypatch.setattr(host_settings, "units", lambda names: {})
    (tmp_path / "HOSTS").write_text("127.0.0.1 localhost\n")
    assert ask(hosts={"r1h1": "192.0.2.11"}, sysctl={"vm.swappiness": 1})["changed"]
    return tmp_path


def ask(**asked: Any) -> dict[str, Any]:
    nothing = {"hosts": None, "sysctl": None, "files": {}, "services": {}, "programs": False}
    return host_settings.converge({**nothing, **asked}, False)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def test_what_is_asked_is_there_and_asked_again_nothing_changes(ground: Path) -> None:
    assert texts(ground)["HOSTS"].splitlines()[1:] == ["192.0.2.11 r1h1", "# rackspread: end", "127.0.0.1 localhost"]
    assert texts(ground)["SYSCTL"] == "vm.swappiness = 1\n"
    assert (ground / "kernel/vm/swappiness").read_text() == "1"
    assert not ask(hosts={"r1h1": "192.0.2.11"}, sysctl={"vm.swappiness": 1})["changed"]


def test_who_asks_for_files_alone_takes_no_names_and_settings_away(ground: Path) -> None:
    before = texts(ground)
    assert ask(files={str(ground / "own"): "it\n"})["changed"]
    assert texts(ground) == {**before, "own": "it\n"}


def test_nothing_is_asked_for_by_an_empty_dictionary(ground: Path) -> None:
    assert ask(hosts={}, sysctl={})["changed"]
    assert texts(ground) == {"HOSTS": "127.0.0.1 localhost\n"}
