# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the balancers publish."""

from __future__ import annotations

from ansible_collections.rackspread.ha.plugins.filter.groups_of import groups_of
from ansible_collections.rackspread.ha.plugins.plugin_utils.edge import frontends


def member(number: int, index: int) -> dict:
    """A member of a shard on the first host of its rack."""
    host = f"r{number}h1"
    bases = {"main": 25432, "rest": 8008, "write": 5432, "read": 6432}
    ports = {name: base + index - 1 for name, base in bases.items()}
    return {
        "id": number,
        "host": host,
        "rack": f"rack{number}",
        "address": f"192.0.2.{number}1",
        "ports": ports,
        "leader": number == index,
    }


def shard(index: int) -> dict:
    """A shard of three members."""
    members = [member(number, index) for number in (1, 2, 3)]
    return {"service": "postgres", "component": "shard", "index": index, "members": members}


GROUPS = {
    "etcd_voter1": {"service": "etcd", "component": "voter", "index": 1, "members": []},
    "postgres_shard1": shard(1),
    "postgres_shard3": shard(3),
}


def test_each_shard_has_a_write_and_a_read_port_by_its_index() -> None:
    found = {frontend["name"]: frontend for frontend in frontends(GROUPS)}
    assert {name: frontend["port"] for name, frontend in found.items()} == {
        "postgres_shard1_write": 5432,
        "postgres_shard1_read": 6432,
        "postgres_shard3_write": 5434,
        "postgres_shard3_read": 6434,
    }


def test_every_member_stands_behind_both_ports_and_is_asked_for_its_role() -> None:
    write, read = frontends(GROUPS)[2:]
    assert (write["check"]["path"], read["check"]["path"]) == ("/primary", "/replica")
    assert write["servers"] == read["servers"]
    second = {"name": "r2h1", "host": "r2h1", "address": "192.0.2.21", "port": 25434, "check_port": 8010}
    assert write["servers"][1] == second


def test_the_proxies_of_redis_stand_behind_one_port_and_say_whether_they_serve() -> None:
    ports = {"main": 17379, "admin": 17479, "front": 6379}
    members = [{"id": n, "host": f"r{n}h1", "address": f"192.0.2.{n}1", "ports": ports} for n in (1, 2)]
    group = {"service": "redis", "component": "proxy", "index": 1, "members": members}
    [frontend] = frontends({"redis_proxy1": group})
    assert (frontend["name"], frontend["port"]) == ("redis_proxy1_front", 6379)
    assert frontend["check"] == {"path": "/healthy", "identity": "redis"}
    assert frontend["servers"][1] == {
        "name": "r2h1", "host": "r2h1", "address": "192.0.2.21", "port": 17379, "check_port": 17479,
    }  # fmt: skip


def test_only_groups_of_the_component_are_handed_to_a_role() -> None:
    assert [group["name"] for group in groups_of(GROUPS, "postgres_shard")] == ["postgres_shard1", "postgres_shard3"]
    assert groups_of(GROUPS, "kafka_broker") == []
