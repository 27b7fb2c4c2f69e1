# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member of a shard of Redis Cluster (or Valkey's).

A group is one shard; all groups together are one cluster. Each begins on one member, which takes the slots that the
group's intent names and meets the first members of the other shards; the shard's other members are attached to its
master. No command of redis-cli that creates or fixes a cluster is used: each step here is one that can be taken again.

The id of a group is that of its shard in Redis (CLUSTER MYSHARDID), which outlives every member of it. Nodes are told
apart by their addresses, which belong to places; a node's own id is another after its disk was lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from . import host
from .driver import DATA, EMPTY, HALF_FORMED, LEFTOVERS, Driver, Found, Live
from .instance import Instance
from .redis_home import ASK_SECONDS, CONFIG, Client, NoAnswer, Node, fields, follows, hold, nodes
from .redis_slots import count, share

SLOTS = "16384"
FIRM_SECONDS = 30.0
"""How long nodes may take to know each other, and a master to hand over."""
ACT_SECONDS = 15.0
"""How long a node may take for one answer while something is done to it; a mere look is shorter."""
POLL_SECONDS = 0.2
RATE = 2000
"""Keys that go to other shards a second, where nothing is said."""
SHARE_SECONDS = 30.0
"""For how long slots are moved until it is told how far that came."""
NOT_DATA = {".rackspread.json", "lost+found"}


