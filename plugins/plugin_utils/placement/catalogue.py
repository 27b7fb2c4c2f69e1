# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one table of services and components. Everything that differs between them by nature is a column here.

Ports: a group's port is base + (index - 1), and no two blocks meet, so whatever is put on one host, no port is taken
twice. All lie under 32768, where Linux begins to hand out ports to clients. Instances bind their own address; a
published port is bound by HAProxy on the VIP, and stands in the table so that it meets no other.

Weights are the memory in MiB of a modest member; a site says its own with `weight`.
"""

from __future__ import annotations

from dataclasses import dataclass

SINGLE = 50
"""Length of the port block of a component that is one group in ordinary sites (an index is never given twice)."""
SHARDED = 500
"""Length of the port block of a component with many groups."""


@dataclass(frozen=True, slots=True)
class Port:
    """A named port of a component; `published` is one on the VIP."""

    name: str
    base: int
    block: int = SINGLE
    published: bool = False


@dataclass(frozen=True, slots=True)
class Component:
    """A kind of member.

    Without `members_key` the component is one group, and `count_key` counts its members (3 voters). With it,
    `count_key` counts groups and `members_key` the members of each (2 shards of 3). Where members do not vote, a group
    `needs` so many of them, if it has more, to go on.
    """

    service: str
    name: str
    count_key: str
    count: int
    ports: tuple[Port, ...]
    weight: int
    members_key: str | None = None
    members: int = 0
    votes: bool = False
    needs: int = 1
    leads: bool = False
    leaders_vote: bool = False
    shrinks: bool = False
    optional: bool = False
    fronts: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The component's name in keys: postgres_shard."""
        return f"{self.service}_{self.name}"

    @property
    def published(self) -> bool:
        """Whether clients reach it through the VIP."""
        return any(port.published for port in self.ports)

    def rack_limit(self, members: int) -> int:
        """The most of a group's members in one rack with which the group outlives the loss of that rack."""
        return (members - 1) // 2 if self.votes else members - 1


COMPONENTS: tuple[Component, ...] = (
    Component(
        "etcd", "voter", "voters", 3, weight=512, votes=True, roles=("etcd",),
        ports=(Port("main", 2379), Port("peer", 2480)),
    ),
    Component(
        "postgres", "shard", "shards", 1, weight=2048, members_key="members", members=3, leads=True, roles=("patroni",),
        ports=(
            Port("main", 25432, SHARDED),
            Port("rest", 8008, SHARDED),
            Port("write", 5432, SHARDED, published=True),
            Port("read", 6432, SHARDED, published=True),
        ),
    ),
    Component(
        "postgres", "router", "routers", 0, weight=256, optional=True, fronts=("postgres_shard",),
        ports=(Port("main", 15432), Port("front", 5932, published=True)),
    ),
    Component(
        # The bus lies 10000 above the main port, as Redis has it by default.
        "redis", "shard", "shards", 3, weight=1024, members_key="members", members=3, leads=True, leaders_vote=True,
        shrinks=True, roles=("redis",),
        ports=(Port("main", 16379, SHARDED), Port("bus", 26379, SHARDED)),
    ),
    Component(
        "redis", "proxy", "proxies", 2, weight=128, optional=True, fronts=("redis_shard",),
        roles=("redis_proxy",),
        ports=(Port("main", 17379), Port("admin", 17479), Port("front", 6379, published=True)),
    ),
    Component(
        "elasticsearch", "master", "masters", 3, weight=1024, votes=True,
        ports=(Port("main", 19200), Port("transport", 19300)),
    ),
    Component(
        "elasticsearch", "data", "data", 3, weight=4096,
        ports=(Port("main", 19250), Port("transport", 19350)),
    ),
    Component(
        "elasticsearch", "coordinating", "coordinating", 2, weight=1024, optional=True,
        fronts=("elasticsearch_master", "elasticsearch_data"),
        ports=(Port("main", 19400), Port("transport", 19450), Port("front", 9200, published=True)),
    ),
    Component(
        "mongodb", "config", "config", 3, weight=1024, votes=True, leads=True,
        ports=(Port("main", 27217),),
    ),
    Component(
        "mongodb", "shard", "shards", 1, weight=2048, members_key="members", members=3, votes=True, leads=True,
        ports=(Port("main", 27317, SHARDED),),
    ),
    Component(
        "mongodb", "router", "routers", 2, weight=256, optional=True, fronts=("mongodb_config", "mongodb_shard"),
        ports=(Port("main", 27117), Port("front", 27017, published=True)),
    ),
    Component(
        "kafka", "controller", "controllers", 3, weight=1024, votes=True, roles=("kafka",),
        ports=(Port("main", 9393),),
    ),
    Component(
        # Clients go to each broker itself: nothing of Kafka is published on the VIP. A write needs two copies.
        "kafka", "broker", "brokers", 3, weight=2048, needs=2, roles=("kafka",),
        ports=(Port("main", 9092), Port("peer", 9142)),
    ),
    Component(
        # `main` is the statistics page, `peers` carries the stick tables between balancers.
        "edge", "balancer", "balancers", 2, weight=128, roles=("haproxy", "keepalived"),
        ports=(Port("main", 7000), Port("peers", 7050)),
    ),
)  # fmt: skip

IMPLIES: dict[str, tuple[str, ...]] = {"postgres": ("etcd",)}
"""Services that a service brings with it, with their defaults, where the spec does not name them."""

BY_ID: dict[str, Component] = {component.id: component for component in COMPONENTS}
SERVICES: dict[str, tuple[Component, ...]] = {
    service: tuple(component for component in COMPONENTS if component.service == service)
    for service in dict.fromkeys(component.service for component in COMPONENTS)
}


def fronted(component: Component) -> tuple[str, ...]:
    """The ids of the components whose members a component passes its clients on to."""
    if component.service == "edge":
        return tuple(other.id for other in COMPONENTS if other.published)
    return component.fronts
