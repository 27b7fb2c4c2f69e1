"""Asks a converged Kafka as clients do, then hurts it: who takes over, what comes back, what is never formed anew."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from putting import put
from waiting import until

ROOT = Path(__file__).resolve().parents[3]
ADDRESSES = {"r1h1": "198.18.18.11", "r2h1": "198.18.18.21", "r3h1": "198.18.18.31"}
NODES = {10001: "r1h1", 10002: "r2h1", 10003: "r3h1", 10004: "r1h2"}
CONTROLLER, BROKER = "rackspread-kafka-controller1", "rackspread-kafka-broker1"
CONTROLLER_DATA, BROKER_DATA, MORE = "/srv/data/kafka_controller1", "/srv/data/kafka_broker1", "/srv/more/kafka_broker1"
DISKS = {CONTROLLER: f"{CONTROLLER_DATA}/kafka", BROKER: MORE}
PKI = "/etc/rackspread/pki/kafka"
SOFTWARE = "/opt/rackspread/kafka-8ea5b2bc1e79"
PASSWORDS = {
    "admin": "rules-in-this-lab", "broker": "copies-in-this-lab",
    "shop": "sells-in-this-lab", "audit": "reads-in-this-lab",
}  # fmt: skip
MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
BOOTSTRAP = ",".join(f"{address}:9092" for address in ADDRESSES.values())
GOOD = {
    "kafka_broker_settings": {"log.cleaner.threads": 2},
    "kafka_controller_settings": {"metadata.max.idle.interval.ms": 400},
}
"""Variables that every run of these tests gives after the first roll, so that only one of them rolls."""
SMALL = "KAFKA_HEAP_OPTS=-Xmx96m KAFKA_JVM_PERFORMANCE_OPTS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC' LOG_DIR=/tmp"

Converge = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def converge(lab: Any) -> Converge:
    """Runs the role once more, with variables that win over the play's."""

    def run(check: bool = True, options: tuple[str, ...] = (), **variables: Any) -> subprocess.CompletedProcess[str]:
        play = ROOT / "molecule/kafka/converge.yml"
        extra = json.dumps(variables)
        command = ["ansible-playbook", "-i", lab.inventory, "--skip-tags=ground", "-e", extra, *options, play]
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="module", autouse=True)
def programs(hosts: Any) -> None:
    """What asks, and the passwords in files: sudo logs every command line."""
    folder = Path(__file__).parent
    own = {
        "asking.py": (folder / "asking.py").read_text(),
        "kafka_client.py": (ROOT / "plugins/module_utils/kafka_client.py").read_text(),
    }
    for host in hosts.values():
        for name, text in {**own, **PASSWORDS}.items():
            put(host, f"/root/{name}", text)
        for user, password in PASSWORDS.items():
            login = f'{MODULE} required username="{user}" password="{password}";'
            lines = [
                "security.protocol=SASL_SSL", "sasl.mechanism=SCRAM-SHA-512", f"sasl.jaas.config={login}",
                "ssl.truststore.type=PEM", f"ssl.truststore.location={PKI}/ca.crt",
            ]  # fmt: skip
            put(host, f"/root/{user}.properties", "\n".join(lines))
        lines = [
            "security.protocol=SSL", "ssl.truststore.type=PEM", f"ssl.truststore.location={PKI}/ca.crt",
            "ssl.keystore.type=PEM", "ssl.keystore.location=/root/node.pem",
        ]  # fmt: skip
        put(host, "/root/node.properties", "\n".join(lines))
        host.check_output(f"cat {PKI}/tls.key {PKI}/tls.crt | install -m 0600 /dev/stdin /root/node.pem")
    hosts["client"].check_output("mkdir -p /root/probe")
    for name in ("kafka.py", "counting.py"):
        put(hosts["client"], f"/root/probe/{name}", (ROOT / "probes" / name).read_text())
    partitions = {f"partition {n}": {"write": {"partition": n}, "read": {"partition": n}} for n in range(3)}
    settings = {
        "targets": {**partitions, "group": {"read": {}}}, "bootstrap": BOOTSTRAP, "user": "admin",
        "password": PASSWORDS["admin"], "ca": f"{PKI}/ca.crt", "timeout": 30, "rate": 10,
    }  # fmt: skip
    put(hosts["client"], "/root/probe.json", json.dumps(settings))


