"""Sites in a line, for the tests of placement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import Lock
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement import site as sites
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.spec import parse
from hypothesis import HealthCheck, settings

# The same examples on every run; and no test fails because the machine is slow.
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")

Inventory = tuple[dict[str, list[str]], dict[str, dict[str, Any]]]

TARGET: dict[str, dict[str, Any]] = {
    "edge": {"balancers": 2, "vips": ["198.18.0.100/24"]},
    "postgres": {"shards": 2, "members": 3, "routers": 2},
    "redis": {"shards": 3, "members": 3, "proxies": 2},
    "elasticsearch": {"masters": 3, "data": 3, "coordinating": 2},
    "mongodb": {"config": 3, "shards": 2, "members": 3, "routers": 2},
    "kafka": {"controllers": 3, "brokers": 3},
}


def inventory(racks: Sequence[int], **changed: dict[str, Any]) -> Inventory:
    """Racks of so many hosts, r1h1 at 198.18.0.11 and so on, as groups and variables.

    Args:
        changed: variables of single hosts.
    """
    groups = {f"rack{r}": [f"r{r}h{h}" for h in range(1, size + 1)] for r, size in enumerate(racks, 1)}
    variables: dict[str, dict[str, Any]] = {
        host: {"ansible_host": f"198.18.0.{10 * r + h}"}
        for r, hosts in enumerate(groups.values(), 1)
        for h, host in enumerate(hosts, 1)
    }
    for host, values in changed.items():
        variables.setdefault(host, {}).update(values)
    return groups, variables


def plan_site(
    services: dict[str, Any],
    racks: Sequence[int] = (3, 3, 3),
    lock: Lock | None = None,
    top: dict[str, Any] | None = None,
    at: Inventory | None = None,
    **changed: dict[str, Any],
) -> sites.Site:
    """Plan services on racks of so many hosts."""
    groups, variables = at or inventory(racks, **changed)
    spec = parse({"plugin": "rackspread.ha.placement", "services": services, **(top or {})})
    return sites.plan(spec, groups, variables, lock or Lock(), "/site/.rackspread", "lab")


@pytest.fixture(name="plan", scope="session")
def plan_fixture() -> Callable[..., sites.Site]:
    """`plan_site`."""
    return plan_site


@pytest.fixture(name="inventory", scope="session")
def inventory_fixture() -> Callable[..., Inventory]:
    """`inventory`."""
    return inventory


@pytest.fixture(scope="session")
def target() -> dict[str, dict[str, Any]]:
    """The services of the whole picture."""
    return TARGET
