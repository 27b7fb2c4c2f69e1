"""What an acting call looks at once more before it touches anything: old looks and other runs do no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import host, record
from ansible_collections.rackspread.ha.plugins.module_utils.driver import DATA, EMPTY, Driver, Found, Live
from ansible_collections.rackspread.ha.plugins.module_utils.instance import File, Instance
from ansible_collections.rackspread.ha.plugins.module_utils.member_module import Member

INTENT = {"formation_id": "first", "cluster_id": None, "directory_ids": {}}
GROUP = {
    "name": "thing_group1", "index": 1, "next_id": 2,
    "members": [{"id": 1, "host": "h1", "rack": "rack1", "address": "192.0.2.1", "ports": {}, "leader": True}],
}  # fmt: skip


class Thing(Driver):
    """A service whose data is one file."""

    started = 0

    def find(self) -> Found:
        return Found(DATA if Path(self.instance.data or "", "data").exists() else EMPTY)

    def ask(self) -> Live:
        return Live(cluster_id="c", members=[1])

    def start(self) -> None:
        self.started += 1
        Path(self.instance.data or "", "data").write_text("new")

    def resume(self) -> None:
        self.started += 1

    def leave(self) -> None:
        """Nor in here."""

    def enable(self, unit_changed: bool) -> None:
        """No systemd in here."""


@pytest.fixture
def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Member:
    stopped = host.Unit("x", "loaded", "inactive", "dead", "success", 0, "disabled", False)
    monkeypatch.setattr(host, "unit", lambda _name: stopped)  # no systemd in here either
    instance = Instance.of("thing_group1", 1, "/srv", root=str(tmp_path))
    instance.stage([File(f"{instance.unit}.service", "[Service]\n")])
    return Member(Thing(instance, {**GROUP, "intent": INTENT}, GROUP["members"][0], {}), "site", 3)


def put_data(member: Member) -> Path:
    file = Path(member.instance.data or "", "data")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("old")
    return file


def remember(member: Member, **facts: Any) -> None:
    with record.update(member.instance.root) as known:
        record.belong(known, "site", "h1", "rack1", 3, member.instance.root)
        known["groups"]["thing_group1"] = {
            "index": 1, "next_id": 2, "members": GROUP["members"], "member": 1, "intent": None, "formed": None,
            "volume": None, **facts,
        }  # fmt: skip


def started(member: Member) -> int:
    count: int = member.driver.started  # type: ignore[attr-defined]
    return count


def test_a_blank_member_is_formed_and_marked_before(member: Member) -> None:
    member.form(INTENT)
    assert started(member) == 1
    assert record.part(record.read(member.instance.root), "thing_group1")["intent"] == INTENT
    assert member.instance.marker()["formation_id"] == "first"


def test_data_is_not_formed_over(member: Member) -> None:
    file = put_data(member)
    with pytest.raises(host.Failed, match=r"has data .* it is not formed over"):
        member.form(INTENT)
    assert (file.read_text(), started(member)) == ("old", 0)


def test_what_was_formed_once_is_never_formed_anew_though_the_disk_is_blank(member: Member) -> None:
    remember(member, formed="c")
    with pytest.raises(host.Failed, match="was formed before: it is never formed anew"):
        member.form(INTENT)
    assert started(member) == 0


def test_a_formation_goes_on_under_its_own_intent_alone(member: Member) -> None:
    remember(member, intent=INTENT)
    put_data(member)
    with pytest.raises(host.Failed, match="half formed under another intent"):
        member.form({**INTENT, "formation_id": "second"})
    member.form(INTENT)
    assert started(member) == 1


def test_only_a_blank_member_joins(member: Member) -> None:
    file = put_data(member)
    with pytest.raises(host.Failed, match="only a blank member joins"):
        member.join({})
    assert (file.read_text(), started(member)) == ("old", 0)


def test_formed_is_never_unset(member: Member) -> None:
    remember(member, formed="c")
    member.start()
    assert record.part(record.read(member.instance.root), "thing_group1")["formed"] == "c"


def test_a_run_with_an_older_lock_acts_on_nothing(member: Member) -> None:
    remember(member)
    member.generation = 2
    with pytest.raises(host.Failed, match="was changed by a run with lock generation 3"):
        member.form(INTENT)
    assert started(member) == 0


def test_of_two_calls_at_once_one_acts(tmp_path: Path) -> None:
    path = str(tmp_path / "run/lock")
    with host.flock(path), pytest.raises(host.Failed, match="another run holds"), host.flock(path, timeout=0.3):
        pass
    with host.flock(path, timeout=0.3):
        pass


def leaving(member: Member) -> Member:
    """The same member, when the lock says that another takes over from it."""
    member.driver.member = {**GROUP["members"][0], "leaving": True}
    return member


def test_a_member_that_leaves_is_put_away_and_its_data_is_kept(member: Member) -> None:
    file = put_data(member)
    member.instance.claim("site", "first")
    remember(member, formed="c")
    assert not member.observe()["retired"]
    answer = leaving(member).retire()
    aside = Path(f"{member.instance.data}.retired-1")
    assert answer == {"data": str(aside), "remaining": []}
    assert (aside / "data").read_text() == "old"
    assert not file.exists()
    known = record.read(member.instance.root) or {}
    assert "thing_group1" not in known["groups"]
    assert known["retired"]["thing_group1/1"]["data"] == str(aside)
    seen = member.observe()
    assert seen["retired"]
    assert seen["record"] is None
    assert leaving(member).retire() == answer, "again, by the run after one that was killed"


def test_a_member_that_stays_is_not_put_away(member: Member) -> None:
    file = put_data(member)
    with pytest.raises(host.Failed, match="neither leaves nor is lost"):
        member.retire()
    assert file.exists()


def test_another_program_of_a_member_that_leaves_is_told(member: Member) -> None:
    remember(member)
    with record.update(member.instance.root) as known:
        known["groups"]["thing_group1_other"] = {**known["groups"]["thing_group1"], "member": 1}
        known["groups"]["thing_group12"] = {**known["groups"]["thing_group1"], "member": 1}
    assert leaving(member).retire()["remaining"] == ["thing_group1_other"]


def test_it_is_told_whether_a_program_still_stands_on_another(member: Member) -> None:
    remember(member)
    member.driver.bears = "other"
    assert not member.observe()["bearing"]
    with record.update(member.instance.root) as known:
        known["groups"]["thing_group1_other"] = {**known["groups"]["thing_group1"], "member": 2}
    assert not member.observe()["bearing"], "its successor's on the same host"
    with record.update(member.instance.root) as known:
        known["groups"]["thing_group1_other"]["member"] = 1
    assert member.observe()["bearing"]


def test_a_lost_member_is_put_away_beside_its_successor_whose_unit_and_data_are_left_alone(member: Member) -> None:
    put_data(member)
    successor = {**GROUP["members"][0], "id": 4}
    member.group.update(members=[successor], gone=[GROUP["members"][0]])
    with record.update(member.instance.root) as known:
        known.update(site_id="site", host="h1", machine_id="")
        known["groups"]["thing_group1"] = {**GROUP, "member": 4, "formed": "c", "intent": None, "volume": None}
    host.write_atomic(f"{member.instance.data}/.rackspread.json", '{"member": 4}')
    assert member.retire() == {"data": None, "remaining": []}
    known = record.read(member.instance.root) or {}
    assert known["groups"]["thing_group1"]["member"] == 4
    assert Path(member.instance.data or "", "data").exists()


def test_what_the_record_says_of_another_member_is_not_believed_of_this_one(member: Member) -> None:
    with record.update(member.instance.root) as known:
        known.update(site_id="site", host="h1", machine_id="")
        known["groups"]["thing_group1"] = {"member": 9, "formed": "c", "volume": {"uuid": "x", "path": "/srv"}}
    assert member.observe()["record"] is None


def test_a_member_that_is_forgotten_keeps_its_data_and_is_remembered_aside(member: Member) -> None:
    file = put_data(member)
    remember(member, formed="c")
    for _again in range(2):
        member.forget()
        known = record.read(member.instance.root) or {}
        assert known["groups"] == {}
        assert known["forgotten"]["thing_group1"]["formed"] == "c"
    assert file.read_text() == "old"
