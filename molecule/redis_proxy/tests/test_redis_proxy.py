"""Asks the proxies as clients that know one Redis do, then takes away what stands behind them, and them."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from waiting import until

ROOT = Path(__file__).resolve().parents[3]
PROXIES = {"r1h1": "198.18.17.11", "r2h1": "198.18.17.21"}
UNIT = "rackspread-redis-proxy1"
PKI = "/etc/rackspread/pki/redis"
PASSWORD = "applies-in-this-lab"

CLIENT = """
import json, sys, redis
asked = json.load(open("/root/asked.json"))
answers = []
# Envoy speaks RESP2; redis-py 6 does by default, 8 must be told.
client = redis.Redis(host=asked["host"], port=17379, username=asked["user"], password=asked["password"], ssl=True,
                     ssl_ca_certs=asked["ca"], protocol=2, socket_timeout=5, decode_responses=True)
for words in asked["commands"]:
    try:
        answers.append(client.execute_command(*words))
    except (redis.RedisError, OSError) as error:
        answers.append(f"{type(error).__name__}: {error}")
print(json.dumps(answers))
"""


def put(host: Any, path: str, text: str) -> None:
    encoded = base64.b64encode(text.encode()).decode()
    host.check_output(f"echo {encoded} | base64 --decode | install -m 0600 /dev/stdin {path}")


def ask(hosts: Any, proxy: str, *commands: str, password: str = PASSWORD) -> list[Any]:
    """What the client is answered by a proxy."""
    asked = {
        "host": PROXIES[proxy], "user": "application", "password": password, "ca": f"{PKI}/ca.crt",
        "commands": [shlex.split(command) for command in commands],
    }  # fmt: skip
    put(hosts["client"], "/root/client.py", CLIENT)
    put(hosts["client"], "/root/asked.json", json.dumps(asked))
    answers: list[Any] = json.loads(hosts["client"].check_output("python3 /root/client.py"))
    return answers


def sets(run: str) -> list[str]:
    """Writes to all parts of the slots."""
    return [f"set {run}:{number} {number}" for number in range(60)]


def all_written(hosts: Any, proxy: str, run: str) -> bool:
    return ask(hosts, proxy, *sets(run)) == [True] * 60 or ask(hosts, proxy, *sets(run)) == ["OK"] * 60


def pid(host: Any) -> str:
    shown: str = host.check_output(f"systemctl show --property=MainPID --value {UNIT}")
    return shown.strip()


def question(proxy: str, path: str = "/healthy", certificate: bool = True) -> str:
    """A program that asks a proxy as HAProxy does, with a certificate of the service's CA, and prints the status."""
    shown = f"c.load_cert_chain('{PKI}/tls.crt', '{PKI}/tls.key')" if certificate else ""
    return f"""if True:
        import socket, ssl
        c = ssl.create_default_context(cafile='{PKI}/ca.crt')
        {shown}
        with socket.create_connection(('{PROXIES[proxy]}', 17479), 10) as plain:
            with c.wrap_socket(plain, server_hostname='{PROXIES[proxy]}') as wire:
                wire.sendall(b'OPTIONS {path} HTTP/1.0\\r\\n\\r\\n')
                print(wire.recv(4096).split()[1].decode())
    """


def health(hosts: Any, proxy: str, **asked: Any) -> str:
    """What it answers to the client; nothing where no HTTP came to be."""
    answer: str = hosts["client"].run(f"python3 -c {shlex.quote(question(proxy, **asked))}").stdout
    return answer.strip()


def test_what_one_proxy_takes_the_other_gives(hosts: Any) -> None:
    until(lambda: all_written(hosts, "r1h1", "given"), "the first proxy takes writes to all slots", 60)
    wanted = [str(number) for number in range(60)]
    gets = [f"get given:{number}" for number in range(60)]
    until(lambda: ask(hosts, "r2h1", *gets) == wanted, "the second reads them from replicas", 30)


def test_commands_with_several_keys_are_split(hosts: Any) -> None:
    assert ask(hosts, "r1h1", "mset a 1 b 2 c 3") in ([True], ["OK"])
    until(lambda: ask(hosts, "r1h1", "mget a b c") == [["1", "2", "3"]], "all three are read")