def quorum(hosts: Any, through: str = "r1h1") -> dict[str, Any]:
    """The voters by host with their directory ids, and the host of the active controller, by one member's word."""
    found = json.loads(hosts[through].check_output(f"python3 /root/asking.py quorum {ADDRESSES[through]}"))
    voters = {NODES[int(node)]: directory for node, directory in found["voters"].items()}
    return {**found, "voters": voters, "leader": NODES.get(found["leader"])}


def topics(hosts: Any, through: str = "r1h1") -> dict[str, Any]:
    said = hosts[through].check_output(f"python3 /root/asking.py topics {ADDRESSES[through]} /root/admin")
    return dict(json.loads(said))


def whole(hosts: Any) -> bool:
    """Whether all vote, all brokers follow, and every replica is in sync, by everybody's word."""
    try:
        for name in ADDRESSES:
            seen = quorum(hosts, name)
            # A controller that came back on another disk is remembered as an observer for five minutes more.
            if len(seen["voters"]) != 3 or set(seen["observers"]) - NODES.keys() != {1, 2, 3}:
                return False
            for partitions in topics(hosts, name).values():
                if any(set(part["isr"]) != set(part["replicas"]) for part in partitions.values()):
                    return False
    except AssertionError:  # one does not answer
        return False
    return True


@pytest.fixture(scope="module")
def at_first(hosts: Any) -> None:
    """Whole before the first test that hurts the cluster."""
    until(lambda: whole(hosts), "all are in sync")


@pytest.fixture
def intact(hosts: Any, converge: Converge, at_first: None) -> Iterator[None]:
    """A test that hurts the cluster finds it whole, and it is brought back to that."""
    yield
    with contextlib.suppress(AssertionError):
        until(lambda: whole(hosts), "all are in sync", 60)
        return
    converge(**GOOD)
    until(lambda: whole(hosts), "all are in sync")


def tool(host: Any, name: str, words: str, user: str = "admin") -> Any:
    """One of upstream's own programs, on a host."""
    return host.run(f"{SMALL} timeout 60 {SOFTWARE}/bin/{name}.sh --command-config /root/{user}.properties {words}")


def pids(hosts: Any) -> dict[tuple[str, str], str]:
    show = "systemctl show --property=MainPID --value"
    return {
        (unit, name): hosts[name].check_output(f"{show} {unit}").strip()
        for unit in (CONTROLLER, BROKER) for name in ADDRESSES
    }  # fmt: skip


@contextlib.contextmanager
def load(hosts: Any, found: dict[str, Any]) -> Iterator[None]:
    """Clients that count, all the while; `found` has what they found in the end."""
    client = hosts["client"]
    words = "/root/probe.json /root/probe.log"
    client.check_output("rm -f /root/probe.log")
    client.check_output(f"systemd-run --quiet --collect --unit=load python3 /root/probe/kafka.py run {words}")
    try:
        until(lambda: steady(client, 1), "clients are served", 180)
        yield
        until(lambda: steady(client, 1), "clients are served again", 180)
    finally:
        client.check_output("systemctl stop load")
    done = client.run(f"timeout 300 python3 /root/probe/kafka.py verify {words}")
    found.update(json.loads(done.stdout)["targets"])
    client.run(f"timeout 60 python3 /root/probe/kafka.py clean {words}")


def steady(client: Any, seconds: float) -> bool:
    """Whether all clients have been served for so long."""
    done = client.run("python3 /root/probe/kafka.py state /root/probe.json /root/probe.log")
    if done.rc != 0:
        return False
    return all((each or 0) > seconds for ops in json.loads(done.stdout)["steady"].values() for each in ops.values())


def nothing_lost(found: dict[str, Any]) -> None:
    partitions = {name: each for name, each in found.items() if name != "group"}
    assert len(partitions) == 3
    for name, each in partitions.items():
        assert each["acknowledged"] > 20, name
        assert (each["lost"], each["duplicated"], each["reordered"]) == ([], [], []), name


