"""Who may connect to which port, and the table that nft loads."""

from __future__ import annotations

import copy
import shutil
import subprocess
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.firewall import (
    ANYBODY,
    CLIENTS,
    GROUP,
    NAMED,
    REACH,
    openings,
    ruleset,
    vrrp_peers,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.catalogue import BY_ID
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal


def group(service: str, component: str, hosts: list[int], **ports: int) -> dict[str, Any]:
    members = [
        {"id": id, "host": f"h{n}", "rack": f"rack{n}", "leader": False, "address": f"192.0.2.{n}", "ports": ports}
        for id, n in enumerate(hosts, 1)
    ]
    return {"service": service, "component": component, "index": 1, "members": members}


GROUPS = {
    "etcd_voter1": group("etcd", "voter", [1, 2, 3], main=2379, peer=2480),
    "postgres_shard1": group("postgres", "shard", [1, 2, 4], main=25432, rest=8008, write=5432, read=6432),
    "postgres_shard2": group("postgres", "shard", [2, 5], main=25433, rest=8009, write=5433, read=6433),
    "edge_balancer1": group("edge", "balancer", [6, 3], main=7000, peers=7050),
}


def texts(sources: tuple[Any, ...]) -> list[str]:
    return [str(network) for network in sources]



def addresses(sources: tuple[Any, ...]) -> set[str]:
    return {str(address) for network in sources for address in network}


def test_every_port_of_the_catalogue_has_a_row_and_no_other() -> None:
    assert {name: set(rows) for name, rows in REACH.items()} == {
        name: {port.name for port in component.ports} for name, component in BY_ID.items()
    }
    assert {who for rows in REACH.values() for row in rows.values() for who in row} <= {GROUP, CLIENTS, NAMED, *BY_ID}


def test_a_port_is_open_to_its_group_and_to_those_who_need_it_alone() -> None:
    ports = openings(GROUPS, "h1")
    assert list(ports) == [2379, 2480, 8008, 25432]
    assert addresses(ports[2480]) == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}
    assert addresses(ports[2379]) == {f"192.0.2.{n}" for n in (1, 2, 3, 4, 5)}
    assert addresses(ports[8008]) == {f"192.0.2.{n}" for n in (1, 2, 3, 4, 6)}
    assert 5432 not in ports, "published on the balancers alone"


def test_clients_that_must_be_named_are_let_in_by_name_alone() -> None:
    assert "192.0.2.200" not in addresses(openings(GROUPS, "h1")[2379])
    assert "192.0.2.200" in addresses(openings(GROUPS, "h1", {"etcd": ["192.0.2.200/32"]})[2379])


def test_published_ports_are_the_balancers_and_open_to_clients() -> None:
    ports = openings(GROUPS, "h6", {"postgres": ["198.51.100.0/24", "198.51.100.128/25", "2001:db8::/32"]})
    assert list(ports) == [5432, 5433, 6432, 6433, 7000, 7050]
    assert texts(ports[5432]) == ["198.51.100.0/24", "2001:db8::/32"], "overlaps are one network"
    assert texts(ports[7000]) == list(ANYBODY)
    assert addresses(ports[7050]) == {"192.0.2.3", "192.0.2.6"}


def test_without_balancers_clients_go_to_the_members() -> None:
    groups = {key: value for key, value in GROUPS.items() if key != "edge_balancer1"}
    ports = openings(groups, "h5", {"postgres": ["198.51.100.0/24"]})
    assert list(ports) == [8009, 25433]
    assert "198.51.100.0/24" in texts(ports[25433])
    assert "198.51.100.0/24" not in texts(ports[8009])


def test_a_host_without_members_has_no_managed_port() -> None:
    assert openings(GROUPS, "h9") == {}
    assert "dport" not in ruleset({})


def test_rs_004_a_network_of_clients_that_is_none() -> None:
    with pytest.raises(Refusal, match=r"^RS-004: '10\.0\.0\.0/33'"):
        openings(GROUPS, "h6", {"postgres": ["10.0.0.0/33"]})


def test_vrrp_is_the_other_balancers_alone() -> None:
    assert addresses(vrrp_peers(GROUPS, "h6")) == {"192.0.2.3"}
    assert vrrp_peers(GROUPS, "h1") == ()


def test_the_ruleset_replaces_its_own_table_and_says_nothing_of_others() -> None:
    text = ruleset(openings(GROUPS, "h3"), vrrp_peers(GROUPS, "h3"))
    assert text.splitlines()[1:3] == ["table inet rackspread", "delete table inet rackspread"]
    assert text.count("table ") == 3
    assert "flush" not in text
    assert " 22" not in text
    assert "policy accept" in text
    assert "meta l4proto 112 ip saddr { 192.0.2.6 } accept" in text
    assert "meta l4proto 112 drop" in text
    assert "112" not in ruleset(openings(GROUPS, "h1"))
    rules = [line.strip() for line in text.splitlines() if "tcp dport" in line]
    assert rules[-1] == "tcp dport { 2379, 2480, 5432, 5433, 6432, 6433, 7000, 7050 } drop"
    assert "tcp dport { 5432, 5433, 6432, 6433, 7000 } accept" in rules


def test_ports_with_the_same_sources_share_a_rule_in_each_family() -> None:
    groups = copy.deepcopy(GROUPS)
    groups["etcd_voter1"]["members"][0]["address"] = "2001:db8::1"
    text = ruleset(openings(groups, "h3"))
    assert "tcp dport { 2480 } ip saddr { 192.0.2.2/31 } accept" in text
    assert "tcp dport { 2480 } ip6 saddr { 2001:db8::1 } accept" in text


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_nft_takes_the_ruleset() -> None:
    clients = {"postgres": ["198.51.100.0/24", "2001:db8::/32"], "edge": ["0.0.0.0/0"]}
    text = ruleset(openings(GROUPS, "h3", clients), vrrp_peers(GROUPS, "h3"))
    checked = subprocess.run(["nft", "--check", "-f", "-"], input=text, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
