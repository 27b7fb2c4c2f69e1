"""Prepared hosts, asked from outside: do names resolve, are ports open to whom they should be, is the rest as it was?

One host a rack: r1h1 and r2h1 are balancers too. Postgres' clients are those of the lower half of the network, to which
`client` (.200) does not belong. Nothing listens on the members' ports but what a test puts there.
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host
from transient import unit_name
from waiting import until

Hosts = dict[str, Host]

ADDRESSES = {"r1h1": "198.18.10.11", "r2h1": "198.18.10.21", "r3h1": "198.18.10.31"}
BALANCERS = ("r1h1", "r2h1")
ETCD, PUBLISHED, STATISTICS, UNMANAGED = 2379, 5432, 7000, 9999
SERVER = """
import socket, threading, sys
def serve(port):
    server = socket.create_server(("0.0.0.0", port))
    while True:
        server.accept()[0].close()
for port in sys.argv[1:]:
    threading.Thread(target=serve, args=[int(port)]).start()
"""
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])).close()
except TimeoutError:
    sys.exit("silent")
"""
ROOT = Path(__file__).resolve().parents[3]


def python(host: Host, program: str, *arguments: object) -> Any:
    return host.run("python3 -c %s " + " ".join(str(argument) for argument in arguments), program)


@contextmanager
def listening(host: Host, *ports: int) -> Iterator[str]:
    """A server on these ports for the time of a block: the name of its unit."""
    unit = unit_name("listener")
    words = " ".join(str(port) for port in ports)
    started = host.run(f"systemd-run --quiet --collect --unit={unit} python3 -c %s {words}", SERVER)
    assert started.rc == 0, started.stderr
    try:
        for port in ports:
            until(lambda port=port: host.run(f"ss -Hltn 'sport = {port}'").stdout != "", f"port {port}")
        yield unit
    finally:
        host.run(f"systemctl stop {unit}")


def connects(host: Host, target: str, port: int) -> bool:
    """Whether a connection is taken; a dropped packet is told from a refused one, which would be an error here."""
    tried = python(host, CONNECT, ADDRESSES[target], port, 3)
    assert tried.rc == 0 or tried.stderr.strip() == "silent", tried.stderr
    return tried.rc == 0


def ansible(lab: Any, *words: str) -> subprocess.CompletedProcess[str]:
    command = [words[0], "--inventory", str(lab.inventory), *words[1:]]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, text=True, capture_output=True, env=environment, timeout=300, cwd=ROOT, check=False)


