# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller or a broker of Kafka: what lies in its log folders, what its cluster says, how it comes and goes.

Controllers are one group, brokers another, of one cluster. Both are told apart from others by their node id, which
follows from the member's, and a controller's disk by its directory id: voters are pairs of both. A controller that lost
its disk comes back under its node id with another directory id, so what it had promised on the old one binds nobody:
the old pair is removed, and the new one added as soon as it has caught up.

Log folders are formatted aside, by Kafka's own tool, and renamed: there is none that is formatted by half.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any

from . import host, kafka_moving
from .driver import Driver, Found, Live
from .instance import Instance
from .kafka_answers import behind, heard, only_on, quorum, under_replicated, votes
from .kafka_client import (
    ADD_RAFT_VOTER,
    BROKERS,
    CONTROLLERS,
    DESCRIBE_CLUSTER,
    ITERATIONS,
    MECHANISM,
    METADATA,
    REMOVE_RAFT_VOTER,
    WRONG_PASSWORD,
    Client,
    NoAnswer,
    salted_password,
)
from .kafka_disk import ASIDE, JOINING, found, meta

FACTS = "member.json"
"""Among the staged files what the driver goes by; the role's template member.json.j2 says what it is."""
SETTINGS = "server.properties"
LISTENER = "CONTROLLER"
"""The name of the controllers' listener (the role's template server.properties.j2)."""
RUN = "/run/rackspread"
CATCH_UP_SECONDS = 120.0
LEADER_SECONDS = 30.0
ASK_SECONDS = 5.0
ACT_SECONDS = 60.0
POLL_SECONDS = 0.5
LISTEN_SECONDS = 30.0
"""How long a start waits for the port: one with logs to recover takes longer, and is waited for by the run."""
FORMAT_SECONDS = 120.0
SILENCE_SECONDS = 20.0
MOVE_SECONDS = 3500.0
"""How long a broker that leaves may take to be emptied, in one run; less than services.Service.expel."""


