"""An instance's versions: staged beside what runs, taken by a switch, reverted to what ran."""

import contextlib
import os
from pathlib import Path

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils.host import Failed
from ansible_collections.rackspread.ha.plugins.module_utils.instance import File, Instance


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance.of("etcd_voter1", 2, "/srv/data", root=str(tmp_path))


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "etcd"
    path.write_text("first")
    return str(path)


def files(setting: str = "a", reloaded: str = "r", formed: str = "f", unit: str = "[Service]\n") -> list[File]:
    return [
        File("rackspread-etcd-voter1.service", unit),
        File("etcd.env", setting, mode="0640"),
        File("users", reloaded, effect="reload"),
        File("form.env", formed, effect="form"),
    ]


def run(instance: Instance) -> None:
    """What activation and the start guard do when the unit starts on what is staged."""
    instance.switch(running=False)
    instance.note_start()


def current(instance: Instance, name: str) -> str:
    return Path(instance.current, name).read_text()


def test_names_follow_from_group_and_program() -> None:
    etcd = Instance.of("etcd_voter1", 1, "/srv/data/")
    assert (etcd.unit, etcd.data, etcd.pki) == (
        "rackspread-etcd-voter1", "/srv/data/etcd_voter1", "/etc/rackspread/pki/etcd",
    )
    haproxy = Instance.of("edge_balancer1", 1, program="haproxy")
    assert (haproxy.name, haproxy.unit, haproxy.data) == (
        "edge_balancer1_haproxy", "rackspread-edge-balancer1-haproxy", None,
    )


def test_staging_twice_changes_nothing(instance: Instance) -> None:
    assert instance.staged_differs(files())
    assert instance.stage(files())
    assert not instance.staged_differs(files())
    assert not instance.stage(files())
    assert os.stat(f"{instance.staged}/etcd.env").st_mode & 0o777 == 0o640


def test_staged_is_not_in_the_way_of_what_runs(instance: Instance) -> None:
    instance.stage(files("a"))
    run(instance)
    instance.stage(files("b", unit="[Service]\nNice=1\n"))
    assert current(instance, "etcd.env") == "a"
    assert Path(instance.unit_file).read_text() == "[Service]\n"
    assert instance.need(running=True) == "restart"


@pytest.mark.parametrize(
    ("after", "need"),
    [
        (files(), "nothing"),
        (files(formed="g"), "nothing"),
        (files(reloaded="s"), "reload"),
        (files(setting="b"), "restart"),
        (files(setting="b", reloaded="s"), "restart"),
        (files(unit="[Service]\nNice=1\n"), "restart"),
        (files()[:2] + files()[3:], "reload"),
        ([*files(), File("more", "m")], "restart"),
    ],
)
def test_need_is_the_strongest_effect(instance: Instance, after: list[File], need: str) -> None:
    instance.stage(files())
    run(instance)
    instance.stage(after)
    assert instance.need(running=True) == need
    assert instance.need(running=False) == "start"


def test_need_of_a_changed_mode(instance: Instance) -> None:
    instance.stage([File("etcd.env", "a")])
    run(instance)
    assert instance.stage([File("etcd.env", "a", mode="0600")])
    assert instance.need(running=True) == "restart"


def test_need_after_the_unit_was_changed_by_hand(instance: Instance) -> None:
    instance.stage(files())
    run(instance)
    Path(instance.unit_file).write_text("[Service]\nNice=1\n")
    assert instance.need(running=True) == "restart"
    assert instance.switch(running=True), "systemd must read its units again"
    assert Path(instance.unit_file).read_text() == "[Service]\n"


def test_need_after_an_upgrade_of_the_program(instance: Instance, program: str) -> None:
    instance.stage(files(), {program: "restart"})
    run(instance)
    assert instance.need(running=True) == "nothing"
    Path(program).write_text("second version")
    assert instance.need(running=True) == "restart"


def test_need_after_a_renewed_certificate(instance: Instance, program: str) -> None:
    instance.stage(files(), {program: "reload"})
    run(instance)
    Path(program).unlink()
    assert instance.need(running=True) == "reload"


def test_a_process_that_was_never_noted_needs_a_restart(instance: Instance) -> None:
    instance.stage(files())
    instance.switch(running=False)
    assert instance.need(running=True) == "restart"


def test_a_crash_between_staging_and_activation_starts_the_old_version(instance: Instance) -> None:
    instance.stage(files("a"))
    run(instance)
    instance.stage(files("b"))
    instance.note_start()  # the guard, as systemd starts the unit again
    assert current(instance, "etcd.env") == "a"
    assert instance.need(running=True) == "restart"


def test_what_only_a_formation_reads_is_written_into_the_same_version(instance: Instance) -> None:
    instance.stage(files(formed="f"))
    run(instance)
    version = os.readlink(instance.staged)
    assert instance.stage(files(formed="g"))
    assert os.readlink(instance.staged) == version
    assert current(instance, "form.env") == "g"


