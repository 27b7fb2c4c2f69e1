# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A round of reboots is remembered for as long as a host of it is left, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.patch_round import Round

BOOTS = {"h1": "a", "h2": "b"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "patch.json"


def test_a_round_is_gone_on_with_by_the_boots_that_it_began_with(path: Path) -> None:
    Round(path).begin(BOOTS)
    again = Round(path)
    assert again.since
    again.begin({"h1": "another", "h2": "b"})
    assert Round(path).boots == BOOTS


def test_a_round_is_forgotten_with_its_last_host(path: Path) -> None:
    Round(path).begin(BOOTS)
    Round(path).end(["h1"], ["h1", "h2"])
    assert Round(path).since, "h2 is left"
    Round(path).end(["h2"], ["h2"])
    assert not path.exists(), "h1 is no host of the site any more"


def test_a_round_that_was_killed_after_its_last_reboot_is_ended_by_the_next_run(path: Path) -> None:
    Round(path).begin(BOOTS)
    Round(path).end(BOOTS, BOOTS)
    assert Round(path).boots == {}


def test_hosts_that_come_later_are_part_of_the_round_that_goes_on(path: Path) -> None:
    Round(path).begin({"h1": "a"})
    Round(path).begin({"h1": "another", "h2": "b"})
    assert Round(path).boots == BOOTS
    Round(path).end(["h1"], BOOTS)
    assert path.exists()


def test_where_there_is_no_round_none_ends(path: Path) -> None:
    Round(path).end(BOOTS, BOOTS)
    assert not path.exists()
