"""Shards of Redis are added and taken away, and members of a dead host rebuilt; under a client of the cluster that
writes, killed in the middle and run again. In the order written here, on a lab of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import live
import pytest
from moves import SPEC, carriers, killed_twice, options, places, play

Tell = Callable[[str], None]

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("site")]

HERE = Path(__file__).parent / "operate_redis"
KEYS = 40_000
"""So many that no slot is moved empty."""

CLUSTER = """
import json, sys
from redis import cluster
asked = json.load(sys.stdin)
nodes = [cluster.ClusterNode(*each) for each in asked["nodes"]]
login = {"username": "application", "password": asked["password"], "ssl": True, "ssl_ca_certs": "/tmp/redis-ca.crt"}
open(login["ssl_ca_certs"], "w").write(asked["ca"])
client = cluster.RedisCluster(startup_nodes=nodes, **login)
missing = 0
for first in range(0, asked["keys"], 1000):
    names = [f"kept:{number}" for number in range(first, first + 1000)]
    pipeline = client.pipeline()
    for name in names:
        pipeline.set(name, name) if asked["write"] else pipeline.get(name)
    answers = pipeline.execute()
    if not asked["write"]:
        missing += sum(answer != name.encode() for name, answer in zip(names, answers))
print(missing)
"""


@pytest.fixture(scope="module")
def site() -> Iterator[None]:
    """The site of this lab, built and filled with keys, and taken away at the end."""
    spec = SPEC.read_text()
    live.lab("down")
    try:
        live.lab("up", str(HERE / "lab.toml"))
        run = live.play()
        assert run.code == 0, run.output[-8000:]
        assert keys(write=True) == 0
        yield
    finally:
        live.lab("down", check=False)
        SPEC.write_text(spec)


def keys(write: bool = False) -> int:
    """Set the keys that are to outlive everything, or count those that are missing."""
    nodes = [[m["address"], m["ports"]["main"]] for those in live.members("redis_shard").values() for m in those]
    asked = {
        "nodes": nodes, "password": live.secret("redis", "application"), "ca": live.trusted("redis").read_text(),
        "keys": KEYS, "write": write,
    }  # fmt: skip
    return int(live.lab("console", "client", "python3", "-c", CLUSTER, stdin=json.dumps(asked)).stdout)


def shards(count: int) -> None:
    """Ask for so many in the spec."""
    before = next(words for words in SPEC.read_text().split("{") if words.startswith("shards: "))
    SPEC.write_text(SPEC.read_text().replace(before, f"shards: {count},{before.partition(',')[2]}"))


def slots() -> dict[str, int]:
    """By shard how many slots its master has."""
    masters = {place: said for place, said in live.redis().items() if said["role"] == "master"}
    return {place.partition("/")[0]: said["slots"] for place, said in masters.items()}


def settled(*counts: int) -> None:
    """All is whole, no move is under way, slots are even, nothing is lost, and a run finds nothing to do."""
    live.until(lambda: not live.redis_ailments(), "Redis is whole", 240, 2)
    assert sorted(slots().values()) == sorted(counts)
    lock = (live.STATE / "lock.yml").read_text()
    assert '"leaving"' not in lock
    assert '"gone"' not in lock
    assert keys() == 0
    run = live.play()
    assert (run.code, run.changed) == (0, {}), run.output[-8000:]


def under_load(told: Tell, what: str, deed: Callable[[], object], most: float, calm: bool = True) -> None:
    """Do something while a client of the cluster writes and reads; it loses nothing, and waits for less than `most`
    seconds. Where all should stay `calm` it sees no error but that of an answer which came late.
    """
    with live.Load("redis") as load:
        deed()
    errors: dict[str, int] = {}
    for target, each in load.result.items():
        for error, count in each["errors"]["write"].items():
            if "WAIT" not in target and "Timeout" not in error:
                errors[error] = errors.get(error, 0) + count
    told(f"{what}: clients out {load.outage():.2f} s for writes, {load.lost} lost, errors: {errors or 'none'}")
    assert load.lost == 0
    assert load.outage() < most
    assert not (calm and errors)


def test_four_shards_on_three_racks_are_refused() -> None:
    lock = (live.STATE / "lock.yml").read_text()
    shards(4)
    run = live.play("playbooks/scale.yml", *options())
    assert run.code != 0
    assert "RS-017" in run.output
    assert (live.STATE / "lock.yml").read_text() == lock
    shards(3)


def test_two_shards_are_added_and_get_their_slots_while_clients_write(told: Tell, tmp_path: Path) -> None:
    before = places()
    shards(5)
    run = play("scale", check=True)
    assert "redis_shard4 is new" in run.output
    assert "6553 slots of redis move, from 3 shards to 5" in run.output
    points = ("redis_shard4: form", "slots moved")
    under_load(told, "3 -> 5 shards, killed twice", lambda: killed_twice("scale", points, tmp_path), 2)
    settled(3277, 3277, 3277, 3277, 3276)
    assert {key: hosts for key, hosts in places().items() if key in before} == before


def test_a_host_with_masters_is_emptied_while_clients_write(told: Tell, tmp_path: Path) -> None:
    host = next(m["host"] for m in live.members("redis_shard")["redis_shard1"] if m["leader"])
    points = ("redis_shard1: join", "redis_shard1: retire")
    under_load(
        told, f"{host} with masters emptied, killed twice",
        lambda: killed_twice("retire", points, tmp_path, retire_hosts=host), 4, calm=False,
    )  # fmt: skip
    assert not [key for key, hosts in places().items() if host in hosts]
    settled(3277, 3277, 3277, 3277, 3276)
    play("scale", scale_take_back=host)


def test_a_dead_host_is_replaced_and_no_other_member_moves(told: Tell, tmp_path: Path) -> None:
    leading = {place.partition("/")[2] for place, said in live.redis().items() if said["role"] == "master"}
    hosts = carriers("redis_shard")
    host = next((each for each in hosts if each not in leading), hosts[-1])
    before = places()
    mine = sorted(key for key, those in before.items() if host in those)

    def deed() -> None:
        live.lab("power-off", host)
        killed_twice("replace", (f"{mine[0]}: expel", f"{mine[0]}: join"), tmp_path, replace_hosts=host)

    under_load(told, f"{host} dead and replaced, killed twice", deed, 8, calm=False)
    settled(3277, 3277, 3277, 3277, 3276)
    after = places()
    assert sorted(key for key in before if before[key] != after[key]) == mine
    assert all(those - {host} == after[key] & those for key, those in before.items())
    assert {len(those) for those in after.values()} == {3}


def test_two_shards_are_taken_away_while_clients_write(told: Tell, tmp_path: Path) -> None:
    before = places()
    shards(3)
    run = live.play()
    assert run.code != 0
    assert "RS-018" in run.output
    run = play("scale", check=True)
    assert "redis_shard4, redis_shard5 hands all on to the others" in run.output
    assert places() == before
    points = ("slots moved", "redis_shard4: retire")
    under_load(told, "5 -> 3 shards, killed twice", lambda: killed_twice("scale", points, tmp_path), 2)
    settled(5461, 5461, 5462)
    assert places() == {key: hosts for key, hosts in before.items() if key not in ("redis_shard4", "redis_shard5")}
    for key in ("redis_shard4", "redis_shard5"):
        for host in before[key]:
            assert f"{key}.retired-" in live.root(host, "ls /srv/data")
            assert f"rackspread-{key.replace('_', '-')}" not in live.root(
                host, "systemctl list-units --no-legend --state=running 'rackspread-*'"
            )