SLOTS = {"redis_shard1": ["0-5461"], "redis_shard2": ["5462-10922"], "redis_shard3": ["10923-16383"]}
KEYS = """
import json, sys
sys.path.insert(0, "/root/probe")
import redis
settings, run, numbers = json.load(open("/root/probe/settings.json")), sys.argv[1], json.loads(sys.argv[2])
own = {target: redis.Client(endpoints["write"], settings, run) for target, endpoints in settings["targets"].items()}
print(json.dumps([own[target]._key(number) for target, [number] in numbers.items()]))
"""
"""A program that tells the keys of some numbers, one a target."""


def test_the_probe_sees_a_key_that_was_acknowledged_and_is_gone(hosts: Any) -> None:
    client = hosts["client"]
    proxies = [[address, 17379] for address in PROXIES.values()]
    targets = {}
    for shard, slots in SLOTS.items():
        targets[f"{shard} by proxy"] = {kind: {"slots": slots, "proxies": proxies} for kind in ("write", "read")}
        targets[f"{shard} by node"] = {kind: {"slots": slots} for kind in ("write", "read")}
        targets[f"{shard} by node, WAIT 1"] = {"write": {"slots": slots, "wait": 1}}
    settings = {
        "targets": targets, "user": "application", "password": PASSWORD, "ca": f"{PKI}/ca.crt", "timeout": 2,
        "nodes": [[f"198.18.17.{rack}1", 16378 + shard] for shard in (1, 2, 3) for rack in (1, 2, 3)],
    }  # fmt: skip
    client.check_output("mkdir -p /root/probe")
    for program in ("counting.py", "redis.py"):
        put(client, f"/root/probe/{program}", (ROOT / "probes" / program).read_text())
    put(client, "/root/probe/settings.json", json.dumps(settings))
    probe = "python3 /root/probe/redis.py {} /root/probe/settings.json /root/probe/log"
    client.check_output(f"{probe.format('run')} --seconds 6")
    done = client.run(probe.format("verify"))
    assert done.rc == 0, done.stdout[-3000:] + done.stderr[-3000:]
    seen = json.loads(done.stdout)["targets"]
    assert all(each["acknowledged"] > 20 for each in seen.values()), done.stdout
    assert all(each["reads"] > 20 for target, each in seen.items() if "WAIT" not in target), done.stdout

    log = [json.loads(line) for line in client.check_output("cat /root/probe/log").splitlines()]
    taken = [(line["target"], line["n"]) for line in log if line["op"] == "write" and line["ok"]]
    dropped = {target: [[n for each, n in taken if each == target][at]] for at, target in enumerate(targets)}
    words = shlex.join(["python3", "-c", KEYS, log[0]["run"], json.dumps(dropped)])
    keys = json.loads(client.check_output(words))
    assert ask(hosts, "r1h1", f"del {' '.join(keys)}") == [len(keys)]
    done = client.run(probe.format("verify"))
    assert done.rc == 1, "nobody misses it"
    assert {target: each["lost"] for target, each in json.loads(done.stdout)["targets"].items()} == dropped

    client.check_output(probe.format("clean"))
    left = json.loads(client.run(probe.format("verify")).stdout)["targets"]
    assert all(len(each["lost"]) == each["acknowledged"] for each in left.values()), "nothing is left"


def test_what_can_not_be_passed_is_answered_with_an_error(hosts: Any) -> None:
    for command in ("keys *", "wait 1 100", "subscribe news", "cluster failover", "flushall", "config get *"):
        [answer] = ask(hosts, "r1h1", command)
        assert "Error" in str(answer), (command, answer)


def test_who_has_no_password_or_no_tls_is_turned_away(hosts: Any) -> None:
    [answer] = ask(hosts, "r1h1", "get a", password="wrong")
    assert "Error" in str(answer)
    without = hosts["client"].run(f"redis-cli --tls --cacert {PKI}/ca.crt -h {PROXIES['r1h1']} -p 17379 get a")
    assert "NOAUTH" in without.stdout
    plain = hosts["client"].run(f"timeout 5 redis-cli -h {PROXIES['r1h1']} -p 17379 ping")
    assert "PONG" not in plain.stdout


