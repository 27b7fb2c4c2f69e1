"""The balancers, asked as a client asks them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from waiting import until

BALANCERS = {"r1h1": "198.18.13.11", "r2h1": "198.18.13.21"}
UNIT = "rackspread-edge-balancer1-haproxy"
SCENARIO = Path(__file__).resolve().parents[1]
STATISTICS = "https://198.18.13.11:7000/"

ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3) as server:
    server.settimeout(3)
    print(server.makefile().readline().strip())
"""


def ask(hosts: dict[str, Any], balancer: str, port: int) -> str:
    """The name of the server that a new connection through a balancer reaches; empty where it reaches none."""
    return hosts["client"].run("python3 -c %s %s %s", ASK, BALANCERS[balancer], str(port)).stdout.strip()


def balance(lab: Any, *options: str, **changes: object) -> subprocess.CompletedProcess[str]:
    """Give the role its inputs once more, with changes."""
    command = ["ansible-playbook", "-i", str(lab.inventory), str(SCENARIO / "balance.yml"), "-e", json.dumps(changes)]
    return subprocess.run(
        [*command, *options], cwd=SCENARIO.parents[1], capture_output=True, text=True, timeout=300, check=False
    )


def main_pid(hosts: dict[str, Any], balancer: str) -> str:
    """The id of a balancer's main process."""
    return hosts[balancer].check_output(f"systemctl show --property=MainPID --value {UNIT}.service")


@pytest.mark.parametrize("balancer", BALANCERS)
def test_writes_go_to_the_primary_and_reads_to_the_replicas(hosts: dict[str, Any], balancer: str) -> None:
    until(lambda: {ask(hosts, balancer, 5432) for _ in range(3)} == {"r1h1"}, "all writes go to r1h1")
    until(lambda: {ask(hosts, balancer, 6432) for _ in range(6)} == {"r2h1", "r3h1"}, "reads go to both replicas")


def test_the_sessions_of_a_server_that_lost_its_role_are_closed(hosts: dict[str, Any]) -> None:
    watch = """
import socket, time
with socket.create_connection(("198.18.13.11", 5432), timeout=10) as server:
    server.settimeout(15)
    stream = server.makefile()
    print(stream.readline().strip(), flush=True)
    began = time.monotonic()
    rest = stream.readline()
    print(f"{time.monotonic() - began:.1f} {rest!r}")
"""
    try:
        change = "sleep 1; echo replica > /run/server/role"
        hosts["r1h1"].check_output("systemd-run --quiet --collect --unit=change-role sh -c %s", change)
        name, closed = hosts["client"].check_output("python3 -c %s", watch).splitlines()
        assert name == "r1h1"
        assert closed.endswith("''"), closed
        assert float(closed.split()[0]) < 5
        hosts["r3h1"].check_output("echo primary > /run/server/role")
        until(lambda: ask(hosts, "r1h1", 5432) == "r3h1", "writes go to the new primary")
    finally:
        hosts["r3h1"].check_output("echo replica > /run/server/role")
        hosts["r1h1"].check_output("echo primary > /run/server/role")
    until(lambda: ask(hosts, "r1h1", 5432) == "r1h1", "writes go to r1h1 again")


def test_the_statistics_page_asks_for_the_password(hosts: dict[str, Any]) -> None:
    authority = hosts["r1h1"].file("/etc/rackspread/pki/edge/ca.crt").content_string
    hosts["client"].check_output("echo %s > /run/edge-ca.crt", authority)
    fetch = """
import base64, ssl, sys, urllib.error, urllib.request
request = urllib.request.Request("https://198.18.13.11:7000/")
if len(sys.argv) > 1:
    request.add_header("Authorization", "Basic " + base64.b64encode(sys.argv[1].encode()).decode())
try:
    with urllib.request.urlopen(request, context=ssl.create_default_context(cafile="/run/edge-ca.crt")) as page:
        print(page.status, "shard1_write" in page.read().decode())
except urllib.error.HTTPError as error:
    print(error.code)
"""
    client = hosts["client"]
    assert client.check_output("python3 -c %s", fetch) == "401"
    assert client.check_output("python3 -c %s admin:wrong", fetch) == "401"
    assert client.check_output("python3 -c %s admin:no-secret-of-anybody", fetch) == "200 True"


def test_the_admin_socket_is_its_own_users_alone(hosts: dict[str, Any]) -> None:
    socket = hosts["r1h1"].file(f"/run/{UNIT}/admin.sock")
    assert (socket.user, socket.mode) == ("haproxy", 0o600)