def test_revert_goes_back_to_what_ran(instance: Instance) -> None:
    instance.stage(files("good"))
    run(instance)
    instance.stage(files("bad", unit="[Service]\nNice=1\n"))
    assert instance.switch(running=True)
    instance.note_start()
    assert current(instance, "etcd.env") == "bad"
    assert instance.revert()
    assert current(instance, "etcd.env") == "good"
    assert Path(instance.unit_file).read_text() == "[Service]\n"
    instance.note_start()
    assert instance.need(running=True) == "restart", "what is staged still waits"


def test_revert_goes_back_to_what_ran_and_not_to_another_that_never_did(instance: Instance) -> None:
    instance.stage(files("good"))
    run(instance)
    instance.stage(files("bad"))
    instance.switch(running=True)  # and the run is killed before the restart
    instance.stage(files("worse"))
    instance.switch(running=True)
    instance.revert()
    assert current(instance, "etcd.env") == "good"


def test_revert_of_a_broken_member_goes_back_to_the_last_that_ran(instance: Instance) -> None:
    instance.stage(files("good"))
    run(instance)
    instance.stage(files("bad"))
    instance.switch(running=True)
    instance.note_start()  # it starts again and again, and fails
    instance.stage(files("worse"))
    instance.switch(running=False)
    instance.revert()
    assert current(instance, "etcd.env") == "good"


def test_without_a_version_before_there_is_nothing_to_revert_to(instance: Instance) -> None:
    instance.stage(files())
    run(instance)
    with pytest.raises(Failed, match="no version to go back to"):
        instance.revert()


def test_old_versions_are_removed_and_those_in_use_are_kept(instance: Instance) -> None:
    instance.stage(files("1"))
    run(instance)
    instance.stage(files("2"))
    instance.switch(running=True)
    instance.note_start()
    for setting in "345":
        instance.stage(files(setting))
    kept = {Path(instance.versions, name, "etcd.env").read_text() for name in os.listdir(instance.versions)}
    assert kept == {"1", "2", "5"}


def test_the_marker_says_whose_data_it_is(instance: Instance) -> None:
    assert instance.marker() is None
    instance.claim("site", "formation")
    assert instance.marker() == {
        "site_id": "site", "group": "etcd_voter1", "member": 2, "formation_id": "formation",
    }


def test_a_restart_that_is_asked_for_is_wanted_until_the_process_was_started_anew(instance: Instance) -> None:
    instance.stage(files())
    run(instance)
    assert (instance.need(running=True), instance.asked_for()) == ("nothing", False)
    instance.ask()
    assert (instance.need(running=True), instance.asked_for()) == ("restart", True)
    run(instance)
    assert (instance.need(running=True), instance.asked_for()) == ("nothing", False)
    instance.stage(files("b"))
    run(instance)
    assert not instance.asked_for(), "what was asked once is done"


def test_data_that_is_no_longer_this_members_is_not_put_aside(instance: Instance) -> None:
    assert instance.put_aside() is None
    Instance.of("etcd_voter1", 3, "/srv/data", root=instance.root).claim("site", "first")
    assert instance.put_aside() is None
    instance.claim("site", "first")
    aside = instance.put_aside()
    assert aside == f"{instance.data}.retired-2"
    assert instance.put_aside() == aside
    assert not Path(instance.data or "").exists()


def test_a_file_is_told_as_the_process_has_taken_it(instance: Instance) -> None:
    assert instance.taken("password_phase") is None
    for mark in ("1.1 trust", "1.2 present"):
        staged = File("password_phase", f"{mark}\n", effect="reload")
        instance.stage([File(f"{instance.unit}.service", "[Service]\n"), staged])
        assert instance.taken("password_phase") != f"{mark}\n", "it is only staged"
        instance.switch(running=mark != "1.1 trust")
        instance.note_start()
        assert instance.taken("password_phase") == f"{mark}\n"


@pytest.mark.parametrize(
    ("there", "given", "taken"),
    [
        ("", "", True), ("", "1.1 trust", True), ("1.1 trust", "1.1 trust", True), ("1.3 drop", "2.1 trust", True),
        ("9.3 drop", "10.1 trust", True), ("1.1 trust", "", False), ("1.3 drop", "1.2 present", False),
        ("2.1 trust", "1.3 drop", False),
    ],
)  # fmt: skip
def test_passwords_that_the_site_has_left_behind_are_not_staged(
    instance: Instance, there: str, given: str, taken: bool
) -> None:
    def files(mark: str) -> list[File]:
        unit = File(f"{instance.unit}.service", "[Service]\n")
        return [unit, *([File("password_phase", f"{mark}\n", effect="reload")] if mark else [])]

    instance.stage(files(there))
    with contextlib.nullcontext() if taken else pytest.raises(Failed, match="older than the site's"):
        instance.require_no_older(files(given))


def test_packages_that_are_asked_for_and_not_there_are_told(instance: Instance) -> None:
    instance.stage(files())
    assert instance.packages() == []
    run(instance)
    assert instance.stage(files(), packages=["no-such-package=1"])
    assert instance.packages() == ["no-such-package=1"]
    assert instance.need(running=True) == "nothing", "no file of it has changed"
