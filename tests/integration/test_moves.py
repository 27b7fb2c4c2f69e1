"""Hosts are emptied, lost and replaced, a rack and a shard are added, members are spread anew and restarted; all of it
under clients that write, killed in the middle and run again. In the order written here, on a lab of its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import live
import pytest
import yaml
from moves import SPEC, carriers, killed_twice, options, places, play

Tell = Callable[[str], None]

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("site")]

HERE = Path(__file__).parent / "operate"
RACK4 = live.INVENTORY / "more.yml"


@pytest.fixture(scope="module")
def site() -> Iterator[None]:
    """The site of this lab, built, and taken away at the end; kept as the demo is, with RACKSPREAD_KEEP_DEMO."""
    if "RACKSPREAD_KEEP_DEMO" in os.environ:
        yield
        return
    spec = SPEC.read_text()
    RACK4.unlink(missing_ok=True)
    live.lab("down")
    try:
        live.lab("up", str(HERE / "lab.toml"))
        run = live.play()
        assert run.code == 0, run.output[-8000:]
        yield
    finally:
        live.lab("down", check=False)
        RACK4.unlink(missing_ok=True)
        SPEC.write_text(spec)


def settled() -> None:
    """All is whole, no move is under way, and a run finds nothing to do."""
    live.await_whole()
    lock = (live.STATE / "lock.yml").read_text()
    assert '"leaving"' not in lock
    assert '"gone"' not in lock
    run = live.play()
    assert (run.code, run.changed) == (0, {}), run.output[-8000:]


def under_load(told: Tell, what: str, deed: Callable[[], object], most: float, *services: str) -> None:
    """Do something while clients write; nothing is lost, and nobody is out longer than so many seconds."""
    with live.Load(*services) as load:
        deed()
    told(f"{what}: clients of {load.worst()} out {load.outage():.2f} s for writes, {load.lost} lost")
    assert load.lost == 0
    assert load.outage() < most


def take_back(host: str) -> None:
    """An emptied host is known as such, and may carry members again when that is said."""
    assert f'"given_up": ["{host}"]' in (live.STATE / "lock.yml").read_text()
    play("scale", scale_take_back=host)
    assert '"given_up"' not in (live.STATE / "lock.yml").read_text()


def shown(run: live.Run) -> set[str]:
    """The moves that a plan shows: `group: member 1 on r1h1 … -> member 4 on r1h2`."""
    text = re.sub(r"\s+", " ", run.output)
    return set(re.findall(r"(\w+\d): member \d+ on \S+ \(\w+\)(?:, which is lost,)? -> member \d+ on", text))


def test_every_plan_is_shown_and_changes_nothing() -> None:
    live.await_whole()  # else what is asked here is refused for that (RS-115)
    lock = (live.STATE / "lock.yml").read_text()
    host = carriers("postgres_shard1")[0]
    assert "postgres_shard1" in shown(play("retire", check=True, retire_hosts=host))
    assert "No member has to move" in play("rebalance", check=True).output
    assert "nothing new" in play("scale", check=True).output
    for given, code in (({"replace_hosts": host}, "RS-111"), ({"replace_hosts": "r9h9"}, "RS-114")):
        run = live.play("playbooks/replace.yml", *options(**given))
        assert run.code != 0
        assert code in run.output
    run = live.play("playbooks/retire.yml", "--extra-vars", json.dumps({"retire_hosts": host}))
    assert run.code != 0
    assert "RS-113" in run.output
    assert (live.STATE / "lock.yml").read_text() == lock


def test_restarts_are_rolled_while_clients_write(told: Tell) -> None:
    under_load(told, "a roll of Postgres", lambda: play("roll", roll_services=["postgres"], roll_restart=True), 3)
    under_load(told, "a roll of the balancers", lambda: play("roll", roll_services=["edge"], roll_restart=True), 3)
    settled()


def test_a_roll_that_is_killed_is_ended_by_the_next_and_restarts_nobody_twice(told: Tell, tmp_path: Path) -> None:
    def started() -> dict[str, str]:
        show = "systemctl show --value --property=ExecMainStartTimestampMonotonic"
        return {
            f"{shard}/{member['host']}": live.root(
                member["host"], f"{show} rackspread-{shard.replace('_', '-')}"
            )
            for shard, those in live.members("postgres_shard").items()
            for member in those
        }

    given = {"roll_services": ["postgres"], "roll_restart": True}

    def deed() -> None:
        live.kill_at("restart member", tmp_path / "1.log", "playbooks/roll.yml", *options(**given))
        live.kill_at("hands over", tmp_path / "2.log", "playbooks/roll.yml", *options(**given))
        live.await_whole()
        play("roll", **given)

    before = started()
    under_load(told, "a roll of Postgres killed twice", deed, 6)
    assert all(started()[member] != stamp for member, stamp in before.items())
    settled()


def test_a_host_is_emptied_while_clients_write(told: Tell, tmp_path: Path) -> None:
    host = live.primaries()["postgres_shard1"]
    before = places()
    points = ("postgres_shard1: join", "postgres_shard1: retire")
    under_load(
        told, f"{host} emptied, killed twice",
        lambda: killed_twice("retire", points, tmp_path, retire_hosts=host), 6,
    )  # fmt: skip
    settled()
    after = places()
    assert not [key for key, hosts in after.items() if host in hosts]
    assert {key: hosts - {host} for key, hosts in before.items()} == {
        key: hosts & before[key] for key, hosts in after.items()
    }
    left = live.root(host, "ls /srv/data; systemctl list-units --no-legend --state=running 'rackspread-*'")
    assert re.search(r"^postgres_shard1\.retired-\d+$", left, re.MULTILINE)
    assert "rackspread-postgres" not in left
    take_back(host)


def test_hosts_of_voters_and_balancers_are_emptied_while_clients_write(told: Tell, tmp_path: Path) -> None:
    host = next(each for each in carriers("edge_balancer") if each in carriers("etcd_voter"))
    live.move_etcd_leader(host)
    live.move_vip(host)
    points = ("etcd_voter1: retire", "edge_balancer1_haproxy: retire")
    under_load(
        told, f"{host} with etcd's leader and the VIP emptied, killed twice",
        lambda: killed_twice("retire", points, tmp_path, retire_hosts=host), 3, "postgres", "etcd",
    )  # fmt: skip
    settled()
    assert not [key for key, hosts in places().items() if host in hosts]
    take_back(host)


def test_a_dead_host_is_replaced_and_no_other_member_moves(told: Tell, tmp_path: Path) -> None:
    host = next(iter(set(carriers("postgres_shard")) - set(live.primaries().values())))
    before = places()
    mine = {key for key, hosts in before.items() if host in hosts}

    def deed() -> None:
        live.lab("power-off", host)
        points = ("postgres_shard1: expel", "postgres_shard1: join")
        killed_twice("replace", points, tmp_path, replace_hosts=host)

    under_load(told, f"{host} dead and replaced, killed twice", deed, 30, "postgres", "etcd")
    settled()
    after = places()
    assert {key for key in before if before[key] != after[key]} == mine
    assert all(hosts - {host} == after[key] & hosts for key, hosts in before.items())
    assert all(len(after[key]) == len(hosts) for key, hosts in before.items())


def test_a_disk_that_was_replaced_is_filled_from_the_living(told: Tell) -> None:
    host = next(iter(set(carriers("postgres_shard")) - set(live.primaries().values())))

    def deed() -> None:
        live.lab("power-off", host)
        live.lab("volume", host, "empty", "data")
        live.lab("power-on", host)
        assert "RS-062" in live.play().output
        play("replace", replace_hosts=host)

    under_load(told, f"another disk in {host}", deed, 30)
    settled()
    assert all(len(hosts) == (2 if key.startswith("edge") else 3) for key, hosts in places().items())


def test_a_rack_is_added_and_as_many_members_move_there_as_the_plan_says(told: Tell, tmp_path: Path) -> None:
    RACK4.write_text(yaml.safe_dump({"rack4": {"hosts": {"r4h1": {"ansible_host": "198.18.55.41"}}}}))
    before = places()
    assert "rebalance.yml" in play("scale").output
    assert places() == before
    live.lab("power-off", "rack4")
    run = live.play("playbooks/rebalance.yml", *options())
    assert run.code != 0
    assert "RS-116" in run.output
    live.lab("power-on", "rack4")
    planned = shown(play("rebalance", check=True))
    run = re.sub(r"\s+", " ", live.play("playbooks/rebalance.yml", *options(check=True)).output)
    count = sum(int(number) for number in re.findall(r"\w+: (\d+) moves; no way needs fewer", run))
    assert count > 0
    # In the order in which site.yml comes to them; balancers are both the first and the last.
    inorder = sorted(planned, key=lambda key: ("edge", "etcd", "postgres").index(key.partition("_")[0]))
    points = (f"{inorder[0]}: join", f"{inorder[-1]}: retire")
    if "edge_balancer1" in planned:
        points = ("edge_balancer1_haproxy: start", "edge_balancer1_haproxy: retire")
    under_load(
        told, f"{count} members moved to another rack, killed twice",
        lambda: killed_twice("rebalance", points, tmp_path), 6, "postgres", "etcd",
    )  # fmt: skip
    settled()
    after = places()
    assert sum(len(after[key] - before[key]) for key in before) == count
    assert "r4h1" in set.union(*after.values())
    assert "No member has to move" in play("rebalance").output


def test_leaders_go_home_gently(told: Tell) -> None:
    group = live.groups()["postgres_shard1"]
    home = next(member["host"] for member in group["members"] if member["leader"])
    away = next(member["host"] for member in group["members"] if not member["leader"])
    live.switch_over("postgres_shard1", away)
    live.await_whole()
    # A switchover to a named heir: Patroni lets the others wait for two seconds, and a commit needs one of them.
    under_load(told, "a leader sent home", lambda: play("rebalance", rebalance_limit=0), 5)
    assert live.primaries()["postgres_shard1"] == home
    settled()


def test_a_shard_is_added_while_clients_write(told: Tell) -> None:
    SPEC.write_text(SPEC.read_text().replace("shards: 1", "shards: 2"))
    before = places()
    assert "postgres_shard2 is new" in play("scale", check=True).output
    under_load(told, "a shard added", lambda: play("scale"), 3)
    settled()
    assert {key: hosts for key, hosts in places().items() if key in before} == before
    assert len(live.primaries()) == 2