def test_the_peers_know_each_other_over_mutual_tls(hosts: dict[str, Any]) -> None:
    show = """
import socket
with socket.socket(socket.AF_UNIX) as admin:
    admin.connect("/run/rackspread-edge-balancer1-haproxy/admin.sock")
    admin.sendall(b"show peers\\n")
    print(admin.makefile().read())
"""
    for balancer, other in (("r1h1", "r2h1"), ("r2h1", "r1h1")):

        def established(balancer: str = balancer, other: str = other) -> bool:
            shown = hosts[balancer].check_output("python3 -c %s", show)
            return any(f"id={other}" in line and "last_status=ESTA" in line for line in shown.splitlines())

        until(established, f"{balancer} and {other} are connected")
    bare = (
        "import socket, ssl\nc = ssl._create_unverified_context()\nc.check_hostname = False\n"
        + """
s = c.wrap_socket(socket.create_connection(("198.18.13.11", 7050), timeout=5))
s.settimeout(5)
s.sendall(b"HAProxyS 2.1\\nr1h1\\nr2h1 1 1\\n")
print(s.recv(10))
"""
    )
    assert "alert" in hosts["client"].run("python3 -c %s", bare).stderr


def test_the_distributions_own_unit_stays_masked(hosts: dict[str, Any]) -> None:
    assert hosts["r1h1"].run("systemctl is-enabled haproxy.service").stdout.strip() == "masked"


def test_a_killed_haproxy_is_back_within_a_second(lab: Any, hosts: dict[str, Any]) -> None:
    watch = """
import socket, time
gap, last, end = 0.0, time.monotonic(), time.monotonic() + 6
while time.monotonic() < end:
    try:
        with socket.create_connection(("198.18.13.11", 6432), timeout=0.5) as server:
            server.settimeout(0.5)
            served = bool(server.recv(10))
    except OSError:
        served = False
    if served:
        gap, last = max(gap, time.monotonic() - last), time.monotonic()
    time.sleep(0.02)
print(f"{max(gap, time.monotonic() - last):.2f}")
"""
    before = main_pid(hosts, "r1h1")
    kill = f"sleep 2; systemctl kill --signal=KILL {UNIT}.service"
    hosts["r1h1"].check_output("systemd-run --quiet --collect --unit=kill-haproxy sh -c %s", kill)
    gap = float(hosts["client"].check_output("python3 -c %s", watch))
    assert main_pid(hosts, "r1h1") != before
    assert gap < 3, f"{gap} s without an answer (about half a second on a machine that does nothing else)"


def test_a_changed_configuration_is_taken_by_a_reload_on_both(lab: Any, hosts: dict[str, Any]) -> None:
    before = {balancer: main_pid(hosts, balancer) for balancer in BALANCERS}
    try:
        run = balance(lab, haproxy_connections_per_client=500)
        assert run.returncode == 0, run.stdout[-3000:] + run.stderr
        for balancer in BALANCERS:
            configuration = hosts[balancer].file("/etc/rackspread/edge_balancer1_haproxy/current/haproxy.cfg")
            assert "sc_conn_cur(0) gt 500" in configuration.content_string
            assert main_pid(hosts, balancer) == before[balancer]
    finally:
        assert balance(lab).returncode == 0


def test_a_configuration_that_haproxy_refuses_reaches_nothing(lab: Any, hosts: dict[str, Any]) -> None:
    before = hosts["r1h1"].check_output("readlink /etc/rackspread/edge_balancer1_haproxy/staged")
    run = balance(lab, haproxy_idle_timeout="an hour or so")
    assert run.returncode != 0
    assert "haproxy.cfg" in run.stdout
    assert "no-secret-of-anybody" not in run.stdout + run.stderr
    assert hosts["r1h1"].check_output("readlink /etc/rackspread/edge_balancer1_haproxy/staged") == before


def test_check_mode_says_what_would_change_and_changes_nothing(lab: Any, hosts: dict[str, Any]) -> None:
    before = hosts["r1h1"].check_output("readlink -f /etc/rackspread/edge_balancer1_haproxy/staged")
    run = balance(lab, "--check", "--diff", haproxy_maxconn=3000)
    assert run.returncode == 0, run.stdout[-3000:]
    assert "no-secret-of-anybody" not in run.stdout
    assert hosts["r1h1"].check_output("readlink -f /etc/rackspread/edge_balancer1_haproxy/staged") == before
