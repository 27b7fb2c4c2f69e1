# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masters of Redis Cluster go home: what moves them, and the program on the hosts that does it with no run in sight.

Masters alone elect in Redis Cluster. After a failover one rack may hold half of them, and its loss would leave no
majority to promote anybody. So as soon as the member that the placement prefers is in sync again, it takes over, gently
(a failover that its master agrees to, by which nothing is lost).

`move` decides, here and in the playbooks. As a program, `redis_home.py`, this is run by a timer on every host with a
member; it acts only for members of its own host, so that one host acts for each move. It is copied to the hosts as it
stands: beside the standard library it takes python3-redis, which the role installs.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

ASK_SECONDS = 2.0
HOLD_SECONDS = 120
"""How long a member that a roll took the leadership from is left alone: it is about to be restarted."""
CONFIG = "cluster.json"
"""Among the files of a member: how its cluster is asked where no run tells it."""
CONFIGS = f"/etc/rackspread/*/current/{CONFIG}"
STATE = "/run/rackspread"
WARNING, NOTICE = 4, 5


# What moves


@dataclass(frozen=True)
class Place:
    """A member of a shard as it is now.

    Args:
        up: it serves, as its cluster sees it.
        in_sync: its copy is complete, and follows its master.
    """

    member: int
    host: str
    rack: str
    preferred: bool = False
    leads: bool = False
    up: bool = True
    in_sync: bool = True


@dataclass(frozen=True)
class Shard:
    """A shard and its places."""

    name: str
    places: tuple[Place, ...]

    @property
    def leader(self) -> Place | None:
        """Who leads now; None where nobody does, or several say that they do."""
        leaders = [place for place in self.places if place.leads and place.up]
        return leaders[0] if len(leaders) == 1 else None

    @property
    def home(self) -> Place | None:
        """Whom the placement prefers as leader."""
        return next((place for place in self.places if place.preferred), None)


@dataclass(frozen=True)
class Move:
    """Leadership of a shard goes from one member to another; `reason` is a clause."""

    shard: str
    leader: Place
    target: Place
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.shard} goes home from {self.leader.host} in {self.leader.rack}"
            f" to {self.target.host} in {self.target.rack}: {self.reason}"
        )


def bearable(masters: int) -> int:
    """How many of so many masters one rack may hold, so that the others are a majority."""
    return (masters - 1) // 2


def astray(racks: Iterable[str]) -> str:
    """Which rack holds so many masters that its loss would leave no majority; a clause, or nothing.

    Args:
        racks: the rack of each master.
    """
    held = Counter(racks)
    masters = held.total()
    crowded = sorted(rack for rack, count in held.items() if count > bearable(masters))
    return " and ".join(f"{rack} holds {held[rack]} of {masters} masters" for rack in crowded)


