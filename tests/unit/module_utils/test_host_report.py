# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host tells of itself: which members it carries, and whether their groups can spare it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import host, host_report, record
from ansible_collections.rackspread.ha.plugins.module_utils.driver import Driver, Live
from ansible_collections.rackspread.ha.plugins.module_utils.host_report import NO, YES, Carried, can_reboot, carried
from ansible_collections.rackspread.ha.plugins.module_utils.instance import File, Instance
from ansible_collections.rackspread.ha.plugins.module_utils.services import SERVICES

MEMBERS = [{"id": number, "host": f"r{number}h1", "rack": f"rack{number}"} for number in (1, 2, 3)]


class Thing(Driver):
    """A service whose members say what the test has them say, by the id of who is asked."""

    says: dict[int, Live]

    def ask(self) -> Live:
        return self.settings["says"][self.member["id"]]


def live(number: int, role: str = "follower", **facts: Any) -> Live:
    return Live(role=role, **{"healthy": True, "members": [1, 2, 3], "in_sync": [1, 2, 3], **facts})


def thing(service: str, says: dict[int, Live], own: int = 1) -> Carried:
    group = {"name": f"{service}_thing1", "members": MEMBERS}
    instance = Instance.of(group["name"], own)
    return Carried(SERVICES[service], Thing(instance, group, MEMBERS[own - 1], {"says": says}))


@pytest.fixture(autouse=True)
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    here = host.Unit("x", "loaded", "active", "running", "success", 7, "enabled", False)
    monkeypatch.setattr(host, "unit", lambda _name: here)
    monkeypatch.setattr(host, "units", lambda names: dict.fromkeys(names, here))


def well() -> dict[int, Live]:
    return {1: live(1, "leader"), 2: live(2), 3: live(3)}


def test_a_host_without_members_may_go() -> None:
    assert can_reboot([]) == (YES, "Yes: this host carries no member.")


def test_a_host_whose_groups_are_whole_may_go_and_is_told_what_it_leads() -> None:
    assert can_reboot([thing("etcd", well()), thing("postgres", well(), own=2)]) == (
        YES,
        "Yes: etcd_thing1, postgres_thing1 can spare this host. It leads etcd_thing1; patch.yml would hand over first.",
    )


def test_a_host_stays_while_another_rack_misses_a_member() -> None:
    says = {**well(), 3: Live(detail="192.0.2.31:2379 does not answer")}
    code, sentence = can_reboot([thing("etcd", says), thing("postgres", well())])
    assert code == NO
    assert sentence == "No: member 3 on r3h1 of etcd_thing1 not joined (192.0.2.31:2379 does not answer)."


def test_a_host_stays_while_its_patroni_is_paused() -> None:
    paused = {key: live(key, role, in_sync=[], detail="Patroni is paused") for key, role in
              ((1, "leader"), (2, "follower"), (3, "follower"))}  # fmt: skip
    code, sentence = can_reboot([thing("postgres", paused, own=2)])
    assert code == NO
    assert "Patroni is paused" in sentence


def test_a_member_that_is_down_already_has_nothing_to_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = host.Unit("x", "loaded", "inactive", "dead", "success", 0, "enabled", False)
    monkeypatch.setattr(host, "unit", lambda _name: stopped)
    assert can_reboot([thing("etcd", well())])[0] == YES


def test_every_service_that_is_built_is_reported() -> None:
    built = {row.modules or row.name for row in SERVICES.values()}
    assert host_report.DRIVERS.keys() == built, "a host that carries a member must not say that it may go"


def test_members_of_kafka_are_asked_by_kind_and_an_active_controller_hands_nothing_over(tmp_path: Path) -> None:
    root = str(tmp_path)
    for name in ("kafka_controller1", "kafka_broker1"):
        with record.update(root) as known:
            known["groups"][name] = {"member": 2, "members": MEMBERS}
        instance = Instance.of(name, 2, "/srv", root=root)
        instance.stage([File(f"{instance.unit}.service", "[Service]\n")])
        instance.switch(running=False)
    found = [(each.service.gate, type(each.driver).__name__) for each in carried(root)]
    assert found == [("copies", "Broker"), ("quorum", "Controller")]
    assert can_reboot([thing("kafka_controller", well())]) == (YES, "Yes: kafka_controller_thing1 can spare this host.")


def test_what_is_carried_is_what_the_record_knows_and_what_was_activated(tmp_path: Path) -> None:
    root = str(tmp_path)
    placed = (
        ("postgres_shard1", "/srv"), ("edge_balancer1_haproxy", None), ("etcd_voter1", "/srv"),
        ("redis_shard12", "/srv"), ("redis_proxy1", None), ("mongodb_shard1", "/srv"),
    )  # fmt: skip
    for name, data in placed:
        with record.update(root) as known:
            known["groups"][name] = {"member": 2, "members": MEMBERS}
        if name != "etcd_voter1":  # placed here, and not staged yet
            instance = Instance.of(name, 2, data, root=root)
            instance.stage([File(f"{instance.unit}.service", "[Service]\n")])
            instance.switch(running=False)
    found = list(carried(root))
    assert [(each.service.name, each.group) for each in found] == [
        ("haproxy", "edge_balancer1"), ("postgres", "postgres_shard1"), ("redis_proxy", "redis_proxy1"),
        ("redis", "redis_shard12"),
    ]  # fmt: skip
    text = host_report.login_message({"host": "r2h1", "rack": "rack2", "forgotten": {"kafka_broker1": {}}}, found)
    assert "r2h1 in rack2 carries" in text
    assert "rackspread-postgres-shard1" in text
    assert "member 2 of postgres_shard1" in text
    assert "kafka_broker1" in text
