"""The demo as seen from outside: its lab, runs of its playbooks, who leads what, and clients that count.

Shared by tools/demo, tools/measure and the tests, which stand in the same lab and ask the same questions.
"""

# tools/demo runs before the virtual environment exists: the standard library only, but for what says so.
from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / "lab/lab"
NAME = os.environ.get("RACKSPREAD_LAB", "demo")
"""The lab that is meant; tests of what changes a site have one of their own."""
INVENTORY = ROOT / os.environ.get("RACKSPREAD_INVENTORY", "inventories/lab")
STATE = INVENTORY / ".rackspread"
VIP = "".join(re.findall(r"vips: \[([\d.]+)/", (INVENTORY / "services.rackspread.yml").read_text())[:1])
"""Nothing where there are no balancers."""
USER = DATABASE = "rackspread"

REDIS_CLI = "REDISCLI_AUTH=$(cat .redis/password) redis-cli --user application --tls --cacert .redis/ca.crt"
"""On the client, what tools/client.yml has made ready."""

Group = dict[str, Any]


def until(condition: Callable[[], Any], what: str, seconds: float = 120, pause: float = 1) -> Any:
    """Wait for something to be true, and return it. Raises TimeoutError that says what was waited for."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)
    return found


# The lab


def lab(*words: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """A verb of the lab. Raises RuntimeError with what it said where it failed."""
    done = subprocess.run([LAB, "-l", NAME, *words], capture_output=True, text=True, check=False, input=stdin or "")
    if check and done.returncode:
        raise RuntimeError(f"lab {' '.join(words[:3])}: {done.stdout}{done.stderr}")
    return done


def root(host: str, command: str, check: bool = True) -> str:
    """A shell command as root at a host's console, which no cut takes away; what it printed."""
    return lab("console", host, "sh", "-c", command, check=check).stdout.strip()