def module(lab: Any, host: str, name: str, arguments: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return ansible(lab, "ansible", host, "-m", f"rackspread.ha.{name}", "-a", json.dumps(arguments))


def table(host: Host) -> str:
    return host.run("nft --stateless list table inet rackspread").stdout


@pytest.mark.parametrize("name", ADDRESSES)
def test_every_host_knows_every_other_by_name(hosts: Hosts, name: str) -> None:
    for other, address in ADDRESSES.items():
        found = hosts[name].check_output(f"getent ahostsv4 {other}").split()
        assert found[0] == address


def test_lines_of_others_in_the_hosts_file_stay(hosts: Hosts) -> None:
    assert "127.0.0.1 localhost" in hosts["r1h1"].file("/etc/hosts").content_string


@pytest.mark.parametrize("name", ADDRESSES)
def test_kernel_settings_are_live(hosts: Hosts, name: str) -> None:
    assert hosts[name].sysctl("net.ipv4.tcp_retries2") == 5
    assert hosts[name].sysctl("net.ipv4.ip_nonlocal_bind") == (name in BALANCERS)


@pytest.mark.parametrize("name", ADDRESSES)
def test_time_is_kept_and_no_clock_is_set_in_a_container(hosts: Hosts, name: str) -> None:
    assert hosts[name].service("chrony").is_running
    assert hosts[name].service("chrony").is_enabled
    assert "-x" in hosts[name].check_output("ps -o args= -C chronyd").split()
    assert "Reference ID" in hosts[name].check_output("chronyc tracking")


def test_sessions_may_open_more_files(hosts: Hosts) -> None:
    assert hosts["r1h1"].check_output("su - operator -c 'ulimit -S -n'") == "16384"


def test_ports_are_open_to_those_who_need_them_alone(hosts: Hosts) -> None:
    with listening(hosts["r1h1"], ETCD, PUBLISHED, STATISTICS, UNMANAGED):
        assert connects(hosts["r1h1"], "r1h1", ETCD), "the host itself"
        assert connects(hosts["r2h1"], "r1h1", ETCD), "a member of the group"
        assert not connects(hosts["client"], "r1h1", ETCD), "a stranger"
        assert connects(hosts["r3h1"], "r1h1", PUBLISHED), "a network of clients"
        assert not connects(hosts["client"], "r1h1", PUBLISHED), "another network"
        assert connects(hosts["client"], "r1h1", STATISTICS), "a service open to anybody"
        assert connects(hosts["client"], "r1h1", UNMANAGED), "a port that no member has"


def test_vrrp_is_taken_from_the_other_balancer_alone(hosts: Hosts) -> None:
    send = """
import socket, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
raw.sendto(b"rackspread", (sys.argv[1], 0))
"""
    receive = """
import socket, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 112)
open("/run/t-vrrp.ready", "w").close()
while True:
    with open("/run/t-vrrp.seen", "a") as seen:
        print(raw.recvfrom(100)[1][0], file=seen, flush=True)
"""
    balancer = hosts["r1h1"]
    balancer.run("rm -f /run/t-vrrp.*")
    assert balancer.run("systemd-run --quiet --collect --unit=t-vrrp python3 -c %s", receive).rc == 0
    try:
        until(lambda: balancer.file("/run/t-vrrp.ready").exists, "the receiver")
        for name in ("client", "r3h1", "r2h1"):
            assert python(hosts[name], send, ADDRESSES["r1h1"]).rc == 0
        until(lambda: ADDRESSES["r2h1"] in balancer.run("cat /run/t-vrrp.seen").stdout, "a packet of the peer")
        assert balancer.check_output("sort -u /run/t-vrrp.seen") == ADDRESSES["r2h1"]
    finally:
        balancer.run("systemctl stop t-vrrp; rm -f /run/t-vrrp.*")


def test_the_table_never_speaks_of_ssh(hosts: Hosts) -> None:
    for name in ADDRESSES:
        assert "rackspread" in table(hosts[name])
        assert " 22 " not in table(hosts[name])


def test_a_drifted_table_comes_back_and_other_tables_stay(lab: Any, hosts: Hosts) -> None:
    host = hosts["r1h1"]
    wanted = table(host)
    host.check_output("nft 'add table inet t_foreign; add chain inet t_foreign c; add rule inet t_foreign c accept'")
    try:
        foreign = host.check_output("nft list table inet t_foreign")
        host.check_output("nft add rule inet rackspread input tcp dport 22 accept")
        run = ansible(lab, "ansible-playbook", "playbooks/base.yml", "--limit", "r1h1")
        assert run.returncode == 0, run.stdout
        assert "changed=1 " in run.stdout
        assert table(host) == wanted
        assert host.check_output("nft list table inet t_foreign") == foreign
    finally:
        host.run("nft delete table inet t_foreign")


def test_a_table_that_nobody_confirms_is_taken_back(lab: Any, hosts: Hosts) -> None:
    host = hosts["r3h1"]
    former, kept = table(host), host.file("/etc/rackspread/firewall.nft").content_string
    ruleset = textwrap.dedent("""\
        table inet rackspread
        delete table inet rackspread
        table inet rackspread {
            chain input {
                type filter hook input priority filter; policy accept;
                tcp dport 9999 drop
            }
        }
    """)
    # The host itself watches: on a slow machine the time may be over before this test can look.
    watch = "until nft list table inet rackspread | grep -q 9999; do sleep 0.1; done; touch /run/t-watch.seen"
    host.check_output("rm -f /run/t-watch.seen; systemd-run --quiet --collect --unit=t-watch /bin/sh -c %s", watch)
    try:
        loaded = module(lab, "r3h1", "firewall_table", {"ruleset": ruleset, "probation": 3})
        assert loaded.returncode == 0, loaded.stdout
        assert "pending: true" in loaded.stdout
        until(lambda: table(host) == former, "the former table")
        assert host.file("/run/t-watch.seen").exists
    finally:
        host.run("systemctl stop t-watch; rm -f /run/t-watch.seen")
    assert host.file("/etc/rackspread/firewall.nft").content_string == kept
    refused = module(lab, "r3h1", "firewall_table", {"ruleset": ruleset, "operation": "confirm"})
    assert refused.returncode != 0
    assert "the former one was put back" in refused.stdout


def test_the_table_outlives_a_reload_of_the_hosts_own_rules(hosts: Hosts) -> None:
    host = hosts["r2h1"]
    wanted = table(host)
    assert "flush ruleset" in host.file("/etc/nftables.conf").content_string
    try:
        for verb in ("start", "restart", "reload"):
            host.check_output(f"systemctl {verb} nftables")
            until(lambda: table(host) == wanted, f"the table after a {verb}", 20)
    finally:
        host.run("systemctl stop nftables; systemctl restart rackspread-firewall")  # a stop flushes all
    assert table(host) == wanted


def test_all_is_there_after_a_boot(lab: Any, hosts: Hosts) -> None:
    wanted = table(hosts["r3h1"])
    lab("power-off", "r3h1")
    lab("power-on", "r3h1")
    until(lambda: table(hosts["r3h1"]) == wanted, "the table")
    assert hosts["r3h1"].sysctl("net.ipv4.tcp_retries2") == 5
    assert hosts["r3h1"].check_output("getent ahostsv4 r1h1").split()[0] == ADDRESSES["r1h1"]


def test_check_mode_works_on_a_bare_host_and_changes_nothing(lab: Any, hosts: Hosts) -> None:
    assert not hosts["client"].package("chrony").is_installed
    role = ("ansible.builtin.include_role", "-a", "name=rackspread.ha.base")
    inputs = json.dumps({"base_hosts": {"r1h1": "198.18.10.11"}})
    run = ansible(lab, "ansible", "client", "-m", *role, "-e", inputs, "--check", "--diff")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "+chrony (to be installed)" in run.stdout
    assert "+198.18.10.11 r1h1" in run.stdout
    assert not hosts["client"].package("chrony").is_installed
    assert "r1h1" not in hosts["client"].file("/etc/hosts").content_string
    assert table(hosts["client"]) == ""


def test_packages_start_nothing_and_a_killed_run_leaves_nothing_behind(lab: Any, hosts: Hosts) -> None:
    """The package manager is kept waiting, so that the module can be killed while it installs."""
    host = hosts["client"]
    own = "#!/bin/sh\nexit 0\n"
    host.check_output("printf %s > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d", own)
    lock = """
import fcntl, time
file = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(file, fcntl.LOCK_EX)
open("/run/t-lock.held", "w").close()
time.sleep(600)
"""
    wanted = {"names": ["haproxy"], "hold": ["haproxy"], "before": {"/etc/haproxy/t.cfg": "# first\n"}}
    command = ["ansible", "--inventory", str(lab.inventory), "client", "-m", "rackspread.ha.packages"]
    policy = host.file("/usr/sbin/policy-rc.d")
    try:
        host.check_output("systemd-run --quiet --collect --unit=t-lock python3 -c %s", lock)
        until(lambda: host.file("/run/t-lock.held").exists, "the lock")
        with subprocess.Popen([*command, "-a", json.dumps(wanted)], stdout=subprocess.DEVNULL, cwd=ROOT) as run:
            until(lambda: "rackspread.ha.packages" in policy.content_string, "the policy")
            host.check_output("kill -9 $(ps -o ppid= -C systemd-run)")
            assert run.wait(timeout=60) != 0
        host.check_output("systemctl stop t-lock")
        until(lambda: host.run("systemctl is-active rackspread-packages").stdout.strip() == "inactive", "apt-get")
        assert policy.content_string == own
        again = module(lab, "client", "packages", wanted)
        assert again.returncode == 0, again.stdout
        assert host.package("haproxy").is_installed
        assert not host.service("haproxy").is_running
        assert host.check_output("apt-mark showhold") == "haproxy"
        assert host.file("/etc/haproxy/t.cfg").content_string == "# first\n"
        assert "changed: false" in module(lab, "client", "packages", wanted).stdout
        refused = module(lab, "client", "packages", {"names": ["no-such-package"]})
        assert "E: Unable to locate package no-such-package" in refused.stdout
        assert policy.content_string == own
    finally:
        host.run("systemctl stop t-lock; rm -f /run/t-lock.held /usr/sbin/policy-rc.d")
        host.run("apt-mark unhold haproxy; apt-get -y purge haproxy")


def test_hosts_that_do_not_fit_are_refused_in_one_message_before_anything_is_changed(lab: Any, hosts: Hosts) -> None:
    hosts["r1h1"].check_output("mkdir -p /var/lib/rackspread/etcd_voter1 && touch /var/lib/rackspread/etcd_voter1/x")
    try:
        with listening(hosts["r2h1"], ETCD) as unit:
            run = ansible(lab, "ansible-playbook", "playbooks/look.yml")
        assert run.returncode == 2
        said = " ".join(run.stdout.split())
        assert "RS-056: /var/lib/rackspread/etcd_voter1 on r1h1 holds data" in said
        assert f"RS-053: python3 ({unit}.service) listens on port 2379 of r2h1" in said
    finally:
        hosts["r1h1"].run("rm -r /var/lib/rackspread/etcd_voter1")
    assert ansible(lab, "ansible-playbook", "playbooks/look.yml").returncode == 0