class Kafka(Driver):
    """What controllers and brokers have in common. There are no settings: what is to be known is among the files."""

    service = "kafka"
    offset = 0
    """What is added to a member's id to have its node's."""

    @classmethod
    def of(
        cls, instance: Instance, group: dict[str, Any], member: dict[str, Any], settings: dict[str, Any],
        secrets: dict[str, Any] | None = None,
    ) -> Driver:
        """A controller or a broker, by the name of its group."""
        kind = Controller if group["name"].startswith("kafka_controller") else Broker
        return kind(instance, group, member, settings, secrets)

    def _facts(self, version: str) -> dict[str, Any]:
        """What a version of the files says of the member; nothing where there is none."""
        text = host.read(f"{version}/{FACTS}")
        facts: dict[str, Any] = json.loads(text) if text else {}
        return facts

    @property
    def _staged(self) -> dict[str, Any]:
        return self._facts(self.instance.staged) or self._facts(self.instance.current)

    def _log_dirs(self, version: str) -> list[str]:
        """The log folders that a version has, that of the metadata first."""
        return self._facts(version).get("log_dirs") or [f"{self.instance.data}/kafka"]

    @property
    def node(self) -> int:
        """Its node id."""
        return self._node(self.member)

    def _node(self, member: dict[str, Any]) -> int:
        return int(member["id"]) + self.offset

    @property
    def _name(self) -> str:
        return f"member {self.member['id']} of {self.group['name']}"

    # What lies on the disk

    def find(self) -> Found:
        """Read the meta.properties of every log folder that the member runs with, or is about to."""
        data = self.instance.data or ""
        ran = self._facts(self.instance.current)
        folders = self._log_dirs(self.instance.current if ran else self.instance.staged)
        own = {os.path.basename(folder) for folder in folders if os.path.dirname(folder) == data}
        return found(data, own, folders, self.node, self.group)

    @property
    def _directory(self) -> str | None:
        """The directory id of the folder with the metadata; None where there is none."""
        return (meta(self._log_dirs(self.instance.current)[0]) or {}).get("directory.id")

    # How it comes to life

    def _format(self, cluster: str, *how: str) -> None:
        """Format the log folders that are not. Raises Failed.

        Args:
            cluster: the cluster's id.
            how: more words for Kafka's tool. They go to it in a file, since there may be secrets among them.
        """
        folders = self._log_dirs(self.instance.staged)
        blank = {folder: f"{folder}{ASIDE}" for folder in folders if meta(folder) is None}
        if not blank:
            return
        for aside in blank.values():
            shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
            os.makedirs(os.path.dirname(aside), mode=0o755, exist_ok=True)
        facts = self._staged
        settings = (host.read(f"{self.instance.staged}/{SETTINGS}") or "").splitlines()
        settings = [line for line in settings if not line.startswith(("log.dirs=", "metadata.log.dir="))]
        settings += [f"log.dirs={','.join(blank.values())}", f"metadata.log.dir={next(iter(blank.values()))}"]
        os.makedirs(RUN, mode=0o755, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=RUN) as folder:
            words = ["format", "--config", f"{folder}/{SETTINGS}", "--cluster-id", cluster, *how]
            host.write_atomic(f"{folder}/{SETTINGS}", "\n".join(settings) + "\n", mode=0o600)
            host.write_atomic(f"{folder}/words", "\n".join(words) + "\n", mode=0o600)
            environment = {"LOG_DIR": folder, "KAFKA_JVM_PERFORMANCE_OPTS": facts["jvm"]}
            tool = [f"{facts['software']}/bin/kafka-storage.sh", f"@{folder}/words"]
            done = host.run(tool, timeout=FORMAT_SECONDS, check=False, env=environment)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("\t")]
            raise host.Failed(f"{self._name} could not be formatted: {' | '.join(said[-2:])}")
        for folder, aside in blank.items():
            for path, _folders, files in os.walk(aside):
                for each in (path, *(f"{path}/{file}" for file in files)):
                    host.own(each, facts["user"], facts["user"])
            os.chmod(aside, 0o700)
            os.rename(aside, folder)  # onto nothing, or an empty folder

    def _systemctl(self, verb: str) -> None:
        """Also see it take connections, since systemd calls it started long before it has read its settings."""
        super()._systemctl(verb)
        unit = self.instance.unit
        pid, deadline = host.unit(unit).pid, time.monotonic() + LISTEN_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection((self.member["address"], self.member["ports"]["main"]), 1).close()
                return
            except OSError:
                time.sleep(POLL_SECONDS)
            seen = host.unit(unit)
            if not seen.running or seen.pid != pid:
                raise host.Failed(f"{unit}.service ended as it began: {self.last_words()}")

    def put_aside(self) -> str | None:
        """Move the data of this member, which has left, out of the way; its log folders on other disks first."""
        own = f"{self.instance.data}/"
        for folder in self._log_dirs(self.instance.current):
            if not folder.startswith(own) and (meta(folder) or {}).get("node.id") == str(self.node):
                self.instance.set_aside(folder)
        return super().put_aside()

    def last_words(self) -> str:
        """The last complaint in Kafka's log, or what the start guard or systemd said."""
        lines = host.journal_lines(self.instance.unit, 60)
        for line in reversed(lines):
            if line.startswith(("rackspread:", "ERROR", "FATAL", "Exception", "org.apache.kafka")):
                return line
        return " | ".join(lines[-3:])


