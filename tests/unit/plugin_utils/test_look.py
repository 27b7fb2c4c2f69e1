"""Every reason for which hosts are refused after a look at them, each by its code."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.look import judge

WEIGHTS = {"etcd_voter": 512, "postgres_shard": 2048, "edge_balancer": 128}


def member(n: int, **ports: int) -> dict[str, Any]:
    return {"id": n, "host": f"r{n}h1", "rack": f"rack{n}", "leader": False, "address": f"192.0.2.1{n}", "ports": ports}


TOPOLOGY: dict[str, Any] = {
    "site": {"id": "site-1", "name": "demo"},
    "hosts": {f"r{n}h1": {"rack": f"rack{n}", "address": f"192.0.2.1{n}"} for n in (1, 2, 3)},
    "groups": {
        "etcd_voter1": {
            "service": "etcd",
            "component": "voter",
            "index": 1,
            "members": [member(n, main=2379, peer=2480) for n in (1, 2, 3)],
        },
        "edge_balancer1": {
            "service": "edge",
            "component": "balancer",
            "index": 1,
            "members": [member(n, main=7000, peers=7050) for n in (1, 2)],
        },
    },
    "settings": {"edge": {"clients": [], "vips": ["192.0.2.100/24"]}, "etcd": {"clients": []}},
}


def look(n: int) -> dict[str, Any]:
    return {
        "release": {"id": "debian", "version": "13", "name": "Debian GNU/Linux 13 (trixie)"},
        "machine_id": f"{n:032x}",
        "memory": 1024,
        "addresses": [{"address": f"192.0.2.1{n}/24", "interface": "eth0"}],
        "mounts": [],
        "listeners": [],
        "folders": {"/var/lib/rackspread/etcd_voter1": {"entries": 0, "marker": None}},
        "record": None,
        "clock": {"least": -0.2, "most": 0.3},
    }


@pytest.fixture
def looks() -> dict[str, dict[str, Any]]:
    return {f"r{n}h1": look(n) for n in (1, 2, 3)}


def said(looks: dict[str, Any], topology: dict[str, Any] = TOPOLOGY) -> list[str]:
    return [str(refusal) for refusal in judge(looks, topology, WEIGHTS)]


def test_hosts_that_fit_are_not_refused(looks: dict[str, Any]) -> None:
    assert said(looks) == []
    assert said({}) == []


def test_a_host_that_did_not_answer_is_not_judged(looks: dict[str, Any]) -> None:
    del looks["r2h1"]
    assert said(looks) == []


def test_rs_050_another_release(looks: dict[str, Any]) -> None:
    looks["r2h1"]["release"] = {"id": "ubuntu", "version": "24.04", "name": "Ubuntu 24.04 LTS"}
    assert said(looks) == ["RS-050: r2h1 runs Ubuntu 24.04 LTS. Install Debian 13 on r2h1."]


@pytest.mark.parametrize(("least", "words"), [(60.25, "60.2 s ahead of"), (-3.25, "2.8 s behind")])
def test_rs_051_a_clock_apart(looks: dict[str, Any], least: float, words: str) -> None:
    looks["r3h1"]["clock"] = {"least": least, "most": least + 0.5}
    (only,) = said(looks)
    assert only.startswith(f"RS-051: The clock of r3h1 is {words} the others'.")


def test_a_slow_answer_or_a_controller_with_a_wrong_clock_refuses_nobody(looks: dict[str, Any]) -> None:
    looks["r3h1"]["clock"] = {"least": -4.0, "most": 0.5}
    assert said(looks) == []
    for each in looks.values():
        each["clock"] = {"least": 299.9, "most": 300.2}
    assert said(looks) == []


def test_rs_052_missing_memory(looks: dict[str, Any]) -> None:
    looks["r1h1"]["memory"] = 600
    (only,) = said(looks)
    assert only.startswith(
        "RS-052: r1h1 has 600 MiB of memory, and its members need 640 (etcd_voter1 512, edge_balancer1 128)."
    )


def test_rs_053_a_foreign_program_on_a_port(looks: dict[str, Any]) -> None:
    looks["r1h1"]["listeners"] = [
        {"port": 2379, "address": "*", "unit": "etcd.service", "command": "etcd"},
        {"port": 2480, "address": "192.0.2.11", "unit": "etcd.service", "command": "etcd"},
        {"port": 7000, "address": "192.0.2.100", "unit": "", "command": "nc"},
        {"port": 7050, "address": "127.0.0.1", "unit": "other.service", "command": "other"},
    ]
    looks["r2h1"]["listeners"] = [
        {"port": 2379, "address": "192.0.2.12", "unit": "rackspread-etcd-voter1.service", "command": "etcd"},
    ]
    assert said(looks) == [
        "RS-053: nc listens on port 7000 of r1h1, where a member should. Stop and disable nc there, or keep members off"
        " this host with `exclude`.",
        "RS-053: etcd (etcd.service) listens on ports 2379, 2480 of r1h1, where a member should. Stop and disable"
        " etcd.service there, or keep members off this host with `exclude`.",
    ]


def test_rs_054_a_host_without_its_own_address(looks: dict[str, Any]) -> None:
    looks["r3h1"]["addresses"] = [{"address": "10.0.0.5/24", "interface": "eth0"}]
    (only,) = said(looks)
    assert only.startswith("RS-054: r3h1 does not have the address 192.0.2.13 itself; it has 10.0.0.5.")


def test_rs_055_balancers_in_different_networks(looks: dict[str, Any]) -> None:
    looks["r1h1"]["addresses"][0]["address"] = "192.0.2.11/31"
    (only,) = said(looks)
    assert "r1h1 in 192.0.2.10/31; r2h1 in 192.0.2.0/24" in only
    assert only.startswith("RS-055")
    routed = copy.deepcopy(TOPOLOGY)
    routed["settings"]["edge"]["vips"] = []
    assert said(looks, routed) == []


def test_rs_055_a_vip_outside_the_network_that_the_balancers_have(looks: dict[str, Any]) -> None:
    for each in looks.values():
        each["addresses"][0]["address"] = each["addresses"][0]["address"].replace("/24", "/26")
    (only,) = said(looks)
    assert only.startswith("RS-055: The VIP 192.0.2.100 is not in 192.0.2.0/26")


def test_rs_056_data_that_nobody_of_the_site_left(looks: dict[str, Any]) -> None:
    folder = looks["r1h1"]["folders"]["/var/lib/rackspread/etcd_voter1"]
    folder["entries"] = 2
    (only,) = said(looks)
    assert only.startswith("RS-056: /var/lib/rackspread/etcd_voter1 on r1h1 holds data")
    looks["r1h1"]["record"] = {"groups": {"etcd_voter1": {}}}
    assert said(looks) == [], "a member that the host knows of is the formation's to judge"
    looks["r1h1"]["record"] = None
    folder["marker"] = {"group": "etcd_voter1"}
    assert said(looks) == []


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("site_id", "site-2", "a record of the site site-2, and the site now is site-1"),
        ("host", "old", "a record of the name old, and the name now is r1h1"),
        ("rack", "rack9", "a record of the rack rack9, and the rack now is rack1"),
        ("machine_id", "f" * 32, "and the machine id now is"),
    ],
)
def test_rs_057_a_record_that_contradicts(looks: dict[str, Any], key: str, value: str, words: str) -> None:
    record = {"site_id": "site-1", "host": "r1h1", "rack": "rack1", "machine_id": looks["r1h1"]["machine_id"]}
    looks["r1h1"]["record"] = {**record, "groups": {}}
    assert said(looks) == []
    looks["r1h1"]["record"][key] = value
    (only,) = said(looks)
    assert only.startswith("RS-057")
    assert words in only


def test_rs_059_two_hosts_that_are_one_machine(looks: dict[str, Any]) -> None:
    looks["r2h1"]["machine_id"] = looks["r1h1"]["machine_id"]
    (only,) = said(looks)
    assert only.startswith("RS-059: r1h1, r2h1 have one machine id")


def test_all_reasons_of_all_hosts_are_told_at_once(looks: dict[str, Any]) -> None:
    looks["r1h1"]["memory"] = 1
    looks["r3h1"]["release"]["version"] = "12"
    assert [text[:6] for text in said(looks)] == ["RS-052", "RS-050"]
