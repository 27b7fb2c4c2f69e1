"""Who holds the addresses, and how soon another one does."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transient import unit_name
from waiting import until

SCENARIO = Path(__file__).resolve().parents[1]
BALANCERS = ("r1h1", "r2h1")
VIP, SECOND = "198.18.14.100", "198.18.14.101"
KEEPALIVED = "rackspread-edge-balancer1-keepalived"
HAPROXY = "rackspread-edge-balancer1-haproxy"

KNOCK = """
import socket, sys, time
address, seconds = sys.argv[1], float(sys.argv[2])
worst, last, end = 0.0, time.monotonic(), time.monotonic() + seconds
while time.monotonic() < end:
    try:
        socket.create_connection((address, 5432), timeout=0.1).close()
        worst, last = max(worst, time.monotonic() - last), time.monotonic()
    except OSError:
        pass
    time.sleep(0.02)
print(f"{max(worst, time.monotonic() - last):.2f}")
"""


def holds(hosts: dict[str, Any], name: str, vip: str = VIP) -> bool:
    """Whether a balancer holds an address."""
    return f" {vip}/" in hosts[name].check_output("ip -brief address")


def holders(hosts: dict[str, Any], vip: str = VIP) -> list[str]:
    """The balancers that hold an address."""
    return [name for name in BALANCERS if holds(hosts, name, vip)]


def holder(hosts: dict[str, Any], vip: str = VIP) -> str:
    """The one balancer that holds an address, waited for."""
    until(lambda: len(holders(hosts, vip)) == 1, f"one balancer holds {vip}")
    return holders(hosts, vip)[0]


def other(name: str) -> str:
    """The other balancer."""
    return BALANCERS[1 - BALANCERS.index(name)]


def hold(lab: Any, **changes: object) -> None:
    """Give the roles their inputs once more, with changes."""
    command = ["ansible-playbook", "-i", str(lab.inventory), str(SCENARIO / "hold.yml"), "-e", json.dumps(changes)]
    run = subprocess.run(command, cwd=SCENARIO.parents[1], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr


def knocking(hosts: dict[str, Any], seconds: float, fault: Callable[[], object], vip: str = VIP) -> float:
    """The longest time without a connection through an address, while something happens to its holder."""
    client = hosts["client"]
    unit = unit_name("knock")
    knock = f"systemd-run --quiet --collect --unit={unit} --property=StandardOutput=file:/run/knock python3 -c %s"
    client.check_output("rm -f /run/knock")
    client.check_output(f"{knock} {vip} {seconds}", KNOCK)
    time.sleep(1)
    fault()
    until(lambda: client.run("test -s /run/knock").rc == 0, "the knocking ends", seconds + 30)
    return float(client.check_output("cat /run/knock"))


@pytest.fixture(autouse=True)
def whole(lab: Any, hosts: dict[str, Any]) -> Iterator[None]:
    """Every test begins and ends with both balancers up and one of them holding the address."""
    yield
    lab("heal")
    for name in BALANCERS:
        hosts[name].check_output(f"systemctl start {HAPROXY}.service {KEEPALIVED}.service")
    holder(hosts)


def test_one_balancer_holds_the_address_and_serves_it(hosts: dict[str, Any]) -> None:
    assert holder(hosts) in BALANCERS
    assert knocking(hosts, 2, lambda: None) < 1


def test_the_address_is_there_again_soon_after_its_rack_is_cut(lab: Any, hosts: dict[str, Any]) -> None:
    before = holder(hosts)
    gap = knocking(hosts, 6, lambda: lab("cut", f"rack{before[1]}"))
    assert gap < 2, f"{gap} s without the address (0.3 to 0.4 s on a machine that does nothing else)"
    assert holds(hosts, other(before))
    # The cut balancer did not know that it was cut: both hold the address until they hear each other
    gap = knocking(hosts, 6, lambda: lab("heal"))
    assert gap < 2
    assert len(holders(hosts)) == 1


def test_the_address_stays_when_the_other_balancer_comes_back(hosts: dict[str, Any]) -> None:
    before = holder(hosts)
    hosts[before].check_output(f"systemctl stop {KEEPALIVED}.service")
    until(lambda: holders(hosts) == [other(before)], "the other balancer holds the address")
    hosts[before].check_output(f"systemctl start {KEEPALIVED}.service")
    time.sleep(3)  # a preemption would come at once
    assert holders(hosts) == [other(before)]


def test_the_address_leaves_a_balancer_whose_haproxy_is_stopped(hosts: dict[str, Any]) -> None:
    before = holder(hosts)
    hosts[before].check_output(f"systemctl stop {HAPROXY}.service")
    until(lambda: holders(hosts) == [other(before)], "the other balancer holds the address")


def test_the_address_leaves_a_balancer_whose_haproxy_hangs(lab: Any, hosts: dict[str, Any]) -> None:
    before = holder(hosts)
    lab("freeze", before, f"{HAPROXY}.service")
    try:
        until(lambda: holders(hosts) == [other(before)], "the other balancer holds the address")
    finally:
        lab("thaw", before, f"{HAPROXY}.service")


def test_the_address_moves_when_keepalived_is_killed(lab: Any, hosts: dict[str, Any]) -> None:
    before = holder(hosts)
    gap = knocking(hosts, 6, lambda: lab("kill", before, f"{KEEPALIVED}.service"))
    assert gap < 3
    assert len(holders(hosts)) == 1


def test_a_changed_haproxy_gives_the_address_away_before_it_restarts(lab: Any, hosts: dict[str, Any]) -> None:
    pids = {name: hosts[name].check_output(f"systemctl show -P MainPID {HAPROXY}.service") for name in BALANCERS}
    gap = []
    try:
        gap.append(knocking(hosts, 60, lambda: hold(lab, haproxy_maxconn=3000)))
        for name in BALANCERS:
            assert hosts[name].check_output(f"systemctl show -P MainPID {HAPROXY}.service") != pids[name]
    finally:
        hold(lab)
    assert gap[0] < 2, f"{gap[0]} s without the address while both balancers restarted"


def test_two_addresses_have_a_home_each_and_go_back_there(lab: Any, hosts: dict[str, Any]) -> None:
    def at_home() -> bool:
        return holders(hosts, VIP) == ["r1h1"] and holders(hosts, SECOND) == ["r2h1"]

    two = {"vips": [f"{VIP}/24", f"{SECOND}/24"], "keepalived_preempt_delay": 2}
    try:
        hold(lab, **two)
        until(at_home, "each address is at home")
        lab("cut", "rack2")
        until(lambda: holds(hosts, "r1h1", SECOND), "r1h1 holds both")
        lab("heal")
        until(at_home, "each address is at home")
    finally:
        lab("heal")
        hold(lab)
    until(lambda: holders(hosts, SECOND) == [], f"{SECOND} is gone")