class Controller(Kafka):
    """A voter of the quorum that has the metadata."""

    offset = 10000  # so that no broker has the same

    # What the quorum says

    def _client(self, member: dict[str, Any], seconds: float = ASK_SECONDS) -> Client:
        return Client(member["address"], member["ports"]["main"], self.instance.pki, seconds=seconds)

    def _place(self, node: int) -> dict[str, Any] | None:
        """The M that a node is."""
        return next((each for each in self.group["members"] if self._node(each) == node), None)

    def ask(self) -> Live:
        """Ask the own node who leads, and the leader for the quorum."""
        return self._ask(self._directory)

    def overlook(self, other: dict[str, Any]) -> Live:
        """The same of another controller, whose directory id only its own host knows."""
        return Controller(self.instance, self.group, other, self.settings, self.secrets)._ask(None)

    def _ask(self, directory: str | None) -> Live:
        try:
            with self._client(self.member) as client:
                about = client.ask(DESCRIBE_CLUSTER, endpoint_type=CONTROLLERS)
                leader = self._place(about["controller_id"])
                if leader is None:
                    return Live(cluster_id=about["cluster_id"], detail="it knows no active controller")
                if leader["id"] == self.member["id"]:
                    return self.tell(about, quorum(client), directory)
            with self._client(leader) as client:
                return self.tell(about, quorum(client), directory)
        except NoAnswer as error:
            return Live(detail=str(error))

    def tell(self, about: dict[str, Any], state: dict[str, Any], directory: str | None) -> Live:
        """What the answers mean.

        Args:
            about: DESCRIBE_CLUSTER of the member's node.
            state: the leader's DESCRIBE_QUORUM.
            directory: the directory id that the member has, None where that is not known.
        """
        counted = {
            place["id"]: voter for voter in state["voters"]
            if (place := self._place(voter["id"]))
            and (voter["id"] != self.node or directory in (None, voter["directory_id"]))
        }
        late = behind(state)
        own = self.member["id"]
        strangers = sorted(voter["id"] for voter in state["voters"] if self._place(voter["id"]) is None)
        said = []
        if strangers:
            said.append(f"nodes vote that the placement does not know: {', '.join(map(str, strangers))}")
        if own not in counted:
            said.append("it is no voter")
        elif self.node in late:
            said.append("it is behind the active controller")
        return Live(
            cluster_id=about["cluster_id"],
            role="leader" if state["leader"] == self.node else "follower" if own in counted else "none",
            healthy=own in counted and self.node not in late,
            members=sorted(counted),
            in_sync=sorted(place for place, voter in counted.items() if voter["id"] not in late),
            unfinished=own not in counted and os.path.exists(self._joining),
            detail="; ".join(said),
        )

    # How voters come and go

    @property
    def _joining(self) -> str:
        """The file that is there while a blank member has not become a voter yet."""
        return f"{self.instance.data}/{JOINING}"

    def form(self, intent: dict[str, Any]) -> None:
        """Start as one of the first voters, all of whom are formatted with the same list of voters."""
        directories = intent["directory_ids"]
        voters = ",".join(
            f"{self._node(each)}@{bracketed(each['address'])}:{each['ports']['main']}:{directories[str(each['id'])]}"
            for each in self.group["members"]
        )
        users = [word for name, password in self._staged["passwords"].items() for word in scram_user(name, password)]
        self._format(intent["cluster_id"], "--initial-controllers", voters, *users)
        wanted = directories[str(self.member["id"])]
        if self._directory != wanted:
            raise host.Failed(f"{self._name} has the directory id {self._directory}, and was to have {wanted}")
        self.start()

    def join(self, peer: dict[str, Any]) -> None:
        """Start with a blank disk under a new directory id, catch up, and become a voter."""
        host.write_atomic(self._joining, "")
        self._format(self.group["formed"], "--no-initial-controllers")
        if not host.unit(self.instance.unit).running:
            self.start()
        directory = self._directory
        if not self._until(lambda state: self._caught_up(state, directory), CATCH_UP_SECONDS):
            raise host.Failed(f"{self._name} did not catch up in {CATCH_UP_SECONDS:g} s: {self.last_words()}")
        where = {"name": LISTENER, "host": self.member["address"], "port": self.member["ports"]["main"]}
        try:
            with self._leader() as client:
                if not votes(quorum(client), self.node, directory):
                    client.ask(
                        ADD_RAFT_VOTER, cluster_id=self.group["formed"], timeout=int(LEADER_SECONDS * 1000),
                        id=self.node, directory_id=directory, listeners=[where],
                    )
        except NoAnswer as error:
            raise host.Failed(f"{self._name} can't be added to the voters: {error}") from error
        if not self._until(lambda state: votes(state, self.node, directory), LEADER_SECONDS):
            raise host.Failed(f"{self._name} did not become a voter in {LEADER_SECONDS:g} s: {self.last_words()}")
        host.remove(self._joining)

    def _caught_up(self, state: dict[str, Any], directory: str | None) -> bool:
        known = {(each["id"], each["directory_id"]) for each in (*state["voters"], *state["observers"])}
        return (self.node, directory) in known and self.node not in behind(state)

    def expel(self, target: dict[str, Any]) -> None:
        """Remove a voter that leaves, or whose disk is lost, under the directory id that it had.

        One that the active controller still hears has not lost it. Its own port is not asked: there its successor may
        answer, on the same host.
        """
        node = self._node(target)
        leaves = target.get("leaving", False)
        if not leaves and not self._until(lambda state: not heard(state, node), SILENCE_SECONDS):
            raise host.Failed(f"{_who(target)} serves: it is not removed")
        try:
            with self._leader() as client:
                for voter in [each for each in quorum(client)["voters"] if each["id"] == node]:
                    client.ask(
                        REMOVE_RAFT_VOTER, cluster_id=self.group["formed"], id=node, directory_id=voter["directory_id"]
                    )
        except NoAnswer as error:
            raise host.Failed(f"{_who(target)} can't be removed: {error}") from error
        if not self._until(lambda state: not votes(state, node), LEADER_SECONDS):
            raise host.Failed(f"{_who(target)} still votes after {LEADER_SECONDS:g} s")

    def _leader(self) -> Client:
        """A connection to the active controller. Raises Failed where none is found for a while."""
        deadline = time.monotonic() + LEADER_SECONDS
        reason = ""
        while time.monotonic() < deadline:
            for member in self.group["members"]:
                try:
                    with self._client(member) as client:
                        node = client.ask(DESCRIBE_CLUSTER, endpoint_type=CONTROLLERS)["controller_id"]
                    if leader := self._place(node):
                        return self._client(leader, LEADER_SECONDS + 5)
                except NoAnswer as error:
                    reason = str(error)
            time.sleep(POLL_SECONDS)
        raise host.Failed(f"{self._name} finds no active controller: {reason or 'nobody is elected'}")

    def _until(self, condition: Callable[[dict[str, Any]], bool], seconds: float) -> bool:
        """Wait until the quorum is as wanted. Returns whether it came to that in time."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self._leader() as client:
                    if condition(quorum(client)):
                        return True
            except NoAnswer:
                pass  # another one leads now
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)


class Broker(Kafka):
    """A broker: it keeps replicas of partitions, and follows the metadata."""

    def _client(self, member: dict[str, Any], seconds: float = ASK_SECONDS) -> Client:
        """A connection to a broker, as the administrator."""
        facts = self._facts(self.instance.current)
        login = (facts["admin"], facts["passwords"][facts["admin"]])
        return Client(member["address"], member["ports"]["main"], self.instance.pki, login, seconds)

    def ask(self) -> Live:
        """Ask the own node."""
        try:
            with self._client(self.member) as client:
                about = client.ask(DESCRIBE_CLUSTER, endpoint_type=BROKERS, fenced=True)
                metadata = client.ask(METADATA, topics=None)
                return self.tell(about, metadata, quorum(client))
        except NoAnswer as error:
            return Live(detail=str(error))

    def tell(self, about: dict[str, Any], metadata: dict[str, Any], state: dict[str, Any]) -> Live:
        """What the own node's answers mean: DESCRIBE_CLUSTER with fenced brokers, METADATA, DESCRIBE_QUORUM."""
        registered = {each["id"]: each["fenced"] for each in about["nodes"]}
        lacking = under_replicated(metadata)
        late = behind(state)
        members = [each["id"] for each in self.group["members"] if registered.get(self._node(each)) is False]
        own = registered.get(self.node)
        strangers = sorted(set(registered) - {self._node(each) for each in self.group["members"]})
        said = []
        if own is None:
            said.append("it is not registered")
        elif own:
            said.append("it is fenced")
        if self.node in late:
            said.append("it is behind the active controller")
        if lacking.get(self.node):
            said.append(f"{lacking[self.node]} of its replicas are not in sync")
        if strangers:
            said.append(f"brokers are registered that the placement does not know: {', '.join(map(str, strangers))}")
        return Live(
            cluster_id=about["cluster_id"],
            role="follower",
            healthy=own is False,
            members=members,
            in_sync=[each for each in members if each + self.offset not in {*lacking, *late}],
            detail="; ".join(said),
        )

    def form(self, intent: dict[str, Any]) -> None:
        """Start as a broker of the cluster that the controllers formed."""
        self._format(intent["cluster_id"])
        self.start()

    def join(self, peer: dict[str, Any]) -> None:
        """Start as a new broker, or as one whose disk was lost: it copies what it should have."""
        self._format(self.group["formed"])
        self.start()

    def admit(self, target: dict[str, Any]) -> dict[str, Any]:
        """See that others have what a broker had that comes with a blank disk: of nothing may it be the last copy."""
        node = self._node(target)
        try:
            with self._client(self.member, ACT_SECONDS) as client:
                last = only_on(node, client.ask(METADATA, topics=None))
        except NoAnswer as error:
            raise host.Failed(f"nobody tells what {_who(target)} had: {error}") from error
        if last:
            raise host.Failed(f"{_who(target)} had the last complete copy of {_listed(last)}: its disk is needed")
        return {}

    def expel(self, target: dict[str, Any]) -> None:
        """Have others take all replicas over from a broker that leaves or is gone for good; of one that is gone nothing
        is known afterwards (one that leaves sees to that as it ends). One that stays, and comes back with a blank disk,
        copies what it has to have: nothing is moved for it.
        """
        gone = target in self.group.get("gone", ())
        if not gone and not target.get("leaving"):
            return
        node = self._node(target)
        try:
            with self._client(self.member, ACT_SECONDS) as client:
                nodes = client.ask(DESCRIBE_CLUSTER, endpoint_type=BROKERS, fenced=True)["nodes"]
                if gone and any(each["id"] == node and not each["fenced"] for each in nodes):
                    raise host.Failed(f"{_who(target)} serves: it is not removed")
                kafka_moving.wait(client, MOVE_SECONDS)  # for what a run that was killed began
                moving = kafka_moving.plan(client, drained=[node])
                kafka_moving.carry_out(client, moving, self._facts(self.instance.current)["rate"], MOVE_SECONDS)
                if gone:
                    kafka_moving.check_empty(client, node)
                    kafka_moving.unregister(client, node)
        except (NoAnswer, ValueError) as error:
            raise host.Failed(f"{_who(target)} can't be emptied: {error}") from error

    def leave(self) -> None:
        """Stop for good, once nothing is here any more, and have the cluster forget this broker."""
        reason = "there is no other"
        for member in self.group["members"]:
            if member["id"] != self.member["id"]:
                try:
                    with self._client(member, ACT_SECONDS) as client:
                        kafka_moving.check_empty(client, self.node)
                        super().leave()
                        return kafka_moving.unregister(client, self.node)
                except NoAnswer as error:
                    reason = str(error)
        raise host.Failed(f"{self._name} can't leave, no other broker forgets it: {reason}")

    def activate(self) -> None:
        """Take the staged version; log folders that come with it are formatted first.

        Raises Failed where Kafka does not know the passwords that are staged: with them this broker would be alone.
        """
        self._check_passwords()
        if self.group.get("formed"):
            ran = set(self._log_dirs(self.instance.current))
            if any(folder not in ran for folder in self._log_dirs(self.instance.staged)):
                self._format(self.group["formed"])
        super().activate()

    def _check_passwords(self) -> None:
        where = self.member["address"], self.member["ports"]["main"], self.instance.pki
        for login in self._staged["passwords"].items():
            try:
                Client(*where, login).close()
            except NoAnswer as error:  # it may not run at all
                if error.code == WRONG_PASSWORD:
                    raise host.Failed(
                        f"{self._name} keeps what it runs with: Kafka has another password of {login[0]} than is staged"
                    ) from error


def bracketed(address: str) -> str:
    """An address as it stands before a port."""
    return f"[{address}]" if ":" in address else address


def scram_user(name: str, password: str) -> tuple[str, str]:
    """The words by which Kafka's tool makes a user; not the password itself, which might have commas in it."""
    salt = os.urandom(24)
    encoded = {
        "salt": base64.b64encode(salt).decode(),
        "saltedpassword": base64.b64encode(salted_password(password, salt)).decode(),
    }
    facts = ",".join(f'{key}="{value}"' for key, value in encoded.items())
    return "--add-scram", f"{MECHANISM}=[name={name},iterations={ITERATIONS},{facts}]"


def _who(member: dict[str, Any]) -> str:
    return f"member {member['id']} on {member['host']}"


def _listed(names: list[str]) -> str:
    """The first few of them."""
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
