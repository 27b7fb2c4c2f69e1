"""Kernel settings: those of all services on a host under one value a key, or a refusal."""

from __future__ import annotations

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.catalogue import SERVICES
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from ansible_collections.rackspread.ha.plugins.plugin_utils.sysctl import EVERYWHERE, NEEDS, Need, settings


def test_a_host_without_members_gives_silent_connections_up_soon() -> None:
    assert settings([]) == {"net.ipv4.tcp_retries2": "5"}


def test_redis_decides_where_postgres_lives_too() -> None:
    assert settings(["postgres", "redis"])["vm.overcommit_memory"] == "1"
    assert "vm.overcommit_memory" not in settings(["postgres"])


def test_the_highest_floor_holds_all_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "kafka", {"fs.file-max": Need(300, at_least=True)})
    monkeypatch.setitem(NEEDS, "mongodb", {"fs.file-max": Need(200, at_least=True)})
    assert settings(["kafka", "mongodb"])["fs.file-max"] == "300"


def test_what_the_distribution_sets_is_not_lowered_but_by_the_site() -> None:
    assert settings(["kafka"])["vm.max_map_count"] == "1048576"
    assert settings(["kafka", "elasticsearch"])["vm.max_map_count"] == "1048576"
    assert settings(["kafka"], {"vm.max_map_count": 300000})["vm.max_map_count"] == "300000"


def test_the_site_may_raise_a_floor_and_add_keys() -> None:
    chosen = settings(["kafka"], {"vm.max_map_count": 2000000, "net.core.somaxconn": "8192"})
    assert chosen["vm.max_map_count"] == "2000000"
    assert chosen["net.core.somaxconn"] == "8192"
    assert list(chosen) == sorted(chosen)


@pytest.mark.parametrize(
    ("services", "wishes", "words"),
    [
        (["redis"], {"vm.overcommit_memory": 2}, "redis needs 1, and the site sets it to 2"),
        (["kafka"], {"vm.max_map_count": 65530}, "kafka needs at least 262144, and the site sets it to 65530"),
        ([], {"net.ipv4.tcp_retries2": 15}, f"{EVERYWHERE} needs 5"),
    ],
)
def test_rs_058_a_wish_that_a_service_cannot_live_with(
    services: list[str], wishes: dict[str, int], words: str
) -> None:
    with pytest.raises(Refusal, match=r"^RS-058") as caught:
        settings(services, wishes)
    assert words in caught.value.sentence


def test_rs_058_two_services_that_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "postgres", {"vm.overcommit_memory": Need(2)})
    with pytest.raises(Refusal, match=r"^RS-058") as caught:
        settings(["postgres", "redis"])
    assert "redis needs 1, and another service on the host needs 2" in caught.value.sentence


def test_every_row_is_a_service() -> None:
    assert NEEDS.keys() - {EVERYWHERE} <= SERVICES.keys()