def client(command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A shell command on the client, as its ordinary user."""
    return lab("ssh", "client", command, check=check)


def memory() -> float:
    """What all processes of the lab take, in MiB: the sum of their proportional sets (Pss)."""
    sys.path.insert(0, str(ROOT / "lab"))
    from rackspread_lab.cgroup import Cgroup

    total = 0
    for pid in Cgroup(NAME).pids():
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total / 1024


# Runs


@dataclass
class Run:
    """A run of ansible-playbook: its exit code, seconds, output, and by host the numbers of its recap."""

    code: int
    seconds: float
    output: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, int]:
        """The hosts on which something was changed, with the number of tasks that did."""
        return {host: row["changed"] for host, row in self.recap.items() if row["changed"]}


def play(
    playbook: str | Path = "site.yml",
    *options: str,
    inventory: Path = INVENTORY,
    seconds: float = 900,
    **environment: str,
) -> Run:
    """Run a playbook of the tree (or one by its whole path) to its end."""
    return _run(playbook_command(playbook, *options, inventory=inventory), ansible_environment() | environment, seconds)


def kill_at(words: str, output: Path, playbook: str = "site.yml", *options: str) -> None:
    """Begin a run, and kill it with all its workers once it has said something. Raises AssertionError where it ended.

    Args:
        words: what it is to have said.
        output: where what it says goes.
        playbook: which.
        options: of the command line.
    """
    with output.open("w") as file:
        run = subprocess.Popen(
            playbook_command(playbook, *options), cwd=ROOT, env=ansible_environment(),
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        until(lambda: words in output.read_text() or run.poll() is not None, f"the run says {words!r}", 900, 0.1)
        if run.poll() is not None:
            raise AssertionError(output.read_text()[-6000:])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def demo() -> Run:
    """Run tools/demo to its end."""
    return _run([str(ROOT / "tools/demo")], dict(os.environ), 1500)


def _run(command: list[str], environment: dict[str, str], seconds: float) -> Run:
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=seconds, check=False,
    )  # fmt: skip
    return Run(done.returncode, time.monotonic() - began, done.stdout, recap(done.stdout))


def playbook_command(playbook: str | Path, *options: str, inventory: Path = INVENTORY) -> list[str]:
    """The command line of a run."""
    return ["ansible-playbook", "-i", str(inventory), str(ROOT / playbook), *options]


def ansible_environment() -> dict[str, str]:
    """What a run needs to see, and no colours."""
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "COLUMNS": "160"}


def recap(output: str) -> dict[str, dict[str, int]]:
    """The table at the end of a run."""
    rows = re.findall(r"^(\S+)\s+: (ok=\d+ .*)$", output.rpartition("PLAY RECAP")[2], re.MULTILINE)
    return {host: {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", row)} for host, row in rows}


# What is where, and who leads


def groups(inventory: Path = INVENTORY) -> dict[str, Group]:
    """The groups of the site's lock. Needs PyYAML."""
    import yaml

    found: dict[str, Group] = yaml.safe_load((inventory / ".rackspread/lock.yml").read_text())["groups"]
    return found


def members(prefix: str) -> dict[str, list[dict[str, Any]]]:
    """By group the members of those whose key begins so."""
    return {key: group["members"] for key, group in groups().items() if key.startswith(prefix)}


FETCH = """
import base64, json, ssl, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
context = ssl.create_default_context(cafile=asked["ca"])
if asked.get("identity"):
    context.load_cert_chain(asked["identity"] + "/tls.crt", asked["identity"] + "/tls.key")
body = asked.get("body")
request = urllib.request.Request(asked["url"], method=asked["method"], data=body and json.dumps(body).encode())
if asked.get("login"):
    request.add_header("Authorization", "Basic " + base64.b64encode(asked["login"].encode()).decode())
try:
    with urllib.request.urlopen(request, timeout=asked["seconds"], context=context) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


def fetch(
    host: str,
    url: str,
    service: str,
    *,
    body: dict[str, Any] | None = None,
    method: str | None = None,
    identity: bool = True,
    login: str | None = None,
    seconds: float = 5,
) -> tuple[int, str]:
    """Ask over HTTPS from a host, as root at its console.

    Args:
        host: who asks.
        url: what for.
        service: whose CA is trusted, and whose certificate is shown where `identity` says so.
        body: sent as JSON.
        method: POST where there is a body, else GET.
        identity: whether to show the host's certificate.
        login: `user:password`; it goes by standard input.
        seconds: how long it may take.

    Returns: status and text; 0 and the reason where no HTTP came to be.
    """
    pki = f"/etc/rackspread/pki/{service}"
    asked = {
        "url": url, "ca": f"{pki}/ca.crt", "identity": pki if identity else None, "body": body, "login": login,
        "method": method or ("GET" if body is None else "POST"), "seconds": seconds,
    }  # fmt: skip
    done = lab("console", host, "python3", "-c", FETCH, check=False, stdin=json.dumps(asked))
    if done.returncode:
        return 0, done.stderr
    status, text = json.loads(done.stdout)
    return status, text


def secret(service: str, name: str) -> str:
    """A password of the site, as clients have to present it now. Needs PyYAML."""
    import yaml

    folder = STATE / "secrets"
    change = folder / f"{service}.change"
    _number, phase, *_ended = [*(change.read_text() if change.exists() else "").split(), "", ""]
    path = folder / f"{service}{'.next' if phase in ('present', 'drop', 'settle') else ''}.yml"
    return str(yaml.safe_load(path.read_text())[name])


def trusted(service: str) -> Path:
    """The CA file that clients of a service are to have now."""
    folder = STATE / "pki" / service
    return next(path for name in ("trusted.crt", "ca.crt") if (path := folder / name).exists())


def cluster(member: dict[str, Any]) -> dict[str, Any] | None:
    """What a member's Patroni says of its cluster, None where it does not answer."""
    status, text = fetch(member["host"], f"https://{member['address']}:{member['ports']['rest']}/cluster", "postgres")
    answer: dict[str, Any] | None = json.loads(text) if status == 200 else None
    return answer


def primaries() -> dict[str, str]:
    """By shard the host of its primary; one that nobody leads is not there."""
    found = {}
    for shard, those in members("postgres_shard").items():
        answer = next((said for member in those if (said := cluster(member))), None) or {"members": []}
        found[shard] = next((str(each["name"]) for each in answer["members"] if each["role"] == "leader"), "")
    return {shard: host for shard, host in found.items() if host}


def voters() -> dict[str, dict[str, Any]]:
    """By host what each voter of etcd says of itself (its `status`); one that does not answer is not there."""
    (those,) = members("etcd_voter").values()
    found = {}
    for member in those:
        url = f"https://{member['address']}:{member['ports']['main']}/v3/maintenance/status"
        status, text = fetch(member["host"], url, "etcd", body={})
        if status == 200:
            found[member["host"]] = json.loads(text)
    return found


def etcd_leader() -> str | None:
    """The host of etcd's leader, None where there is none that all who answer agree on."""
    said = voters()
    ids = {each["header"]["member_id"]: host for host, each in said.items()}
    leaders = {each.get("leader") for each in said.values()}
    return ids.get(leaders.pop()) if len(leaders) == 1 else None


ASK_REDIS = """
import glob, json, sys
sys.path.insert(0, "/usr/local/lib/rackspread")
import redis_home
own = redis_home.Own(json.load(open(sorted(glob.glob(redis_home.CONFIGS))[0])))
found = {}
for group in own.shards:
    for member in group["members"]:
        try:
            with own.client(member) as ask:
                facts = redis_home.fields(ask("INFO", "replication"))
                state = redis_home.fields(ask("CLUSTER", "INFO"))
                known = redis_home.nodes(ask("CLUSTER", "NODES"))
        except redis_home.NoAnswer:
            continue
        found[f"{group['name']}/{member['host']}"] = {
            "role": facts["role"], "copies": facts.get("connected_slaves"), "link": facts.get("master_link_status"),
            "master": facts.get("master_host"), "state": state["cluster_state"],
            "nodes": sum(not node.fails for node in known),
            "slots": sum(
                int(one.rpartition("-")[2]) - int(one.partition("-")[0]) + 1
                for node in known if "myself" in node.flags for one in node.slots
            ),
        }
print(json.dumps(found))
"""


def redis(outside: str = "") -> dict[str, dict[str, Any]]:
    """By shard and host (`redis_shard1/r1h1`) what each member of Redis says: role, copies, link, master, state, nodes,
    slots.

    One that does not answer is not there. Asked from a host outside of this rack, where one is named.
    """
    asking = (member for those in members("redis_shard").values() for member in those if member["rack"] != outside)
    for member in asking:
        done = lab("console", member["host"], "python3", "-c", ASK_REDIS, check=False)
        if done.returncode == 0:
            found: dict[str, dict[str, Any]] = json.loads(done.stdout)
            return found
    return {}


ASK_KAFKA = """
import dataclasses, json, sys
sys.path.insert(0, "/usr/local/lib/rackspread")
from programs.host_report import carried
own = [each for each in carried() if each.service.modules == "kafka"]
print(json.dumps({each.group: dataclasses.asdict(each.driver.ask()) for each in own}))
"""


def kafka() -> dict[str, dict[str, Any]]:
    """By group and host (`kafka_broker1/r1h1`) what each member of Kafka says (driver.Live), if only that it is ill."""
    found: dict[str, dict[str, Any]] = {}
    groups = {**members("kafka_controller"), **members("kafka_broker")}
    for host in sorted({member["host"] for those in groups.values() for member in those}):
        done = lab("console", host, "python3", "-c", ASK_KAFKA, check=False)
        said = json.loads(done.stdout) if done.returncode == 0 else {}
        found |= {f"{group}/{host}": live for group, live in said.items()}
    return found


def holders() -> list[str]:
    """The balancers that have the VIP."""
    (those,) = members("edge_balancer").values()
    addresses = "ip -brief -4 address show"
    return [each["host"] for each in those if re.search(rf"\b{VIP}/", root(each["host"], addresses, check=False))]


def ailments() -> list[str]:
    """What keeps the site from being whole, in words; nothing where it is."""
    found = []
    for shard, those in members("postgres_shard").items():
        answer = next((said for member in those if (said := cluster(member))), None)
        states = {each["name"]: (each["role"], each["state"]) for each in (answer or {}).get("members", [])}
        roles = sorted(role for role, _state in states.values())
        # The one that is not counted on right now is called a replica until the next look; with quorum all are counted.
        well = roles == ["leader", "quorum_standby", "quorum_standby"] and all(
            state in ("running", "streaming") for _role, state in states.values()
        )
        if not well:
            found.append(f"{shard}: {states or 'no answer'}")
    found += redis_ailments() + kafka_ailments()
    if len(voters()) < 3 or etcd_leader() is None:
        found.append("etcd is not whole")
    if len(holders()) != 1:
        found.append(f"the VIP is on {holders() or 'nobody'}")
    return found


def redis_ailments() -> list[str]:
    """What keeps Redis from being whole: members that are away or behind, masters half of which are in one rack."""
    shards = members("redis_shard")
    if not shards:
        return []
    said = redis()
    places = {f"{shard}/{member['host']}": member for shard, those in shards.items() for member in those}
    copies = len(places) // len(shards) - 1
    found = [f"{place} does not answer" for place in places.keys() - said.keys()]
    for place, each in said.items():
        leads = each["role"] == "master"
        if each["state"] != "ok" or each["nodes"] != len(places) or not (
            int(each["copies"]) == copies if leads else each["link"] == "up"
        ):  # fmt: skip
            found.append(f"{place}: {each}")
    racks = [places[place]["rack"] for place, each in said.items() if each["role"] == "master"]
    if len(racks) != len(shards) or any(racks.count(rack) > (len(shards) - 1) // 2 for rack in racks):
        found.append(f"the masters of Redis are in {' '.join(sorted(racks))}")
    return found


def kafka_ailments() -> list[str]:
    """What keeps Kafka from being whole: members that are away, or that do not count on all the others."""
    said, found = kafka(), []
    for group, those in {**members("kafka_controller"), **members("kafka_broker")}.items():
        everybody = sorted(member["id"] for member in those)
        for place in (f"{group}/{member['host']}" for member in those):
            each = said.get(place, {"detail": "no answer"})
            if not each.get("healthy") or each["members"] != everybody or sorted(each["in_sync"]) != everybody:
                found.append(f"{place}: {each['detail']}")
    return found


def await_whole(seconds: float = 240) -> None:
    """Wait until the site is whole. Raises TimeoutError with what is missing."""
    deadline = time.monotonic() + seconds
    while missing := ailments():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the site is not whole after {seconds:g} s: {'; '.join(missing)}")
        time.sleep(2)


# Leaders are moved by their services' own means


def switch_over(shard: str, host: str) -> None:
    """Make a member the primary."""
    those = members("postgres_shard")[shard]
    leader = primaries()[shard]
    if leader == host:
        return
    member = next(each for each in those if each["host"] == leader)
    url = f"https://{member['address']}:{member['ports']['rest']}/switchover"
    body = {"leader": leader, "candidate": host}
    login = f"rackspread:{secret('postgres', 'rest')}"
    status, text = fetch(leader, url, "postgres", body=body, login=login, seconds=60)
    if status != 200:
        raise RuntimeError(f"{shard} was not switched over to {host}: {status} {text}")


def move_etcd_leader(host: str) -> None:
    """Make a voter etcd's leader."""
    said = voters()
    leader = etcd_leader()
    if leader in (None, host):
        return
    (those,) = members("etcd_voter").values()
    member = next(each for each in those if each["host"] == leader)
    url = f"https://{member['address']}:{member['ports']['main']}/v3/maintenance/transfer-leadership"
    status, text = fetch(leader or "", url, "etcd", body={"targetID": said[host]["header"]["member_id"]})
    if status != 200:
        raise RuntimeError(f"etcd's leader did not go to {host}: {status} {text}")


def move_vip(host: str) -> None:
    """Make a balancer the VIP's holder."""
    others = [each for each in holders() if each != host]
    unit = "rackspread-edge-balancer1-keepalived"
    for other in others:
        root(other, f"systemctl stop {unit}")
    try:
        until(lambda: holders() == [host], f"the VIP on {host}", 30, 0.3)
    finally:
        for other in others:
            root(other, f"systemctl start {unit}")


# Drills, and clients that count


def drill(**variables: Any) -> list[dict[str, Any]]:
    """Do drills with the playbook; what each result.json says. Raises RuntimeError where the run failed."""
    given = {f"drill_{name}": value for name, value in variables.items()}
    run = play("playbooks/drill.yml", "--extra-vars", json.dumps({"confirm": True, **given}), seconds=7200)
    if run.code:
        raise RuntimeError(run.output[-6000:])
    return results(run)


def results(run: Run) -> list[dict[str, Any]]:
    """What the drills of a run left behind."""
    pages = re.findall(r"^\s+(/\S+)/index\.html$", run.output, re.MULTILINE)
    return [json.loads(Path(page, "result.json").read_text()) for page in pages]


def outages(result: dict[str, Any]) -> dict[str, float]:
    """By target of a drill the longest time without a write since the fault, in seconds."""
    found: dict[str, float] = {}
    for gap in result["gaps"]:
        if gap["op"] == "write" and gap["at"] + gap["seconds"] > 0:
            found[gap["target"]] = max(found.get(gap["target"], 0.0), gap["seconds"])
    return found


def active_controller() -> str:
    """The host of Kafka's active controller. Raises ValueError where not one alone says so."""
    (host,) = [place.partition("/")[2] for place, each in kafka().items() if each["role"] == "leader"]
    return host


class Load:
    """Probes on the client, for as long as something else than a drill happens to the site; one Load at a time.

    Args:
        services: whose probes; by default Postgres'.
    """

    def __init__(self, *services: str) -> None:
        self.services = services or ("postgres",)
        self.result: dict[str, dict[str, Any]] = {}
        self._settings: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> Load:
        """Start, and wait until it is served."""
        try:
            self._do("start")
            self.await_served()
        except BaseException:
            self._do("drop")
            raise
        return self

    def __exit__(self, *what: object) -> None:
        """Stop, and hold what was acknowledged against what is stored."""
        try:
            if what[0] is None:
                said = self._do("verify")
                self.result = {
                    target: told for service in self.services for target, told in said[service]["targets"].items()
                }
        finally:
            self._do("drop")

    def await_served(self, seconds: float = 3) -> None:
        """Wait until every target takes writes and reads, and has done so for a while."""

        def served() -> bool:
            said = self._do("state")
            steady = [each for service in self.services for each in said[service]["steady"].values()]
            return bool(steady) and all((each or 0) > seconds for ops in steady for each in ops.values())

        until(served, "the probes are served", 180)

    def outage(self, op: str = "write") -> float:
        """The longest time without a success on any target, in seconds; 0 where none was worth naming."""
        return max((gap["seconds"] for target in self.result for gap in self._gaps(target, op)), default=0.0)

    def worst(self, op: str = "write") -> str:
        """The target that was longest without a success."""
        return max(self.result, key=lambda target: max((gap["seconds"] for gap in self._gaps(target, op)), default=0.0))

    @property
    def lost(self) -> int:
        """Acknowledged rows that are not there, or twice."""
        return sum(len(each["lost"]) + len(each["duplicated"]) for each in self.result.values())

    def _gaps(self, target: str, op: str) -> list[dict[str, float]]:
        found: list[dict[str, float]] = self.result[target]["gaps"].get(op, [])
        return found

    def _do(self, operation: str) -> dict[str, Any]:
        """An operation of the module drill_probe on the client."""
        with tempfile.TemporaryDirectory() as folder:  # 0700, as the settings hold a password
            answer, given = Path(folder, "answer.json"), Path(folder, "given.json")
            given.write_text(json.dumps({**self._given(), "load_operation": operation, "load_answer": str(answer)}))
            run = play("tools/load.yml", "--extra-vars", f"@{given}", seconds=400)
            if run.code:
                raise RuntimeError(f"{operation} of the probes of {', '.join(self.services)}: {run.output[-3000:]}")
            found: dict[str, Any] = json.loads(answer.read_text())
            return found

    def _given(self) -> dict[str, Any]:
        """What a drill would tell these probes. Needs the collection, as an inventory plugin does."""
        sys.path.insert(0, str(ROOT / ".collections"))
        from ansible_collections.rackspread.ha.plugins.plugin_utils.drill.probes import Access, files_of, probes_of

        parts = {key: key.rstrip("0123456789").split("_") for key in groups()}
        known = {
            key: {**group, "service": parts[key][0], "component": parts[key][1]} for key, group in groups().items()
        }
        access = Access(
            lambda: {"user": USER, "database": DATABASE, "password": secret("postgres", "admin")},
            lambda service: trusted(service).read_text(),
            secret,
        )
        balanced = any(group["service"] == "edge" for group in known.values())
        topology = {"groups": known, "settings": {"edge": {"vips": [f"{VIP}/24"]}} if balanced else {}}
        probes = {service: probes_of(service, topology, access)[0] for service in self.services}
        # What they write to is said once: the site may be another at the end.
        self._settings = self._settings or {service: probe.settings for service, probe in probes.items()}
        return {
            "load_probes": {
                service: {"settings": self._settings[service], "files": files_of(probe)}
                for service, probe in probes.items()
            },
            "load_secrets": {service: probe.secrets for service, probe in probes.items()},
            "load_packages": sorted({name for probe in probes.values() for name in probe.packages}),
            "load_certificates": [dict(each) for probe in probes.values() for each in probe.certificates],
        }


def racks_of(hosts: Iterable[str]) -> set[str]:
    """The racks of hosts, by the lock."""
    known = {member["host"]: member["rack"] for group in groups().values() for member in group["members"]}
    return {known[host] for host in hosts}
