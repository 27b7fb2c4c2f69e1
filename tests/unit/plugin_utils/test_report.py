"""What an operator is told of a site that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.report import Login, render
from small_site import redis

LOGIN = Login("rackspread", "shop", "admin")


def topology(vips: list[str], state: str = "/srv/site/.rackspread") -> dict[str, Any]:
    def member(number: int, ports: dict[str, int]) -> dict[str, Any]:
        return {
            "id": number, "host": f"r{number}h1", "rack": f"rack{number}", "address": f"192.0.2.{number}",
            "leader": number == 1, "ports": ports,
        }  # fmt: skip

    shard = {"main": 25432, "rest": 8008, "write": 5432, "read": 6432}
    return {
        "site": {"id": None, "name": "harbour"},
        "state": state,
        "racks": {f"rack{number}": [f"r{number}h1"] for number in (1, 2, 3)},
        "hosts": {f"r{number}h1": {"rack": f"rack{number}", "address": f"192.0.2.{number}"} for number in (1, 2, 3)},
        "groups": {
            "postgres_shard1": {
                "service": "postgres", "component": "shard", "index": 1,
                "members": [member(number, shard) for number in (1, 2, 3)],
            },
            "edge_balancer1": {
                "service": "edge", "component": "balancer", "index": 1,
                "members": [member(number, {"main": 7000, "peers": 7050}) for number in (1, 2)],
            },
        },
        "settings": {"edge": {"clients": [], "vips": vips}},
        "changes": [{"text": "not what is told here"}],
    }  # fmt: skip


def test_it_has_the_map_the_endpoints_and_the_way_in() -> None:
    text = render(topology(["192.0.2.100/24"]), LOGIN)
    assert "  postgres_shard1*" in text
    assert "postgres_shard1      192.0.2.100:5432   192.0.2.100:6432" in text
    assert (
        'psql "host=192.0.2.100 port=5432 dbname=shop user=rackspread sslmode=verify-full'
        ' sslrootcert=/srv/site/.rackspread/pki/postgres/ca.crt"'
    ) in text
    assert "https://192.0.2.1:7000 https://192.0.2.2:7000 (user admin)" in text
    assert "/srv/site/.rackspread/secrets/postgres.yml, `admin`" in text
    assert "not what is told here" not in text


def test_it_tells_both_ways_to_redis_where_there_is_one() -> None:
    site = topology(["192.0.2.100/24"])
    assert "redis" not in render(site, LOGIN)
    site["groups"] |= redis()
    client = "redis-cli --tls --cacert /srv/site/.rackspread/pki/redis/ca.crt --user application --askpass"
    text = render(site, LOGIN)
    assert f"To Redis:     {client} -h 192.0.2.100 -p 6379\n" in text
    assert f"  to a node:    {client} -c -h 192.0.2.1 -p 16379\n" in text
    assert "/srv/site/.rackspread/secrets/redis.yml, `application`" in text
    del site["groups"]["redis_proxy1"]
    assert "To Redis" not in render(site, LOGIN)


def test_clients_of_kafka_are_told_the_brokers() -> None:
    site = topology([])
    members = [{**each, "ports": {"main": 9092, "peer": 9142}} for each in site["groups"]["postgres_shard1"]["members"]]
    site["groups"]["kafka_broker1"] = {
        **site["groups"]["postgres_shard1"], "service": "kafka", "component": "broker", "members": members,
    }  # fmt: skip
    text = render(site, LOGIN)
    assert "bootstrap.servers=192.0.2.1:9092,192.0.2.2:9092" in text
    assert "/srv/site/.rackspread/secrets/kafka.yml, `admin`" in text


def test_without_vips_clients_are_told_the_balancers() -> None:
    text = render(topology([]), LOGIN)
    assert "192.0.2.1:5432 192.0.2.2:5432" in text
    assert 'psql "host=192.0.2.1,192.0.2.2 port=5432 ' in text


def test_a_vip_of_v6_is_bracketed_beside_its_port_alone() -> None:
    text = render(topology(["2001:db8::100/64"]), LOGIN)
    assert "[2001:db8::100]:5432" in text
    assert 'psql "host=2001:db8::100 port' in text


def test_without_balancers_only_the_map_is_told() -> None:
    site = topology([])
    del site["groups"]["edge_balancer1"]
    text = render(site, LOGIN)
    assert "postgres_shard1" in text
    assert "psql" not in text


def test_paths_below_the_working_folder_are_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = render(topology(["192.0.2.100/24"], str(tmp_path / "inventory/.rackspread")), LOGIN)
    assert "sslrootcert=inventory/.rackspread/pki/postgres/ca.crt" in text
    assert str(tmp_path) not in text