class Redis(Driver):
    """One member.

    Settings: `groups`, every shard of the cluster (`{name, index, members}`); `user`, whom the daemon runs as; `admin`,
    the name of the ACL user that acts here, whose password is the secret of that key; `lag`, the seconds by which a
    replica in sync may be behind; `persistent`, whether keys are kept on disk; `rate`, how many keys a second go to
    other shards at most. Where a look is told nothing of this, it goes by what the member itself runs with.
    """

    service = "redis"
    start_seconds = 600.0  # until its data is read

    def __init__(
        self, instance: Instance, group: dict[str, Any], member: dict[str, Any], settings: dict[str, Any],
        secrets: dict[str, Any] | None = None,
    ) -> None:
        if not settings:
            own = json.loads(host.read(f"{instance.current}/{CONFIG}") or "{}")
            settings, secrets = own.get("settings", {}), own.get("secrets", {})
        super().__init__(instance, group, member, settings, secrets)

    # What lies on the disk

    @property
    def _folder(self) -> str:
        return f"{self.instance.data}/redis"

    def find(self) -> Found:
        """Read the disk; nodes.conf says which cluster the node knows, and what it is in it."""
        data = self.instance.data or ""
        entries = set(os.listdir(data)) - NOT_DATA if os.path.isdir(data) else set()
        strange = sorted(entries - {"redis"})
        if strange:
            return Found(LEFTOVERS, detail=f"{data} holds {', '.join(strange[:3])}")
        files = set(os.listdir(self._folder)) if os.path.isdir(self._folder) else set()
        if not files:
            return Found(EMPTY)
        known = nodes(host.read(f"{self._folder}/nodes.conf") or "")
        own = next((node for node in known if "myself" in node.flags), None)
        if own is None:
            if "appendonlydir" in files:
                return Found(LEFTOVERS, detail=f"{self._folder} holds keys, and no nodes.conf to say of which cluster")
            return Found(HALF_FORMED, detail=f"{self._folder} knows no cluster yet")
        master = next((node for node in known if node.id == own.master), own)
        followed = any(node.master == own.id for node in known)
        if not (own.slots or own.master or followed or master.shard == self.group.get("formed")):
            return Found(HALF_FORMED, detail=f"{self._folder} has no part in a cluster yet")
        if own.slots and self.settings.get("persistent", True) and "appendonlydir" not in files:
            # A master without keys has its replicas throw theirs away; the unit does not start it either.
            return Found(LEFTOVERS, detail=f"{self._folder} knows its cluster, and its keys are gone")
        return Found(DATA, master.shard)

    # What the cluster says

    def _client(self, member: dict[str, Any], seconds: float = ASK_SECONDS) -> Client:
        where = member["address"], member["ports"]["main"]
        return Client(*where, self.instance.pki, self.settings["admin"], self.secrets["admin"], seconds)

    @contextlib.contextmanager
    def _asking(self, trouble: str) -> Iterator[Client]:
        """A connection to the own node. Where it, or another that is asked meanwhile, has no answer: Failed."""
        try:
            with self._client(self.member, ACT_SECONDS) as ask:
                yield ask
        except NoAnswer as error:
            raise host.Failed(f"{self._name} {trouble}: {error}") from error

    @property
    def _everybody(self) -> list[dict[str, Any]]:
        """The members of all shards."""
        return [member for group in self.settings["groups"] for member in group["members"]]

    def ask(self) -> Live:
        """Ask the own node, and through it the cluster."""
        if not self.settings:
            return Live(detail=f"nothing tells how to ask it: {self.instance.current}/{CONFIG} is not there")
        try:
            with self._client(self.member) as ask:
                known = nodes(ask("CLUSTER", "NODES"))
                cluster = fields(ask("CLUSTER", "INFO"))
                replication = fields(ask("INFO", "replication"))
                shard = ask("CLUSTER", "MYSHARDID")
        except NoAnswer as error:
            return Live(detail=str(error))
        return self.tell(known, cluster, replication, shard)

    def tell(
        self, known: list[Node], cluster: dict[str, str], replication: dict[str, str], shard: str
    ) -> Live:
        """What the own node's answers mean.

        Args:
            known: CLUSTER NODES.
            cluster: CLUSTER INFO.
            replication: INFO replication.
            shard: CLUSTER MYSHARDID.
        """
        own = next(node for node in known if "myself" in node.flags)
        master = next((node for node in known if node.id == own.master), None) if own.master else own
        hanging = [node for node in known if master and master.id in (node.id, node.master)]
        members = [place["id"] for node in hanging if (place := self._place(node))]
        role = "none"
        if own.master:
            role = "follower" if master and self._place(master) else "none"
        elif own.slots or len(hanging) > 1 or (self.group.get("formed") in (None, shard) and self._begins(known)):
            role = "leader"
        whole = cluster.get("cluster_slots_assigned") == SLOTS
        in_step = role == "leader" or follows(replication)
        healthy = role != "none" and whole and in_step and cluster.get("cluster_state") == "ok"
        formed = self.group.get("formed")
        return Live(
            cluster_id=shard if healthy else None,
            role=role,
            healthy=healthy,
            members=sorted(members) if role != "none" else [],
            slots=list(own.slots) if role == "leader" else None,
            in_sync=self._in_sync(replication) if role == "leader" else [self.member["id"]] if in_step else [],
            unfinished=role == "none" or (not formed and not whole),
            detail=self._complaint(known, cluster, master, in_step),
        )

    def _complaint(self, known: list[Node], cluster: dict[str, str], master: Node | None, in_step: bool) -> str:
        said = []
        if cluster.get("cluster_state") != "ok":
            said.append(f"the cluster's state is {cluster.get('cluster_state')}")
        if master and not self._place(master):
            said.append(f"it follows {master.address}:{master.port}, which is none of {self.group['name']}")
        elif not in_step:
            said.append("it is not in step with its master")
        if strangers := self._strangers(known):
            said.append(f"the cluster counts nodes that the placement does not know: {', '.join(strangers)}")
        return "; ".join(said)

    def _in_sync(self, replication: dict[str, str]) -> list[int]:
        """Ids of the replicas that the own master streams to, and its own."""
        found = [self.member["id"]]
        for number in range(int(replication.get("connected_slaves", 0))):
            told = replication.get(f"slave{number}", "").split(",")
            facts = dict(fact.split("=", 1) for fact in told if "=" in fact)
            place = self._at(facts.get("ip", ""), int(facts.get("port", 0)))
            heard = int(facts.get("lag", -1)) in range(self.settings["lag"] + 1)
            if place and heard and facts.get("state") == "online":
                found.append(place["id"])
        return sorted(found)

    def _begins(self, known: list[Node]) -> bool:
        """Whether this member is the one that a shard without slots begins with, and the shard has no other master."""
        first = min(self.group["members"], key=lambda member: (not member.get("leader"), member["id"]))
        others = [node for node in known if "myself" not in node.flags and self._place(node)]
        return first["id"] == self.member["id"] and not any(node.slots or node.master for node in others)

    def _place(self, node: Node) -> dict[str, Any] | None:
        """The M of this shard that a node is."""
        return self._at(node.address, node.port)

    def _at(self, address: str, port: int) -> dict[str, Any] | None:
        members = self.group["members"]
        return next((each for each in members if (each["address"], each["ports"]["main"]) == (address, port)), None)

    def _strangers(self, known: list[Node]) -> list[str]:
        """The addresses of nodes that stand in no place. A node without one is what a lost member left."""
        places = {(member["address"], member["ports"]["main"]) for member in self._everybody}
        return sorted(
            f"{node.address}:{node.port}" for node in known
            if not {"myself", "noaddr"} & node.flags and (node.address, node.port) not in places
        )

    # How a shard begins, and how others join it

    def form(self, intent: dict[str, Any]) -> None:
        """Begin the shard: take its slots, if it has any yet, and meet the other shards."""
        self._start_first()
        with self._asking("can't begin its shard") as ask:
            known = self._alone(ask)
            own = next(node for node in known if "myself" in node.flags)
            if own.master:
                raise host.Failed(f"{self._name} follows another node: no shard is begun on it")
            wanted = (intent["slots"],) if intent.get("slots") else ()
            if own.slots and own.slots != wanted:
                raise host.Failed(f"{self._name} has the slots {' '.join(own.slots)}, and its shard's are {wanted}")
            if wanted and not own.slots:
                ask("CLUSTER", "ADDSLOTSRANGE", *wanted[0].split("-"))
            firsts = [
                min(group["members"], key=lambda member: (not member.get("leader"), member["id"]))
                for group in self.settings["groups"] if group["name"] != self.group["name"]
            ]
            # Those that are not there yet will meet this one: how far it came is for the next look.
            self._meet(ask, firsts)
            self._forget(ask, self.member)

    def join(self, peer: dict[str, Any]) -> None:
        """Follow the shard's master. The copy may take longer than this."""
        self._start_first()
        with self._asking("can't join its shard") as ask:
            known = self._alone(ask)
            if next(node for node in known if "myself" in node.flags).slots:
                raise host.Failed(f"{self._name} has slots: it does not follow another master")
            master = next(each for each in self.group["members"] if each["id"] == peer["member"])
            if not self._meet(ask, [master], peer["node"]):
                raise host.Failed(f"{self._name} does not get to know the master on {master['host']}")
            self._until(lambda: _tried(ask, "CLUSTER", "REPLICATE", peer["node"]), "follow its master")
            self._until(lambda: ask("CLUSTER", "MYSHARDID") == peer["shard"], "know its shard")

    def _start_first(self) -> None:
        """Start on a disk that is the daemon's user's; it runs already where a former run was cut short."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        host.own(self._folder, self.settings["user"], self.settings["user"])
        self.start()

    def _alone(self, ask: Client) -> list[Node]:
        """What the node knows, as long as that is no other cluster, and no keys. Raises Failed."""
        known = nodes(ask("CLUSTER", "NODES"))
        keys = int(ask("DBSIZE"))
        if strangers := self._strangers(known):
            raise host.Failed(f"{self._name} knows a cluster with {', '.join(strangers)}: it is taken into no other")
        if keys:
            raise host.Failed(f"{self._name} holds {keys} keys: nothing is made over them")
        return known

    def _meet(self, ask: Client, members: list[dict[str, Any]], node_id: str | None = None) -> bool:
        """Get to know other members; whether all are known, and connected, after a while."""
        deadline = time.monotonic() + FIRM_SECONDS
        again = 0.0
        while True:
            known = {(node.address, node.port): node for node in nodes(ask("CLUSTER", "NODES")) if node.known}
            missing = [
                member for member in members
                if not ((node := known.get((member["address"], member["ports"]["main"]))) and node.linked)
                or (node_id and node.id != node_id)
            ]
            if not missing or time.monotonic() > deadline:
                return not missing
            if time.monotonic() >= again:  # one that did not come off is forgotten after the node timeout
                for member in missing:
                    ask("CLUSTER", "MEET", member["address"], member["ports"]["main"], member["ports"]["bus"])
                again = time.monotonic() + 3
            time.sleep(POLL_SECONDS)

    def admit(self, target: dict[str, Any]) -> dict[str, Any]:
        """On the master: forget what the blank member was before, and answer whom it is to follow."""
        with self._asking(f"can't take member {target['id']} in") as ask:
            self._forget(ask, target)
            return {
                "member": self.member["id"], "node": ask("CLUSTER", "MYID"), "shard": ask("CLUSTER", "MYSHARDID"),
            }

    def expel(self, target: dict[str, Any]) -> None:
        """Forget a member whose disk is lost. One that answers has not lost it; one that leaves is stopped before."""
        if target.get("leaving"):
            return
        if self._id_of(target):
            raise host.Failed(f"member {target['id']} on {target['host']} answers: it is not forgotten")
        with self._asking(f"can't forget member {target['id']}") as ask:
            self._forget(ask, target)

    def leave(self) -> None:
        """Stop for good, and be forgotten by all nodes: one that still knew it would tell the others of it."""
        known = nodes(host.read(f"{self._folder}/nodes.conf") or "")
        own = next((node for node in known if "myself" in node.flags), None)
        if own and own.slots:
            raise host.Failed(f"{self._name} leads {count(own.slots)} slots: it is not stopped for good")
        super().leave()
        if own:
            self._have_forgotten({own.id})

    def share(self, emptied: list[str]) -> dict[str, Any]:
        """Move slots between the shards for a while."""
        login = self.settings["admin"], self.secrets["admin"]
        rate = self.settings.get("rate", RATE)
        try:
            return dict(share(
                self.settings["groups"], lambda each: self._client(dict(each), ACT_SECONDS), self.member, emptied,
                login, rate, SHARE_SECONDS,
            ))  # fmt: skip
        except (NoAnswer, ValueError) as error:
            raise host.Failed(f"slots do not move: {error}") from error

    def _id_of(self, member: dict[str, Any]) -> str | None:
        """The id of the node that a member is now, None where it does not answer."""
        try:
            with self._client(member) as ask:
                return str(ask("CLUSTER", "MYID"))
        except NoAnswer:
            return None

    def _forget(self, ask: Client, member: dict[str, Any]) -> None:
        """Have all nodes forget those that stood in a member's place before it, or in none."""
        where = (member["address"], member["ports"]["main"])
        others = [node for node in nodes(ask("CLUSTER", "NODES")) if node.known and "myself" not in node.flags]
        stale = {node.id for node in others if (node.address, node.port) == where or "noaddr" in node.flags}
        if not stale:
            return
        self._have_forgotten(stale - {self._id_of(member)})

    def _have_forgotten(self, stale: Collection[str | None]) -> None:
        """Have all nodes forget others, by their ids. Within a minute, for which they take no other's word."""
        for each in self._everybody:
            # A node that is away learns it from the others (redis/redis#10869).
            with contextlib.suppress(NoAnswer), self._client(each) as other:
                known = {node.id for node in nodes(other("CLUSTER", "NODES")) if "myself" not in node.flags}
                for node_id in known & set(stale):
                    with contextlib.suppress(NoAnswer):
                        other("CLUSTER", "FORGET", node_id)

    # Roll

    def reload(self) -> None:
        """Have the running node take what it can take: its live settings, certificates (all at once) and users."""
        text = host.read(f"{self.instance.config}/live.conf") or ""
        pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
        with self._asking("does not take its settings") as ask:
            ask("CONFIG", "SET", *(word for pair in pairs for word in pair))
            ask("ACL", "LOAD")

    def step_down(self, target: dict[str, Any] | None) -> None:
        """Have another member take over, with all that was written here; the master waits for it, nothing is lost."""
        with self._asking("did not hand over") as ask:
            replication = fields(ask("INFO", "replication"))
            if replication.get("role") != "master":
                return
            others = set(self._in_sync(replication)) - {self.member["id"]}
            heirs = others & {target["id"]} if target else others
            if not heirs:
                raise host.Failed(f"{self._name} can't hand over: nobody else is in sync")
            held = self.instance.path(hold(self.group["name"]))
            host.write_atomic(held, "")
            os.utime(held)
            first = next(each for each in self.group["members"] if each["id"] in heirs)
            with self._client(first, ACT_SECONDS) as heir:
                heir("CLUSTER", "FAILOVER")
            self._until(lambda: fields(ask("INFO", "replication")).get("role") == "slave", "hand over")

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + FIRM_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise host.Failed(f"{self._name} did not {what} within {FIRM_SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    @property
    def _name(self) -> str:
        return f"member {self.member['id']} of {self.group['name']}"


def _tried(ask: Client, *words: object) -> bool:
    """Whether a command was taken."""
    try:
        ask(*words)
    except NoAnswer:
        return False
    return True
