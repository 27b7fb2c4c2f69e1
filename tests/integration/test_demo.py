"""The demo from bare hosts: what it ends with, what it promises, what it keeps out, and that it may be run again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable

import live
import pytest

Tell = Callable[[str], None]
SHARDS = ("postgres_shard1", "postgres_shard2")
GIB = 1024
CHECK = (
    """REDISCLI_AUTH=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["secrets"]["admin"])'"""
    " /etc/rackspread/redis_shard1/current/cluster.json) redis-cli --user admin --tls"
    " --cacert /etc/rackspread/pki/redis/ca.crt --cluster check {address}:{port}"
)
"""Redis' own check of a cluster, for root of a host with a member of the first shard."""

pytestmark = pytest.mark.usefixtures("demo")


def psql(
    port: int, statement: str, options: str = "sslmode=verify-full", password: str | None = None
) -> tuple[int, str]:
    """Ask through the VIP, from the client; psql's exit code and what it said."""
    address = f"postgresql://{live.USER}@{live.VIP}:{port}/{live.DATABASE}?connect_timeout=10&{options}"
    words = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--no-password", address, "--command", statement]
    before = f"PGPASSWORD={shlex.quote(password)} " if password else ""
    done = live.client(before + shlex.join(words), check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def ports(kind: str) -> dict[str, int]:
    return {shard: those[0]["ports"][kind] for shard, those in live.members("postgres_shard").items()}


def test_it_ends_with_the_map_the_endpoints_and_the_way_in(demo: live.Run, told: Tell) -> None:
    for line in (
        "r1h1  198.18.0.11     r2h1  198.18.0.21     r3h1  198.18.0.31",
        "postgres_shard1      198.18.0.100:5432   198.18.0.100:6432",
        "postgres_shard2      198.18.0.100:5433   198.18.0.100:6433",
        "sslmode=verify-full sslrootcert=inventories/lab/.rackspread/pki/postgres/ca.crt",
    ):
        assert line in demo.output
    assert live.secret("postgres", "admin") not in demo.output
    told(f"the demo came up in {demo.seconds:.0f} s")


def test_a_line_that_it_ends_with_works_as_it_stands(demo: live.Run) -> None:
    (line,) = re.findall(r"^  postgres_shard1:  lab/lab ssh client (.*)$", demo.output, re.MULTILINE)
    assert re.search(r"198\.18\.0\.\d+ +\| f", live.client(shlex.split(line)[0]).stdout)
    (line,) = re.findall(r"^  redis: +lab/lab ssh client '(.*)'$", demo.output, re.MULTILINE)
    assert live.client(line).stdout == "OK\n"


def test_each_member_is_in_a_rack_of_its_own_and_each_primary_in_another() -> None:
    shards = live.members("postgres_shard")
    assert tuple(shards) == SHARDS
    for those in shards.values():
        assert sorted(member["rack"] for member in those) == ["rack1", "rack2", "rack3"]
    primaries = live.primaries()
    assert len(live.racks_of(primaries.values())) == len(SHARDS)
    assert {member["host"] for those in shards.values() for member in those if member["leader"]} == set(
        primaries.values()
    )


def test_a_commit_waits_for_a_copy_in_another_rack() -> None:
    for shard, those in live.members("postgres_shard").items():
        status, text = live.fetch(
            those[0]["host"], f"https://{those[0]['address']}:{those[0]['ports']['rest']}/config", "postgres"
        )
        assert status == 200, text
        assert json.loads(text)["synchronous_mode"] == "quorum"
        primary = live.primaries()[shard]
        statement = "SELECT string_agg(sync_state, ' ') FROM pg_stat_replication; SHOW synchronous_standby_names"
        socket = f"/run/rackspread-{shard.replace('_', '-')}"
        command = f"psql -At -h {socket} -p {those[0]['ports']['main']} -c {shlex.quote(statement)}"
        said = live.root(primary, f"runuser -u postgres -- {command}")
        assert said.splitlines()[0] == "quorum quorum"
        assert said.splitlines()[1].startswith("ANY 1 (")


def test_clients_write_to_each_primary_and_read_from_its_replicas() -> None:
    primaries, hosts = live.primaries(), {m["address"]: m["host"] for s in SHARDS for m in live.members(s)[s]}
    for shard in SHARDS:
        write, read = ports("write")[shard], ports("read")[shard]
        statements = "CREATE TABLE IF NOT EXISTS demo (n int); INSERT INTO demo VALUES (1); SELECT inet_server_addr()"
        code, said = psql(write, statements)
        assert code == 0, said
        assert hosts[said.splitlines()[-1]] == primaries[shard]
        code, said = psql(read, "SELECT inet_server_addr(), pg_is_in_recovery(), (SELECT count(*) > 0 FROM demo)")
        address, *facts = said.split("|")
        assert (code, facts) == (0, ["t", "t"]), said
        assert hosts[address] != primaries[shard]


def test_a_replica_takes_no_writes() -> None:
    code, said = psql(ports("read")["postgres_shard1"], "INSERT INTO demo VALUES (2)")
    assert code != 0
    assert "read-only transaction" in said


def test_nobody_comes_in_without_tls_the_password_or_the_right_name() -> None:
    port = ports("write")["postgres_shard1"]
    code, said = psql(port, "SELECT 1", "sslmode=disable")
    assert code != 0
    assert "no encryption" in said
    code, said = psql(port, "SELECT 1", password="wrong")
    assert code != 0
    assert "password authentication failed" in said
    code, said = psql(port, "SELECT 1", "sslmode=verify-full&host=anywhere.example&hostaddr=198.18.0.100")
    assert code != 0
    assert "does not match host name" in said


def redis_cli(words: str, client: str = live.REDIS_CLI) -> str:
    """What redis-cli says to the client."""
    done = live.client(f"timeout 20 sh -c {shlex.quote(f'{client} {words}')}", check=False)
    return (done.stdout + done.stderr).strip()


def test_redis_own_check_finds_nothing_and_each_replica_is_in_another_rack_than_its_master() -> None:
    shards = live.members("redis_shard")
    live.until(lambda: not live.redis_ailments(), "all members of Redis are in step", 60)
    masters = {}
    for shard, those in shards.items():
        assert sorted(member["rack"] for member in those) == ["rack1", "rack2", "rack3"]
        masters[shard] = next(member for member in those if member["leader"])
    assert {f"{shard}/{member['host']}" for shard, member in masters.items()} == {
        place for place, each in live.redis().items() if each["role"] == "master"
    }
    addresses = {member["address"]: member["rack"] for those in shards.values() for member in those}
    for place, each in live.redis().items():
        if each["role"] == "slave":
            shard, _slash, host = place.partition("/")
            (rack,) = live.racks_of([host])
            assert each["master"] == masters[shard]["address"]
            assert addresses[each["master"]] != rack
    node = masters["redis_shard1"]
    said = live.root(node["host"], CHECK.format(address=node["address"], port=node["ports"]["main"]))
    assert "[OK] All nodes agree about slots configuration." in said
    assert "[OK] All 16384 slots covered." in said
    assert "[ERR]" not in said
    assert "[WARNING]" not in said


def test_what_redis_takes_through_a_proxy_a_client_of_the_cluster_finds_at_the_nodes() -> None:
    node = live.members("redis_shard1")["redis_shard1"][0]
    for number in range(5):  # of several shards
        assert redis_cli(f"-h {live.VIP} -p 6379 set demo:{number} {number}") == "OK"
        at_the_node = f"-c -h {node['address']} -p {node['ports']['main']} get demo:{number}"
        live.until(lambda: redis_cli(at_the_node).splitlines()[-1] == str(number), "it is read", 20)  # noqa: B023


def test_redis_turns_away_who_has_no_tls_or_no_password() -> None:
    node = live.members("redis_shard1")["redis_shard1"][0]
    for host, port in ((live.VIP, 6379), (node["address"], node["ports"]["main"])):
        assert "NOAUTH" in redis_cli(f"-h {host} -p {port} get demo:0", "redis-cli --tls --cacert .redis/ca.crt")
        assert "PONG" not in redis_cli(f"-h {host} -p {port} ping", "redis-cli")
    assert "NOPERM" in redis_cli(f"-h {node['address']} -p {node['ports']['main']} flushall")


KAFKA = """
import json, socket, sys
sys.path.insert(0, "/usr/local/lib/rackspread")
from programs import kafka_client
from programs.host_report import carried
(broker,) = [each.driver for each in carried() if each.group == "kafka_broker1"]
address, port = broker.member["address"], broker.member["ports"]["main"]
with broker._client(broker.member) as client:
    metadata = client.ask(kafka_client.METADATA, topics=None)
found = {
    "racks": {each["id"]: each["rack"] for each in metadata["brokers"]},
    "topics": {each["name"]: [part["replicas"] for part in each["partitions"]] for each in metadata["topics"]},
}
try:
    with kafka_client.Client(address, port, broker.instance.pki, seconds=10) as client:
        found["without a password"] = client.ask(kafka_client.METADATA, topics=None)
except kafka_client.NoAnswer as error:
    found["without a password"] = str(error)
with socket.create_connection((address, port), 10) as plain:
    request = kafka_client.struct.pack(">hhih", 18, 0, 7, 4) + b"demo"
    plain.sendall(kafka_client.struct.pack(">i", len(request)) + request)
    try:
        found["without TLS"] = plain.recv(64).hex()
    except OSError:
        found["without TLS"] = ""
print(json.dumps(found))
"""


def test_kafka_has_each_partition_in_three_racks_and_turns_away_who_has_no_tls_or_no_password() -> None:
    live.until(lambda: not live.kafka_ailments(), "all members of Kafka are in step", 60)
    assert [each["role"] for each in live.kafka().values()].count("leader") == 1, "one active controller"
    (brokers,) = live.members("kafka_broker").values()
    found = json.loads(live.lab("console", brokers[0]["host"], "python3", "-c", KAFKA).stdout)
    assert {"queue.expired", "seat.expired", "payment.completed"} <= found["topics"].keys()
    for partitions in found["topics"].values():
        for replicas in partitions:
            assert {found["racks"][str(broker)] for broker in replicas} == {"rack1", "rack2", "rack3"}
    assert "does not answer" in found["without a password"]
    assert "00000007" not in found["without TLS"], "no answer to the request"


def test_etcd_turns_away_who_has_no_certificate() -> None:
    ((member, *_others),) = live.members("etcd_voter").values()
    url = f"https://{member['address']}:{member['ports']['main']}/v3/maintenance/status"
    assert live.fetch(member["host"], url, "etcd", body={})[0] == 200
    status, said = live.fetch(member["host"], url, "etcd", body={}, identity=False)
    assert status == 0, said  # the connection ends before any HTTP; how that is told depends on who is quicker


def test_patroni_is_changed_only_with_certificate_and_password() -> None:
    member = live.members("postgres_shard1")["postgres_shard1"][0]
    url = f"https://{member['address']}:{member['ports']['rest']}/config"
    change = {"method": "PATCH", "body": {"loop_wait": 2}}
    login = f"rackspread:{live.secret('postgres', 'rest')}"
    status, said = live.fetch(member["host"], url, "postgres", **change, login=login, identity=False)
    assert status in (0, 403), said
    assert live.fetch(member["host"], url, "postgres", **change)[0] == 401
    assert live.fetch(member["host"], url, "postgres", **change, login=login)[0] == 200


def test_the_statistics_page_wants_its_password() -> None:
    balancers = live.members("edge_balancer")["edge_balancer1"]
    for member, other in zip(balancers, reversed(balancers), strict=True):
        url = f"https://{member['address']}:{member['ports']['main']}/"
        assert live.fetch(other["host"], url, "edge", identity=False)[0] == 401
        login = f"admin:{live.secret('edge', 'stats')}"
        status, page = live.fetch(other["host"], url, "edge", identity=False, login=login)
        assert status == 200
        assert "postgres_shard1_write" in page


def test_one_balancer_has_the_vip_and_etcd_is_led_apart_from_the_primaries() -> None:
    assert len(live.holders()) == 1
    leader = live.etcd_leader()
    assert leader
    assert not live.racks_of([leader]) & live.racks_of(live.primaries().values())


def test_it_takes_less_than_four_gib(told: Tell) -> None:
    taken = live.memory()
    told(f"all processes of the lab take {taken:.0f} MiB")
    assert 500 < taken < 4 * GIB


def test_run_again_it_changes_nothing(told: Tell) -> None:
    again = live.demo()
    assert again.code == 0, again.output[-12000:]
    assert len(again.recap) == 10  # nine hosts and the controller
    assert not again.changed
    (seconds,) = re.findall(r"^━━ site: ([\d.]+) s$", again.output, re.MULTILINE)
    told(f"site.yml with nothing to do took {seconds} s")
    assert float(seconds) <= 90
