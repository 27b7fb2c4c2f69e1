# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords are replaced in phases: who is a phase ahead or behind is let in, and none is dropped that is in use."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.action import apply
from ansible_collections.rackspread.ha.plugins.plugin_utils import files, passwords, phases, secrets
from ansible_collections.rackspread.ha.plugins.plugin_utils.formation import Observation, State
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.standing import Standing

NAMES = sorted(secrets.SECRETS["redis"])
STEPS = ("", "trust", "present", "drop")
Words = tuple[dict[str, str], dict[str, str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    secrets.ensure_secrets(tmp_path, ["redis"], {})
    return tmp_path


def known(site: Path) -> Words:
    """What a run hands to a role: what is presented, and what else is accepted."""
    return {name: secrets.find(site, "redis", name) for name in NAMES}, secrets.beside(site, "redis")


def change(site: Path) -> None:
    """From wherever it stands to its end, as runs that find everything rolled out do it."""
    for _run in range(4):
        phase = passwords.next_phase(site, "redis", [])
        passwords.enter(site, "redis", phase)
        known(site)
        passwords.end(site, "redis")
        if not secrets.change_of(site, "redis").phase:
            return
    raise AssertionError("it does not end")


def of_each_phase(site: Path) -> dict[str, Words]:
    found = {}
    for phase in STEPS:
        if phase:
            passwords.enter(site, "redis", phase)
        found[phase] = known(site)
    return found


def lets_in(server: Words, client: Words) -> bool:
    accepted = [{server[0][name], server[1].get(name)} for name in NAMES]
    return all(client[0][name] in words for name, words in zip(NAMES, accepted, strict=True))


def test_members_of_two_phases_that_follow_each_other_let_each_other_in(site: Path) -> None:
    seen = of_each_phase(site)
    for one, other in pairwise(seen.values()):
        assert all(lets_in(server, client) for server, client in product((one, other), repeat=2))
    assert not lets_in(seen["drop"], seen["trust"]), "so a phase that was not rolled out must not be passed over"
    assert not lets_in(seen[""], seen["present"])


def test_clients_may_change_at_any_moment_between_the_first_phase_and_the_last(site: Path) -> None:
    seen = of_each_phase(site)
    old, new = seen[""], seen["drop"]
    assert all(lets_in(seen[phase], client) for phase in ("trust", "present") for client in (old, new))


def test_all_are_new_in_the_end_and_are_kept_from_everybody_else(site: Path) -> None:
    before, _beside = known(site)
    passwords.enter(site, "redis", "trust")
    folder = secrets.path_for(site, "redis").parent
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes["redis.next.yml"] == modes["redis.yml"] == 0o600
    change(site)
    after, beside = known(site)
    assert not set(before.values()) & set(after.values())
    assert beside == {}
    assert sorted(path.name for path in folder.iterdir()) == ["redis.change", "redis.yml"]
    change(site)
    assert secrets.change_of(site, "redis").number == 2
    assert not set(known(site)[0].values()) & {*before.values(), *after.values()}


def test_what_the_user_gives_is_left_to_the_user(site: Path) -> None:
    given = {"redis": {"admin": "the user's own"}}
    passwords.enter(site, "redis", "trust", given)
    assert set(secrets.beside(site, "redis", given)) == {*NAMES} - {"admin"}
    assert secrets.find(site, "redis", "admin", given) == "the user's own"
    own = {"edge": {"stats": "the user's own"}}
    with pytest.raises(Refusal, match=r"RS-125: .*edge .*given"):
        passwords.enter(site, "edge", "trust", own)


def test_a_secret_that_is_given_while_the_others_change_is_the_users_all_the_same(site: Path) -> None:
    passwords.enter(site, "redis", "trust")
    given = {"redis": {"admin": "the user's own"}}
    assert "admin" not in secrets.beside(site, "redis", given)


class Killed(Exception):
    """The run ends here."""


@pytest.mark.parametrize("last", range(11))
def test_a_change_that_is_killed_anywhere_goes_on(site: Path, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = known(site)[0]
    written, real = 0, files.write_whole

    def write_whole(*words: Any) -> None:
        nonlocal written
        if written == last:
            raise Killed
        written += 1
        real(*words)

    monkeypatch.setattr(files, "write_whole", write_whole)
    try:
        change(site)
    except Killed:
        monkeypatch.setattr(files, "write_whole", real)
        assert known(site), "whatever was written, there are passwords"
        change(site)
    assert not set(before.values()) & set(known(site)[0].values())
    assert secrets.change_of(site, "redis") == secrets.Change(1)
    assert not secrets.next_path(site, "redis").exists()


def test_no_phase_begins_before_the_one_before_it_is_rolled(site: Path) -> None:
    with pytest.raises(Refusal, match="RS-125: The passwords of redis are not changed now: why"):
        passwords.next_phase(site, "redis", ["why"])
    assert passwords.next_phase(site, "redis", []) == "trust"
    for phase, after in (("trust", "present"), ("present", "drop")):
        passwords.enter(site, "redis", phase)
        assert passwords.next_phase(site, "redis", ["why"]) == phase
        assert passwords.next_phase(site, "redis", []) == phase, "a run that was killed has told nobody what comes next"
        passwords.end(site, "redis")
        assert passwords.next_phase(site, "redis", ["why"]) == phase
        assert passwords.next_phase(site, "redis", []) == after
    passwords.enter(site, "redis", "drop")
    assert passwords.next_phase(site, "redis", []) == "drop"
    passwords.end(site, "redis")
    assert secrets.change_of(site, "redis") == secrets.Change(1)


def test_the_old_ones_are_not_dropped_before_all_members_present_the_new(site: Path) -> None:
    old = known(site)[0]
    passwords.enter(site, "redis", "trust")
    passwords.enter(site, "redis", "present")
    lacking = passwords.lacking(standing({3: "1.1 trust"}, "1.2 present"), "redis", secrets.change_of(site, "redis"))
    assert lacking == ["member 3 on r3h1 of redis_shard1 has not taken the phase present"]
    with pytest.raises(Refusal, match="RS-126: Passwords of redis, phase present: member 3 on r3h1"):
        passwords.require(site, "redis", lacking)
    assert passwords.next_phase(site, "redis", lacking) == "present"
    assert secrets.beside(site, "redis") == old, "the old ones are accepted"
    assert passwords.end(site, "redis")[0] == (
        "Passwords of redis: phase present is rolled out. The next run is for drop."
    )


def test_services_of_which_some_have_ended_do_not_begin_anew_beside_the_others() -> None:
    phases.check_together({"redis": "", "postgres": ""})
    phases.check_together({"redis": "drop", "postgres": "present"})
    with pytest.raises(Refusal, match="RS-125: redis is being changed, and postgres is not"):
        phases.check_together({"redis": "drop", "postgres": ""})


def test_a_phase_that_was_only_staged_or_that_nobody_could_see_is_not_rolled_out(site: Path) -> None:
    passwords.enter(site, "redis", "trust")
    now = secrets.change_of(site, "redis")
    assert passwords.lacking(standing({}, "1.1 trust"), "redis", now) == []
    assert passwords.lacking(standing({2: ""}, "1.1 trust"), "redis", now), "one that no run has staged it for"
    assert passwords.lacking(standing({}, "1.1 trust", away=(2,)), "redis", now) == [
        "member 2 on r2h1 of redis_shard1 has not taken the phase trust"
    ]
    assert passwords.lacking(standing({}, "2.1 trust"), "postgres", now) == [], "of other services nothing is asked"


def test_before_a_change_all_members_are_as_the_last_one_left_them(site: Path) -> None:
    change(site)
    now = secrets.change_of(site, "redis")
    assert passwords.lacking(standing({}, "1.3 drop"), "redis", now) == []
    assert passwords.lacking(standing({1: ""}, "1.3 drop"), "redis", now) == [
        "member 1 on r1h1 of redis_shard1 has not taken the phase drop"
    ]


def test_passwords_that_can_not_be_accepted_side_by_side_are_not_begun_with(tmp_path: Path) -> None:
    secrets.ensure_secrets(tmp_path, ["kafka"], {})
    with pytest.raises(Refusal, match="RS-125: The passwords of kafka can't be changed yet"):
        passwords.next_phase(tmp_path, "kafka", [])


def test_clients_outside_are_told_before_the_old_ones_go(site: Path) -> None:
    passwords.enter(site, "redis", "trust")
    told = passwords.end(site, "redis")
    assert any("redis.next.yml" in line and "drop" in line for line in told)
    assert not any(word in line for line in told for word in (*known(site)[0].values(), *known(site)[1].values()))


def test_what_is_staged_says_which_phase_its_passwords_are_of(site: Path) -> None:
    variables = {"inventory_dir": str(site)}
    assert apply.ActionModule._mark("redis", variables) == "", "so nothing changes where none was ever changed"
    passwords.enter(site, "redis", "trust")
    assert apply.ActionModule._mark("redis_proxy", variables) == "1.1 trust"
    assert apply.ActionModule._mark("etcd", variables) == ""
    change(site)
    assert apply.ActionModule._mark("redis", variables) == "1.3 drop", "what ends a change is no change on a host"
    assert apply.ActionModule._mark("redis", {}) == "", "a role by itself"


@pytest.mark.parametrize(
    "content", ["later\n", "1 later\n", "one trust\n", "1 trust begun\n", "-1 trust\n", "1 settle ended\n", ""]
)
def test_a_file_of_a_change_that_can_not_be_understood_is_refused(site: Path, content: str) -> None:
    secrets.path_for(site, "redis").with_name("redis.change").write_text(content)
    with pytest.raises(Refusal, match="RS-042"):
        known(site)


def test_a_change_whose_new_passwords_are_gone_is_refused(site: Path) -> None:
    passwords.enter(site, "redis", "present")
    secrets.next_path(site, "redis").unlink(missing_ok=True)
    with pytest.raises(Refusal, match="RS-042"):
        known(site)


def standing(taken: Mapping[int, str], others: str, away: tuple[int, ...] = ()) -> Standing:
    """A shard of Redis whose members took a phase, some another one."""
    members = [
        Observation(number, f"r{number}h1", rack=f"rack{number}", state=State.UNREACHABLE)
        if number in away
        else Observation(
            number, f"r{number}h1", rack=f"rack{number}", state=State.JOINED, passwords=taken.get(number, others)
        )
        for number in (1, 2, 3)
    ]
    return Standing({"redis_shard1": {}}, {("redis", "redis_shard1"): members})