def out(found: dict[str, Any]) -> dict[str, float]:
    """By partition the longest time without a write."""
    return {
        name: max((gap["seconds"] for gap in each["gaps"].get("write", [])), default=0)
        for name, each in found.items() if name != "group"
    }  # fmt: skip


def module(lab: Any, name: str, *options: str, host: str = "r1h1", **arguments: Any) -> dict[str, Any]:
    """What one of the collection's modules answers on a host, as the administrator."""
    common = {"address": ADDRESSES[host], "port": 9092, "password": PASSWORDS["admin"]}
    words = ["-m", f"rackspread.ha.{name}", "-a", json.dumps({**common, **arguments}), *options, host]
    asked = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }  # fmt: skip
    done = subprocess.run(
        ["ansible", "-i", lab.inventory, *words], cwd=ROOT, env={**os.environ, **asked},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert " => " in done.stdout, done.stdout + done.stderr
    return dict(json.loads(done.stdout.partition(" => ")[2]))  # "r1h1 | CHANGED => {…}"


# Asked


def test_three_controllers_vote_and_three_brokers_follow(hosts: Any) -> None:
    until(lambda: whole(hosts), "all are in sync")
    words = "--bootstrap-controller 198.18.18.11:9393 describe --status"
    status = tool(hosts["r1h1"], "kafka-metadata-quorum", words, "node")
    assert status.rc == 0, status.stdout + status.stderr
    for name in ADDRESSES:
        assert f'"id": {next(node for node, host in NODES.items() if host == name)}' in status.stdout
        meta = hosts[name].check_output(f"cat {CONTROLLER_DATA}/kafka/meta.properties")
        assert f"directory.id={quorum(hosts)['voters'][name]}" in meta, "the id that the intent gave it"
    ids = {
        line for name in ADDRESSES for folder in (f"{CONTROLLER_DATA}/kafka", f"{BROKER_DATA}/kafka", MORE)
        for line in hosts[name].check_output(f"cat {folder}/meta.properties").splitlines() if "cluster.id" in line
    }  # fmt: skip
    assert len(ids) == 1, "one cluster, on every disk"


def test_every_partition_is_in_three_racks_and_leaders_are_spread(hosts: Any) -> None:
    found = topics(hosts)
    assert {"queue.expired", "seat.expired", "payment.completed"} <= found.keys()
    for partitions in found.values():
        assert all(sorted(part["replicas"]) == [1, 2, 3] for part in partitions.values()), "a broker is in each rack"
    assert {part["leader"] for part in found["seat.expired"].values()} == {1, 2, 3}
    words = f"--bootstrap-server {BOOTSTRAP} --describe --topic payment.completed"
    said = tool(hosts["r2h1"], "kafka-topics", words).stdout
    assert "PartitionCount: 6" in said
    assert "ReplicationFactor: 3" in said
    assert "retention.ms=604800000" in said
    assert "min.insync.replicas=2" in said


CONSUME = """
import json, sys, time
from confluent_kafka import Consumer, Producer, KafkaException
settings = json.load(open("/root/try.json"))
verb, topic = sys.argv[1:]
ended, said = [], []
try:
    if verb == "meet":
        producer = Producer({**settings, "error_cb": lambda error: said.append(error.name())})
        deadline = time.time() + 60
        while not {"_ALL_BROKERS_DOWN", "_AUTHENTICATION"} & {*said} and time.time() < deadline:
            try:
                producer.list_topics(timeout=1)
                said.append("let in")
                break
            except KafkaException:
                producer.poll(0)
        print(*said)
    elif verb == "write":
        producer = Producer({**settings, "message.timeout.ms": 60000})
        producer.produce(topic, b"x", on_delivery=lambda error, _: ended.append(error))
        producer.flush(70)
        print(ended[0] or "written" if ended else "no answer")
    else:
        consumer = Consumer({**settings, "group.id": sys.argv[1], "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        record = consumer.poll(60)  # the first of all groups waits until Kafka has made what groups are kept in
        print("no answer" if record is None else record.error() or "read")
        consumer.close()
except KafkaException as error:
    print(error)
"""


def attempt(hosts: Any, verb: str, topic: str, **settings: Any) -> str:
    """What an application's client is told: `let in`, `written`, `read`, an error."""
    common = {
        "bootstrap.servers": BOOTSTRAP, "security.protocol": "SASL_SSL", "sasl.mechanisms": "SCRAM-SHA-512",
        "ssl.ca.location": f"{PKI}/ca.crt", "log_level": 0,
    }  # fmt: skip
    put(hosts["client"], "/root/try.py", CONSUME)
    put(hosts["client"], "/root/try.json", json.dumps({**common, **settings}))
    return str(hosts["client"].check_output(f"timeout 90 python3 /root/try.py {verb} {topic}").strip())


def login(user: str, password: str | None = None) -> dict[str, str]:
    return {"sasl.username": user, "sasl.password": password or PASSWORDS[user]}


def test_users_may_do_what_they_are_for(hosts: Any) -> None:
    assert attempt(hosts, "write", "payment.completed", **login("shop")) == "written"
    assert attempt(hosts, "shop-1", "payment.completed", **login("shop")) == "read"
    assert attempt(hosts, "audit", "payment.completed", **login("audit")) == "read"
    assert "TOPIC_AUTHORIZATION_FAILED" in attempt(hosts, "write", "payment.completed", **login("audit"))
    assert "TOPIC_AUTHORIZATION_FAILED" in attempt(hosts, "audit", "seat.expired", **login("audit"))
    assert "GROUP_AUTHORIZATION_FAILED" in attempt(hosts, "shop-1", "payment.completed", **login("audit"))


def test_who_has_no_password_or_no_tls_is_turned_away(hosts: Any) -> None:
    assert attempt(hosts, "meet", "payment.completed", **login("shop")) == "let in"
    for settings in ({"security.protocol": "PLAINTEXT"}, {"security.protocol": "SSL"}):
        said = attempt(hosts, "meet", "payment.completed", **settings).split()
        assert said
        assert "let" not in said
    for user in (login("shop", "wrong"), login("nobody", "wrong")):
        assert "_AUTHENTICATION" in attempt(hosts, "meet", "payment.completed", **user)


def test_controllers_and_peers_ask_who_comes(hosts: Any) -> None:
    asked = f"timeout 20 openssl s_client -connect 198.18.18.11:9393 -tls1_2 -CAfile {PKI}/ca.crt"
    without = hosts["r2h1"].run(f"{asked} </dev/null")
    assert without.rc != 0
    assert "alert" in without.stderr
    assert hosts["r2h1"].run(f"{asked} -cert {PKI}/tls.crt -key {PKI}/tls.key </dev/null").rc == 0
    listening = hosts["r1h1"].check_output("ss -Hltn").splitlines()
    bound = [line.split()[3] for line in listening]
    own = ("198.18.18.11:", "[::ffff:198.18.18.11]:", "*:")
    ports = {each.rpartition(":")[2] for each in bound if each.startswith(own)}
    assert ports - {"22"} == {"9092", "9142", "9393"}, "and nothing else of a JVM's"


TWICE = """
import json, sys
sys.path.insert(0, "/root/probe")
import kafka

run = json.loads(open("/root/probe.log").readline())["run"]
kafka.Client({"partition": 1}, json.load(open("/root/probe.json")), run).write(20)
"""


def test_the_probe_sees_records_that_are_gone_and_one_that_is_there_twice(hosts: Any) -> None:
    client, words = hosts["client"], "/root/probe.json /root/probe.log"
    client.check_output("rm -f /root/probe.log")
    client.check_output(f"python3 /root/probe/kafka.py run {words} --seconds 6")
    (topic,) = (name for name in topics(hosts) if name.startswith("rackspread.probe."))
    leader = ADDRESSES[NODES[10000 + topics(hosts)[topic]["0"]["leader"]]]
    truncated = f"python3 /root/asking.py truncate {leader} /root/admin {topic} 0 3"
    assert hosts["r1h1"].check_output(truncated).strip() == "3"
    put(client, "/root/twice.py", TWICE)
    client.check_output("python3 /root/twice.py")
    done = client.run(f"timeout 60 python3 /root/probe/kafka.py verify {words}")
    seen = json.loads(done.stdout)["targets"]
    assert done.rc == 1
    assert {name: (each["lost"], each["duplicated"], each["reordered"]) for name, each in seen.items()} == {
        "partition 0": ([1, 2, 3], [], []),
        "partition 1": ([], [20], []),
        "partition 2": ([], [], []),
        "group": ([], [], []),
    }
    client.check_output(f"timeout 60 python3 /root/probe/kafka.py clean {words}")
    until(lambda: topic not in topics(hosts), "the topic is gone", 10)


def test_no_password_is_in_a_log_or_a_process_list(hosts: Any) -> None:
    for name in ADDRESSES:
        said = hosts[name].check_output("journalctl --no-pager --output=cat; ps -eo args")
        for secret in PASSWORDS.values():
            assert secret not in said
        for file in ("member.json", "secrets.properties"):
            mode = hosts[name].check_output(f"stat -L -c %a /etc/rackspread/kafka_broker1/current/{file}")
            assert mode in ("600", "640")


def test_what_would_lose_data_is_refused(hosts: Any, converge: Converge, lab: Any) -> None:
    done = converge(check=False, kafka_topics=[{"name": "seat.expired", "partitions": 2}])
    assert done.returncode != 0
    assert "RS-085" in done.stdout
    assert "would lose what is in them" in done.stdout
    said = module(lab, "kafka_content", topics=[{"name": "seat.expired", "partitions": 6, "replicas": 2}])["msg"]
    assert "RS-085" in said
    assert "a run takes no copy away" in said
    assert len(topics(hosts)["seat.expired"]) == 6


@pytest.mark.usefixtures("intact")
def test_replicas_are_moved_over_racks_and_leaders_spread(hosts: Any, lab: Any) -> None:
    words = f"--bootstrap-server {BOOTSTRAP} --topic crowded"
    made = tool(hosts["r1h1"], "kafka-topics", f"{words} --create --replica-assignment 1:2,1:2,1:2,1:2")
    assert made.rc == 0, made.stdout + made.stderr
    try:
        moved = module(lab, "kafka_replicas", topics=["crowded"], drained=[1])
        assert moved["copies"] == 4, moved
        found = topics(hosts)["crowded"].values()
        assert all(sorted(part["replicas"]) == [2, 3] for part in found)
        until(lambda: {part["leader"] for part in topics(hosts)["crowded"].values()} == {2, 3}, "leaders are spread")
        assert module(lab, "kafka_replicas", topics=["crowded"], drained=[1])["changed"] is False
        said = tool(hosts["r1h1"], "kafka-topics", f"{words} --describe").stdout
        assert "throttled" not in said, "the limit of the rate is gone"
        assert module(lab, "kafka_replicas", topics=["crowded"], replicas={"crowded": 3})["copies"] == 4

        def all_there() -> bool:
            return {tuple(sorted(part["isr"])) for part in topics(hosts, "r2h1")["crowded"].values()} == {(1, 2, 3)}

        until(all_there, "the new copies are complete")
        assert "none is taken away" in module(lab, "kafka_replicas", replicas={"crowded": 2})["msg"]
    finally:
        tool(hosts["r1h1"], "kafka-topics", f"{words} --delete")


def test_an_upgrade_is_finalised_once(lab: Any) -> None:
    done = module(lab, "kafka_features")
    assert done["changed"] is False, "a new cluster has the newest"
    assert done["features"]["metadata.version"][0] == done["features"]["metadata.version"][1] > 20


# Hurt


@pytest.mark.usefixtures("intact")
def test_a_bad_setting_meets_one_member_and_a_good_one_all_with_nothing_lost(hosts: Any, converge: Converge) -> None:
    before = pids(hosts)
    done = converge(check=False, kafka_controller_settings={"node.id": "many"})
    assert done.returncode != 0
    assert "RS-081" in done.stdout
    assert len([key for key, pid in pids(hosts).items() if pid != before[key]]) == 1
    until(lambda: whole(hosts), "all are in sync")

    active = quorum(hosts)["leader"]
    found: dict[str, Any] = {}
    with load(hosts, found):
        told = converge(**GOOD).stdout
    rolled = re.findall(r"(kafka_\w+1): restart member \d on (\w+)", told)
    assert len(rolled) == 6
    assert [host for group, host in rolled if group == "kafka_controller1"][-1] == active, "the active one is the last"
    nothing_lost(found)
    print(f"rolled: writes out {out(found)}")


@pytest.mark.usefixtures("intact")
@pytest.mark.parametrize("active", [pytest.param(True, marks=pytest.mark.long), False])
def test_a_rack_is_cut_and_nothing_is_lost(hosts: Any, lab: Any, active: bool) -> None:
    leader = quorum(hosts)["leader"]
    name = leader if active else next(each for each in ADDRESSES if each != leader)
    found: dict[str, Any] = {}
    with load(hosts, found):
        lab("cut", f"rack{name[1]}")
        try:
            until(lambda: not steady(hosts["client"], 3), "the rack is missed", 60)
            until(lambda: steady(hosts["client"], 3), "clients are served without it")
        finally:
            lab("heal")
    nothing_lost(found)
    print(f"cut: writes out {out(found)}")


@pytest.mark.usefixtures("intact")
def test_a_killed_broker_comes_back_by_itself(hosts: Any) -> None:
    before = pids(hosts)
    hosts["r1h1"].check_output(f"systemctl kill --signal=KILL --kill-whom=main {BROKER}")
    until(lambda: pids(hosts)[BROKER, "r1h1"] not in ("0", before[BROKER, "r1h1"]), "it runs again")
    until(lambda: whole(hosts), "all are in sync")


@pytest.mark.usefixtures("intact")
def test_a_controller_without_its_disk_is_removed_and_added_under_load(hosts: Any, converge: Converge) -> None:
    host, before = hosts["r2h1"], quorum(hosts)
    found: dict[str, Any] = {}
    with load(hosts, found):
        aside = f"rm -rf /srv/data/aside && mv {CONTROLLER_DATA} /srv/data/aside"
        host.check_output(f"systemctl stop {CONTROLLER} && {aside}")
        assert host.run(f"systemctl start {CONTROLLER}").rc != 0
        said = host.check_output(f"journalctl --no-pager --unit={CONTROLLER} -n 30")
        assert "the disk is lost or not mounted" in said
        told = converge(**GOOD).stdout
    host.check_output("rm -rf /srv/data/aside")
    assert "kafka_controller1: repair (member 2" in told
    assert ": form" not in told
    after = quorum(hosts)
    print(f"voters before {before['voters']}, and after {after['voters']}")
    assert after["voters"].keys() == before["voters"].keys()
    assert [name for name in after["voters"] if after["voters"][name] != before["voters"][name]] == ["r2h1"]
    nothing_lost(found)


@pytest.mark.usefixtures("intact")
def test_a_broker_without_its_disks_copies_what_it_had(hosts: Any, converge: Converge) -> None:
    host = hosts["r3h1"]
    asides = f"mv {BROKER_DATA} /srv/data/aside && mv {MORE} /srv/more/aside"
    host.check_output(f"systemctl stop {BROKER} && rm -rf /srv/data/aside /srv/more/aside && {asides}")
    told = converge(**GOOD).stdout
    assert "kafka_broker1: repair (member 3" in told
    host.check_output("rm -rf /srv/data/aside /srv/more/aside")
    until(lambda: whole(hosts), "all are in sync")


@pytest.mark.usefixtures("intact")
def test_a_log_folder_that_is_gone_beside_others_is_a_lost_mount(hosts: Any, converge: Converge) -> None:
    host = hosts["r3h1"]
    host.check_output(f"systemctl stop {BROKER} && mv {MORE} /srv/more/aside")
    try:
        assert host.run(f"systemctl start {BROKER} && sleep 1 && systemctl is-active {BROKER}").rc != 0
        done = converge(check=False, **GOOD)
        assert done.returncode != 0
        assert "RS-062" in done.stdout
        assert not host.file(MORE).exists
    finally:
        host.check_output(f"systemctl stop {BROKER} && mv /srv/more/aside {MORE} && systemctl start {BROKER}")


@pytest.mark.usefixtures("intact")
def test_a_disk_of_another_cluster_is_refused(hosts: Any, converge: Converge) -> None:
    host, files = hosts["r3h1"], {unit: f"{data}/meta.properties" for unit, data in DISKS.items()}
    for unit, file in files.items():
        host.check_output(f"systemctl stop {unit} && cp -p {file} /root/{unit}")
        host.check_output(f"sed -i 's/^cluster.id=.*/cluster.id=MkU3OEVBNTcwNTJENDM2Qg/' {file}")
    for unit, file in files.items():  # the controllers come first, and brokers only when those are well
        try:
            done = converge(check=False, **GOOD)
            assert done.returncode != 0
            assert "RS-060" in done.stdout
            assert "r3h1" in done.stdout
            assert pids(hosts)[unit, "r3h1"] == "0"
        finally:
            host.check_output(f"cp -p /root/{unit} {file}")
    assert "kafka_controller1: start (member 3" in done.stdout
    host.check_output(f"systemctl start {BROKER}")


@pytest.mark.usefixtures("intact")
def test_when_all_disks_of_the_controllers_are_blank_nothing_is_formed(hosts: Any, converge: Converge) -> None:
    for name in ADDRESSES:
        hosts[name].check_output(f"systemctl stop {CONTROLLER} && mv {CONTROLLER_DATA} /srv/data/aside")
    try:
        done = converge(check=False, **GOOD)
        assert done.returncode != 0
        assert "RS-066" in done.stdout
        for name in ADDRESSES:
            assert not hosts[name].file(CONTROLLER_DATA).exists
    finally:
        for name in ADDRESSES:
            hosts[name].check_output(f"mv /srv/data/aside {CONTROLLER_DATA} && systemctl start --no-block {CONTROLLER}")


# Moved: the last test, since others want the members where they were


@pytest.mark.long
def test_a_controller_and_a_broker_move_to_another_host_and_nobody_is_restarted(
    hosts: Any, converge: Converge, lab: Any
) -> None:
    until(lambda: whole(hosts), "all are in sync")
    variables = yaml.safe_load((ROOT / "molecule/kafka/inventory/hosts.yml").read_text())["all"]["vars"]
    groups = {name: variables[name] for name in ("scenario_controllers", "scenario_brokers")}
    for [group] in groups.values():
        old = group["members"][0]
        group["members"].append({**old, "id": 4, "host": "r1h2", "address": "198.18.18.12"})
        old["leaving"] = True
    before = pids(hosts)
    found: dict[str, Any] = {}
    with load(hosts, found):
        told = converge(**GOOD, **groups).stdout
    for group in ("kafka_controller1", "kafka_broker1"):
        steps = re.findall(rf"{group}: (\w+) \(member (\d)", told)
        assert steps == [("join", "4"), ("retire", "1")], told[-6000:]
    assert "restart" not in told
    assert {key: pid for key, pid in pids(hosts).items() if key[1] != "r1h1"} == {
        key: pid for key, pid in before.items() if key[1] != "r1h1"
    }
    nothing_lost(found)
    print(f"moved: writes out {out(found)}")
    assert quorum(hosts, "r2h1")["voters"].keys() == {"r1h2", "r2h1", "r3h1"}
    for partitions in topics(hosts, "r2h1").values():
        assert all(sorted(part["replicas"]) == [2, 3, 4] for part in partitions.values())
    for folder in (CONTROLLER_DATA, BROKER_DATA, MORE):
        assert hosts["r1h1"].file(f"{folder}.retired-1").is_directory
    assert pids(hosts)[BROKER, "r1h1"] == "0"
    status = module(lab, "kafka_replicas", "--check", host="r2h1")
    assert (status["moved"], status["copies"]) == ([], 0)
    for [group] in groups.values():
        del group["members"][0]
    assert not re.findall(r"kafka_\w+1: \w+ ", converge(**GOOD, **groups).stdout), "nobody misses the old ones"
