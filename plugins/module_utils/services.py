# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What formation and roll must know of each service: one row a service."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Service:
    """How the groups of a service come to life and are restarted.

    Args:
        name: also the prefix of the modules on the hosts, `<name>_member` and `<name>_info`; `modules` may be another.
        component: whose members it is, as the catalogue has it.
        program: where several programs make up a member, which of them this is.
        stateful: whether members keep data; without it a member is stopped or joined, and nothing is ever formed.
        forms: the first bootstrap happens on all members `together` (etcd starts with all its voters), or on the
            `first` alone, whom the others join.
        joins: how many empty members may join at a time: `one` after another, or all `side_by_side`.
        gate: what lets a member be spared. `quorum`: the others are a majority of the voters. `in_sync`: they have a
            leader, and all its copies are complete. `copies`: the same where each member leads for a part, and every
            one tells whose copies are complete. `any_other`: another member serves.
        spans: all groups of the service are one cluster, whose leaders elect: nothing of it is formed before all of it
            was seen, no member is spared while another rack lacks one, and leaders go back to where the placement has
            them (spanning.py).
        heir: a leader that is about to be restarted names who leads next (`named`), makes way for who is there
            (`any`), or does nothing of its own, since its end is enough (`none`).
        cluster: the component whose formation makes the cluster's id, and one for the disk of each of its members,
            before anything is formed (Kafka); members of other components of the service are formed with that id.
        form, start, join, restart: seconds until a member must be seen joined after that act.
        expel: seconds in which the cluster must have forgotten one, whatever it has to copy for that.
        spare: seconds to wait for the gate to open before a member is touched.
    """

    name: str
    component: str
    gate: Literal["quorum", "in_sync", "copies", "any_other"]
    program: str | None = None
    modules: str | None = None
    stateful: bool = True
    forms: Literal["together", "first"] = "first"
    joins: Literal["one", "side_by_side"] = "one"
    spans: bool = False
    heir: Literal["named", "any", "none"] = "named"
    cluster: str | None = None
    form: int = 120
    start: int = 120
    join: int = 300
    restart: int = 90
    expel: int = 120
    spare: int = 60


SERVICES: dict[str, Service] = {
    row.name: row
    for row in (
        # A majority must be up before any of them is ready: a serial first start would hang.
        Service("etcd", "etcd_voter", gate="quorum", forms="together"),
        # A clone copies the whole database, from the leader to each replica. With a named heir Patroni is slower.
        Service(
            "postgres", "postgres_shard", gate="in_sync", joins="side_by_side", heir="any",
            form=180, start=180, join=3600, restart=120, spare=120,
        ),
        # A restart ends when the data is read again, and what was missed meanwhile, maybe all of it, is copied.
        Service(
            "redis", "redis_shard", gate="in_sync", joins="side_by_side", spans=True,
            form=60, start=600, join=3600, restart=600,
        ),
        # A voter whose disk was lost, and a broker, copy what they lack. The active controller resigns as it ends,
        # a broker takes its time to end, since it hands over what it leads.
        Service(
            "kafka_controller", "kafka_controller", gate="quorum", modules="kafka", forms="together",
            cluster="kafka_controller", heir="none", form=180, start=180, join=600, restart=180,
        ),
        Service(
            "kafka_broker", "kafka_broker", gate="copies", modules="kafka", forms="together", joins="side_by_side",
            cluster="kafka_controller", form=180, start=600, join=3600, restart=600, expel=3600, spare=600,
        ),
        Service("redis_proxy", "redis_proxy", gate="any_other", stateful=False, start=60, restart=30, spare=30),
        *(
            Service(
                program, "edge_balancer", "any_other", program, stateful=False, heir="any",
                start=30, restart=30, spare=30,
            )
            for program in ("haproxy", "keepalived")
        ),
    )
}  # fmt: skip


def row_of(name: str) -> Service | None:
    """The row that an instance is of, by its name: `<group>`, or `<group>_<program>`. None where no role builds it."""
    ends = {row: f"_{row.program}" if row.program else "" for row in SERVICES.values()}
    return next((row for row, end in ends.items() if re.fullmatch(rf"{row.component}\d+{end}", name)), None)


def programs_of(group: Mapping[str, Any]) -> list[Service]:
    """The rows that make up the members of a group, `{service, component, …}`; none where no role builds it."""
    component = f"{group['service']}_{group['component']}"
    return [row for row in SERVICES.values() if row.component == component]
