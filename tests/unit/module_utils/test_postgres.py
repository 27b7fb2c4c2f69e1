"""What is read of a member's disk without its daemon, and what it would do to it."""

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import host
from ansible_collections.rackspread.ha.plugins.module_utils.driver import Driver, Live
from ansible_collections.rackspread.ha.plugins.module_utils.instance import Instance
from ansible_collections.rackspread.ha.plugins.module_utils.postgres import Postgres

PORTS = {"main": 25432, "rest": 8008}
MEMBERS = [{"id": each, "host": f"r{each}h1", "address": "192.0.2.1", "ports": PORTS} for each in (1, 2)]
SAYS = "#!/bin/sh\necho 'pg_control version number:  1700'\necho 'Database system identifier:  77106'\n"


@pytest.fixture
def postgres(tmp_path: Path) -> Postgres:
    program = tmp_path / "bin/pg_controldata"
    program.parent.mkdir()
    program.write_text(SAYS)
    program.chmod(0o755)
    instance = Instance.of("postgres_shard1", 1, "/srv/data", root=str(tmp_path))
    return Postgres(instance, {"name": "postgres_shard1", "members": MEMBERS}, MEMBERS[0], {"bin": str(program.parent)})


def put(postgres: Postgres, path: str) -> None:
    file = Path(postgres.instance.data or "", path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("17\n")


def test_a_blank_disk_is_empty(postgres: Postgres) -> None:
    assert postgres.find().state == "empty"
    postgres.instance.claim("site", "formation")
    put(postgres, "lost+found/x")
    Path(postgres.pgdata).mkdir()
    assert postgres.find().state == "empty"


def test_a_database_is_told_by_its_control_file(postgres: Postgres) -> None:
    put(postgres, "pgdata/PG_VERSION")
    found = postgres.find()
    assert (found.state, found.cluster_id) == ("half_formed", None), "pg_basebackup was cut short"
    put(postgres, "pgdata/global/pg_control")
    found = postgres.find()
    assert (found.state, found.cluster_id) == ("data", "77106")


def test_an_initdb_that_was_cut_short_is_half_formed(postgres: Postgres) -> None:
    put(postgres, "pgdata.forming/PG_VERSION")
    assert postgres.find().state == "half_formed"


def test_what_was_moved_aside_is_no_data(postgres: Postgres) -> None:
    put(postgres, "pgdata.unfinished-1700000000/PG_VERSION")
    put(postgres, "pgdata.failed/PG_VERSION")
    assert postgres.find().state == "empty"


def test_other_files_are_leftovers(postgres: Postgres) -> None:
    put(postgres, "main/PG_VERSION")
    found = postgres.find()
    assert found.state == "leftovers"
    assert "main" in found.detail


def test_the_passwords_of_accounts_stand_in_no_statement(postgres: Postgres) -> None:
    postgres.settings["users"] = {"replication": 'odd"name', "rewind": "rewind"}
    postgres.secrets = {"replication": "first-password", "rewind": "second-password"}
    statements: Any = postgres._accounts()
    assert statements[0].startswith('CREATE ROLE "odd""name" WITH LOGIN REPLICATION PASSWORD \'SCRAM-SHA-256$')
    assert not any("-password" in each for each in statements)


def test_a_dead_patroni_is_no_error(postgres: Postgres) -> None:
    live = postgres.ask()
    assert (live.healthy, live.role, live.cluster_id) == (False, "none", None)
    assert live.detail


def test_a_database_is_not_in_the_way_of_initdb_and_stays_where_it_is(postgres: Postgres) -> None:
    put(postgres, "pgdata/PG_VERSION")
    with pytest.raises(OSError, match="not empty"):
        postgres._initialise()
    assert Path(postgres.pgdata, "PG_VERSION").read_text() == "17\n"


def test_a_copy_that_was_cut_short_is_set_aside_and_kept(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(postgres, "pgdata/PG_VERSION")
    stopped = host.Unit("x", "loaded", "inactive", "dead", "success", 0, "disabled", False)
    monkeypatch.setattr(host, "unit", lambda _name: stopped)  # no systemd in here
    postgres._set_aside()
    (kept,) = Path(postgres.instance.data or "").glob("pgdata.unfinished-*/PG_VERSION")
    assert kept.read_text() == "17\n"


# A leader that is to be restarted


@pytest.fixture
def handing_over(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> tuple[Postgres, list[str], list[str]]:
    """A leader, what is done to its unit, and what the other member is asked to say in turn of its role."""
    done: list[str] = []
    said = ["follower", "follower", "leader"]
    monkeypatch.setattr(host, "systemctl", lambda verb, *_words, **_more: done.append(verb))
    monkeypatch.setattr(Postgres, "ask", lambda _self: Live(role="leader", in_sync=[1, 2]))
    monkeypatch.setattr(Postgres, "overlook", lambda _self, _other: Live(role=said.pop(0) if said[1:] else said[0]))
    monkeypatch.setattr(Driver, "start", lambda _self: done.append(f"start, another says {said[0]}"))
    monkeypatch.setattr(Postgres, "_await_postgres", lambda _self: done.append("await"))
    monkeypatch.setattr(Postgres, "_call", lambda _self, *words, **_more: (done.append(str(words)), (200, ""))[1])
    monkeypatch.setattr(Postgres, "poll_seconds", 0.0)
    return postgres, done, said


def test_a_leader_is_stopped_until_another_leads(handing_over: tuple[Postgres, list[str], list[str]]) -> None:
    postgres, done, _said = handing_over
    postgres.step_down(None)
    assert done == ["stop", "start, another says leader", "await"]


def test_a_leader_whom_nobody_follows_is_started_again(
    handing_over: tuple[Postgres, list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres, done, said = handing_over
    said[:] = ["follower"]
    monkeypatch.setattr(Postgres, "heir_seconds", 0.05)
    with pytest.raises(host.Failed, match="nobody took over postgres_shard1 from r1h1"):
        postgres.step_down(None)
    assert done == ["stop", "start, another says follower"]


def test_a_named_heir_gets_it_by_a_switchover(handing_over: tuple[Postgres, list[str], list[str]]) -> None:
    postgres, done, _said = handing_over
    postgres.step_down(MEMBERS[1])
    assert done == ["('POST', '/switchover', {'leader': 'r1h1', 'candidate': 'r2h1'})", "await"]


@pytest.mark.parametrize("in_sync", [[1], []])
def test_a_leader_is_not_stopped_where_nobody_is_in_sync(
    handing_over: tuple[Postgres, list[str], list[str]], in_sync: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres, done, _said = handing_over
    monkeypatch.setattr(Postgres, "ask", lambda _self: Live(role="leader", in_sync=in_sync))
    with pytest.raises(host.Failed, match="nobody else is in sync"):
        postgres.step_down(None)
    assert done == []


def test_a_leader_that_must_meet_a_setting_first_does_not_hand_over(
    handing_over: tuple[Postgres, list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres, done, _said = handing_over
    monkeypatch.setattr(Postgres, "ask", lambda _self: Live(role="leader", leader_first=True, in_sync=[1, 2]))
    postgres.step_down(None)
    assert done == []