def test_balancers_learn_whether_a_proxy_serves(hosts: Any) -> None:
    until(lambda: health(hosts, "r1h1") == "200", "it says that it serves", 30)
    assert health(hosts, "r1h1", path="/other") == "404"
    assert health(hosts, "r1h1", certificate=False) == ""


def test_the_administration_is_roots_alone(hosts: Any) -> None:
    socket = f"/run/{UNIT}/admin.sock"
    assert hosts["r1h1"].run(f"runuser -u redis -- test -w {socket}").rc != 0
    listening = hosts["r1h1"].check_output("ss -Hltn").splitlines()
    ports = {line.split()[3].rpartition(":")[2] for line in listening if PROXIES["r1h1"] in line}
    assert {"17379", "17479"} <= ports
    assert not ports - {"17379", "17479", "16379", "16380", "16381", "26379", "26380", "26381", "22"}


def test_no_password_is_in_a_log_or_a_process_list(hosts: Any) -> None:
    for name in PROXIES:
        assert PASSWORD not in hosts[name].check_output("journalctl --no-pager --output=cat; ps -eo args")


def test_a_master_that_falls_silent_is_left_alone_and_writes_come_back(hosts: Any, lab: Any) -> None:
    lab("freeze", "r2h1", "rackspread-redis-shard2")
    try:
        until(lambda: all_written(hosts, "r1h1", "silent"), "writes to all slots are back", 30)
    finally:
        lab("thaw", "r2h1", "rackspread-redis-shard2")
    until(lambda: all_written(hosts, "r2h1", "healed"), "and stay so", 60)


def test_a_proxy_that_is_cut_off_with_its_rack_says_so(hosts: Any, lab: Any) -> None:
    lab("cut", "rack1")
    try:
        there = ("console", "r1h1", "python3", "-c", question("r1h1"))
        until(lambda: lab(*there).strip() == "503", "it says that it serves nobody", 60)
    finally:
        lab("heal")
    until(lambda: health(hosts, "r1h1") == "200", "it serves again", 60)


def test_a_killed_proxy_comes_back_by_itself(hosts: Any) -> None:
    before = pid(hosts["r2h1"])
    hosts["r2h1"].check_output(f"systemctl kill --signal=KILL --kill-whom=main {UNIT}")
    until(lambda: pid(hosts["r2h1"]) not in ("0", before), "it runs again", 30)
    until(lambda: all_written(hosts, "r2h1", "again"), "and serves", 60)


def converge(lab: Any, **variables: Any) -> subprocess.CompletedProcess[str]:
    play = ROOT / "molecule/redis_proxy/converge.yml"
    command = ["ansible-playbook", "-i", lab.inventory, "--skip-tags=ground", "-e", json.dumps(variables), play]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_setting_that_envoy_does_not_take_reaches_no_proxy(hosts: Any, lab: Any) -> None:
    before = {name: pid(hosts[name]) for name in PROXIES}
    bad = {"answer": "soon", "connect": "1s", "refresh": "1s", "check": "1s"}
    done = converge(lab, __redis_proxy_timers={"fast": bad})
    assert done.returncode != 0
    assert "envoy.yaml is not valid" in done.stdout
    assert {name: pid(hosts[name]) for name in PROXIES} == before


def test_a_change_goes_to_one_proxy_after_another(hosts: Any, lab: Any) -> None:
    before = {name: pid(hosts[name]) for name in PROXIES}
    done = converge(lab, redis_proxy_read_policy="MASTER")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("redis_proxy1: restart member") == 2
    assert all(pid(hosts[name]) != before[name] for name in PROXIES)
    assert ask(hosts, "r1h1", "set now 1", "get now")[1] == "1", "read from the master, at once"


def test_a_program_with_another_checksum_is_not_taken(hosts: Any, lab: Any) -> None:
    done = converge(lab, redis_proxy_checksum="0" * 64)
    assert done.returncode != 0
    assert "has the SHA-256 8aa137a7" in done.stdout
    assert not hosts["r1h1"].file("/opt/rackspread/envoy-000000000000").exists
    assert all_written(hosts, "r1h1", "still")