def move(shards: Sequence[Shard]) -> Move | None:
    """The next master to go home, None where no rack holds too many, or nobody can go now.

    One at a time: where the rack that is left holds too many comes first, and nobody goes into a rack that is full.
    While a shard has no leader a failover is going on, and nothing is moved. All who look at the same state answer the
    same.
    """
    leaders = {shard.name: shard.leader for shard in shards}
    led = Counter(leader.rack for leader in leaders.values() if leader)
    reason = astray(led.elements())
    if not reason or None in leaders.values():
        return None
    limit = bearable(len(shards))
    found = []
    for shard in sorted(shards, key=lambda shard: (len(shard.name), shard.name)):
        leader, home = leaders[shard.name], shard.home
        if leader is None or home is None or home.member == leader.member or not (home.up and home.in_sync):
            continue
        if led[home.rack] < limit:
            found.append((led[leader.rack] <= limit, Move(shard.name, leader, home, reason)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


# What nodes say


class NoAnswer(Exception):
    """A node was not reached, or answered with an error."""


class Client:
    """A connection to one node, over TLS; made at the first command.

    Args:
        address: its IP address.
        port: its TLS port.
        pki: folder of `ca.crt`.
        user: of the ACL.
        password: of that user.
        seconds: that a connection, and each answer, may take.
    """

    def __init__(
        self, address: str, port: int, pki: str, user: str, password: str, seconds: float = ASK_SECONDS
    ) -> None:
        self._where = f"{address}:{port}"
        self._parameters = {
            "host": address, "port": port, "username": user, "password": password, "decode_responses": True,
            "ssl_ca_certs": f"{pki}/ca.crt", "socket_timeout": seconds, "socket_connect_timeout": seconds,
            "encoding_errors": "surrogateescape",  # keys are bytes, and come back as they were
        }
        self._connection: Any = None

    def __call__(self, *words: object) -> Any:
        """Send a command, and return its answer as Redis gave it. Raises NoAnswer."""
        import redis

        try:
            if self._connection is None:
                self._connection = redis.SSLConnection(**self._parameters)
            self._connection.send_command(*words)
            return self._connection.read_response()
        except (redis.RedisError, OSError, ValueError) as error:
            if not isinstance(error, redis.ResponseError):
                self.close()
            raise NoAnswer(f"{self._where}: {error}") from error

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.disconnect()
            self._connection = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_what: object) -> None:
        self.close()


@dataclass(frozen=True)
class Node:
    """A node as CLUSTER NODES (or the file nodes.conf) has it.

    Args:
        flags: myself, master, slave, fail, fail?, handshake, noaddr …
        master: the id of the node that it follows, None for a master.
        linked: whether the one who tells has a connection to it.
        slots: ranges, "0-5461".
        shard: id of its shard; only the file has it.
    """

    id: str
    address: str
    port: int
    flags: frozenset[str]
    master: str | None
    linked: bool
    slots: tuple[str, ...] = ()
    shard: str | None = None

    @property
    def fails(self) -> bool:
        """Whether it is taken for dead, or may be."""
        return bool(self.flags & {"fail", "fail?", "noaddr", "handshake"})

    @property
    def known(self) -> bool:
        """Whether it is a node of the cluster, and not only an address that was told."""
        return "handshake" not in self.flags


def nodes(text: str) -> list[Node]:
    """The nodes of a CLUSTER NODES answer or of a nodes.conf, the one who tells among them (its flag is `myself`).

    A line is `<id> <ip>:<port>@<bus>[,<hostname>[,<name>=<value> …]] <flags> <master> <ping> <pong> <epoch> <link>
    <slot> …` (redis.io, CLUSTER NODES).
    """
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8 or words[0] == "vars":
            continue
        where, *more = words[1].split(",")
        address, _colon, ports = where.rpartition(":")
        facts = dict(fact.split("=", 1) for fact in more if "=" in fact)
        found.append(
            Node(
                id=words[0],
                address=address,
                port=int(ports.partition("@")[0] or 0),
                flags=frozenset(words[2].split(",")),
                master=None if words[3] == "-" else words[3],
                linked=words[7] == "connected",
                slots=tuple(word for word in words[8:] if not word.startswith("[")),
                shard=facts.get("shard-id"),
            )
        )
    return found


def fields(text: str) -> dict[str, str]:
    """The `name:value` lines of INFO and CLUSTER INFO."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def follows(info: dict[str, str]) -> bool:
    """Whether a replica (its INFO replication) has all, and hears from its master."""
    return info.get("role") == "slave" and info.get("master_link_status") == "up" and (
        info.get("master_sync_in_progress") == "0"
    )


def shards_of(seen: Sequence[Node], groups: Iterable[dict[str, Any]], in_sync: set[str] | None = None) -> list[Shard]:
    """The shards of the placement that have slots, as one node sees the cluster: the masters of others do not elect.

    Args:
        seen: its nodes.
        groups: every shard, `{name, members: [M]}`.
        in_sync: ids of replicas that are in sync; all, where nobody asked yet.
    """
    by_address = {(node.address, node.port): node for node in seen if node.known}
    found = []
    for group in groups:
        places = []
        elects = False
        for member in group["members"]:
            node = by_address.get((member["address"], member["ports"]["main"]))
            elects = elects or bool(node and node.slots)
            places.append(
                Place(
                    member["id"], member["host"], member["rack"], bool(member.get("leader")),
                    leads=node is not None and node.master is None and bool(node.slots),
                    up=node is not None and not node.fails and (node.linked or "myself" in node.flags),
                    in_sync=node is not None and (in_sync is None or node.id in in_sync),
                )
            )
        if elects:
            found.append(Shard(group["name"], tuple(places)))
    return found


# The program


@dataclass(frozen=True)
class Own:
    """A member of this host, by the `cluster.json` among its files.

    `config` is `{home, group, member, pki, settings, secrets}`, the last two as the driver in redis.py has them.
    """

    config: dict[str, Any]

    def client(self, member: dict[str, Any]) -> Client:
        """A connection to a member of any shard."""
        settings, secrets = self.config["settings"], self.config["secrets"]
        where = member["address"], member["ports"]["main"]
        return Client(*where, self.config["pki"], settings["admin"], secrets["admin"])

    @property
    def shards(self) -> list[dict[str, Any]]:
        """Every shard, `{name, members: [M]}`."""
        return list(self.config["settings"]["groups"])

    @property
    def member(self) -> dict[str, Any]:
        """Its own M."""
        [group] = [group for group in self.shards if group["name"] == self.config["group"]]
        [member] = [member for member in group["members"] if member["id"] == self.config["member"]]
        return dict(member)

    @property
    def held(self) -> bool:
        """Whether a roll has just taken the leadership from it."""
        try:
            return time.time() - os.stat(hold(self.config["group"])).st_mtime < HOLD_SECONDS
        except FileNotFoundError:
            return False


def hold(group: str) -> str:
    """The file whose age says when a roll took the leadership from this host's member."""
    return f"{STATE}/{group}.hold"


def plan(own: Own) -> Move | None:
    """The move for the cluster as this member sees it; replicas are asked only where a master is astray."""
    groups = own.shards
    with own.client(own.member) as ask:
        if fields(ask("CLUSTER", "INFO")).get("cluster_state") != "ok":
            return None
        seen = nodes(ask("CLUSTER", "NODES"))
    if move(shards_of(seen, groups)) is None:
        return None
    in_sync = set()
    for member in (member for group in groups for member in group["members"] if member.get("leader")):
        with contextlib.suppress(NoAnswer), own.client(member) as ask:
            if follows(fields(ask("INFO", "replication"))):
                in_sync.add(ask("CLUSTER", "MYID"))
    return move(shards_of(seen, groups, in_sync))


def act(own: Own, step: Move) -> None:
    """Take over from the master, which agrees to it. Raises NoAnswer."""
    with own.client(own.member) as ask:
        ask("CLUSTER", "FAILOVER")
        deadline = time.monotonic() + 10
        while "slave" in fields(ask("INFO", "replication")).get("role", ""):
            if time.monotonic() > deadline:
                raise NoAnswer(f"{step.shard}: {step.leader.host} did not hand over within 10 s")
            time.sleep(0.1)


@contextlib.contextmanager
def alone(path: str) -> Iterator[bool]:
    """Hold a lock file; yields whether it was free. The modules of the playbooks hold it while they act."""
    with open(path, "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def say(sentence: str, level: int = NOTICE) -> None:
    """Tell the journal (man sd-daemon)."""
    sys.stdout.write(f"<{level}>{sentence}\n")
    sys.stdout.flush()


def main(configs: Iterable[str]) -> int:
    """Look once, and bring home whom this host can bring home. The exit status."""
    members = []
    for path in sorted(configs):
        with open(path, encoding="utf-8") as file:
            members.append(Own(json.load(file)))
    members = [own for own in members if own.config["home"]]
    for first in members:
        try:
            step = plan(first)
        except NoAnswer:
            continue  # the next member of this host may know
        own = next((own for own in members if step and own.config["group"] == step.shard), None)
        if step is None or own is None or own.member["id"] != step.target.member or own.held:
            return 0
        with alone(f"{STATE}/{step.shard}.lock") as free:
            if free:
                say(str(step))
                try:
                    act(own, step)
                except NoAnswer as error:
                    say(f"it did not: {error}", WARNING)
                    return 1
                say(f"{step.target.host} leads {step.shard}")
        return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main(glob.glob(CONFIGS)))
