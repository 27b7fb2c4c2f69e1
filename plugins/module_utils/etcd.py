# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""etcd: what lies on a voter's disk, what its cluster says, and how voters come and go.

The daemon is asked over its JSON gateway with the certificate of the service. Members of the cluster are told apart by
their peer URL, which belongs to a place; etcd's own member id is another after a repair.

A lost voter is removed and added again as a voter, not as a learner: etcd 3.5.1 to 3.5.19 do not keep a promotion in
their store (etcd-io/etcd#19557), and with the lost one removed first, the majority is never larger than it was. One
that moves is added first: of four voters three are a majority, so that each one of them may still be lost.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Any

from . import host
from .driver import DATA, EMPTY, HALF_FORMED, LEFTOVERS, Driver, Found, Live

ASK_SECONDS = 2.0
ADMIT_SECONDS = 30.0
"""How long a cluster may call itself unhealthy before a member is added: after a removal it wants 5 s of connection."""
STAY_SECONDS = 1.0
"""A daemon that does not like its settings ends within milliseconds."""
WAL_HEAD = 64 * 1024
METADATA = 1
"""Type of the record, near the head of each WAL file, that names member and cluster (etcd's walpb and wal.go)."""
NOT_DATA = {".rackspread.json", "lost+found"}


class NoAnswer(Exception):
    """The daemon was not reached, or answered with an error."""


class Client:
    """The JSON gateway of one member.

    Args:
        address: its IP address.
        port: its client port.
        pki: folder of `ca.crt`, `tls.crt` and `tls.key`.
    """

    def __init__(self, address: str, port: int, pki: str) -> None:
        self._address = address
        self._port = port
        self._pki = pki

    def call(self, path: str, body: dict[str, Any] | None = None, seconds: float = ASK_SECONDS) -> dict[str, Any]:
        """Send a request of the v3 API (without a body: a GET). Raises NoAnswer."""
        try:
            context = ssl.create_default_context(cafile=f"{self._pki}/ca.crt")
            context.load_cert_chain(f"{self._pki}/tls.crt", f"{self._pki}/tls.key")
            connection = http.client.HTTPSConnection(self._address, self._port, timeout=seconds, context=context)
            try:
                if body is None:
                    connection.request("GET", path)
                else:
                    connection.request("POST", path, json.dumps(body))
                response = connection.getresponse()
                answer: dict[str, Any] = json.loads(response.read() or b"{}")
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NoAnswer(f"{self._address}:{self._port} does not answer ({error})") from error
        if response.status != http.client.OK:
            said = answer.get("message") or answer.get("reason") or answer.get("error") or response.reason
            raise NoAnswer(f"{self._address}:{self._port} says: {said}")
        return answer

    def members(self, certain: bool = False, seconds: float = ASK_SECONDS) -> list[dict[str, Any]]:
        """The cluster's members, `{ID, name, peerURLs, clientURLs}`; `certain` asks a majority for it."""
        answer = self.call("/v3/cluster/member/list", {"linearizable": certain}, seconds)
        found: list[dict[str, Any]] = answer["members"]
        return found


def url(member: dict[str, Any], port: str) -> str:
    """The URL of one of a member's (M's) ports."""
    address = member["address"]
    return f"https://{f'[{address}]' if ':' in address else address}:{member['ports'][port]}"


def name(group: str, member: dict[str, Any]) -> str:
    """How a member is called in its cluster."""
    return f"{group}-{member['id']}"


class Etcd(Driver):
    """One voter."""

    service = "etcd"

    # What lies on the disk

    @property
    def _folder(self) -> str:
        return f"{self.instance.data}/etcd"

    def find(self) -> Found:
        """Read the disk; the cluster id stands in the head of the write-ahead log."""
        data = self.instance.data or ""
        entries = set(os.listdir(data)) - NOT_DATA if os.path.isdir(data) else set()
        strange = sorted(entries - {"etcd"})
        if strange:
            return Found(LEFTOVERS, detail=f"{data} holds {', '.join(strange[:3])}")
        if not os.path.isdir(self._folder) or not os.listdir(self._folder):
            return Found(EMPTY)
        cluster = cluster_id(f"{self._folder}/member/wal")
        if cluster is None:
            return Found(HALF_FORMED, detail=f"{self._folder} holds no write-ahead log yet")
        return Found(DATA, cluster)

    # What the cluster says

    @property
    def _client(self) -> Client:
        return self._client_of(self.member)

    def _client_of(self, member: dict[str, Any]) -> Client:
        return Client(member["address"], member["ports"]["main"], self.instance.pki)

    def ask(self) -> Live:
        """Ask the own member, and through it the cluster."""
        try:
            status = self._client.call("/v3/maintenance/status", {})
            members = self._client.members()
        except NoAnswer as error:
            return Live(detail=str(error))
        own = status["header"]["member_id"]
        leader = status.get("leader", "0")
        live = Live(
            cluster_id=f"{int(status['header']['cluster_id']):x}",
            role="leader" if leader == own else "follower" if leader != "0" else "none",
            members=sorted(self._counted(members, own)),
        )
        strangers = [each["peerURLs"][0] for each in members if self._place(each) is None]
        if strangers:
            live.detail = f"the cluster counts members that the placement does not know: {', '.join(strangers)}"
        try:
            live.healthy = self._client.call("/health")["health"] == "true"
        except NoAnswer as error:
            live.detail = str(error)
        else:
            live.in_sync = [self.member["id"]] if live.healthy else []
        return live

    def _counted(self, members: list[dict[str, Any]], own: str) -> Iterator[int]:
        """Ids of the places that the cluster counts; the own one only under the id that the running member has."""
        for each in members:
            place = self._place(each)
            if place is not None and (place["id"] != self.member["id"] or each["ID"] == own):
                yield place["id"]

    def _place(self, member: dict[str, Any]) -> dict[str, Any] | None:
        """The M of the group that a member of the cluster is."""
        return next((each for each in self.group["members"] if url(each, "peer") in member["peerURLs"]), None)

    def last_words(self) -> str:
        """The last complaint in etcd's log, which is JSON; or what the start guard or systemd said."""
        lines = host.journal_lines(self.instance.unit, 40)
        for line in reversed(lines):
            if line.startswith("rackspread:"):
                return line
            if line.startswith("{"):
                try:
                    said = json.loads(line)
                except ValueError:
                    continue
                if said.get("level") != "info":
                    return ": ".join(str(said[key]) for key in ("msg", "error") if said.get(key))
        return " | ".join(lines[-3:])

    # How voters come and go

    def form(self, intent: dict[str, Any]) -> None:
        """Start as one of the first members. They must be started together: none is ready before a majority is."""
        peers = ",".join(f"{name(self.group['name'], each)}={url(each, 'peer')}" for each in self.group["members"])
        self._start_first("new", peers, intent["formation_id"])

    def join(self, peer: dict[str, Any]) -> None:
        """Start as a new member of the cluster that expects it."""
        self._start_first("existing", peer["initial_cluster"], (self.group.get("intent") or {}).get("formation_id", ""))

    def _start_first(self, state: str, peers: str, token: str) -> None:
        """Start on a disk without data, with what only such a start reads."""
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        host.own(self._folder, "etcd", "etcd")
        os.chmod(self._folder, 0o700)
        lines = {
            "ETCD_INITIAL_CLUSTER_STATE": state, "ETCD_INITIAL_CLUSTER": peers, "ETCD_INITIAL_CLUSTER_TOKEN": token,
        }
        host.write_atomic(self.instance.first_start, "".join(f"{key}={value}\n" for key, value in lines.items()))
        self.start()
        host.remove(self.instance.first_start)  # there is a write-ahead log now, and etcd goes by that

    def admit(self, target: dict[str, Any]) -> dict[str, Any]:
        """Add a blank voter, and answer what it must be told of the cluster."""
        wanted = url(target, "peer")
        deadline = time.monotonic() + ADMIT_SECONDS
        while True:
            try:
                members = self._client.members(certain=True, seconds=10)
                if not any(wanted in each["peerURLs"] for each in members):
                    members = self._client.call("/v3/cluster/member/add", {"peerURLs": [wanted]}, 10)["members"]
                break
            except NoAnswer as error:
                if "unhealthy" not in str(error) or time.monotonic() > deadline:
                    raise host.Failed(f"member {target['id']} on {target['host']} can't be added: {error}") from error
                time.sleep(1)
        return {"initial_cluster": ",".join(sorted(self._listed(members)))}

    def _listed(self, members: list[dict[str, Any]]) -> Iterator[str]:
        for each in members:
            place = self._place(each)
            called = each.get("name") or (name(self.group["name"], place) if place else "")
            yield from (f"{called}={peer}" for peer in each["peerURLs"])

    def expel(self, target: dict[str, Any]) -> None:
        """Remove a voter that leaves, or whose disk is lost. One that answers has not lost it.

        On the host of a lost one another may stand by now, at the same address, under its own name.
        """
        own = name(self.group["name"], target)
        try:
            lost = [
                each
                for each in self._client.members(certain=True, seconds=10)
                if url(target, "peer") in each["peerURLs"]
                and (each.get("name") == own or (not each.get("name") and self._place(each) in (target, None)))
            ]
            if lost and not target.get("leaving") and self._answers(target):
                raise host.Failed(f"member {target['id']} on {target['host']} answers: it is not removed")
            for each in lost:
                self._client.call("/v3/cluster/member/remove", {"ID": each["ID"]}, 10)
        except NoAnswer as error:
            raise host.Failed(f"member {target['id']} on {target['host']} can't be removed: {error}") from error

    def _answers(self, member: dict[str, Any]) -> bool:
        try:
            self._client_of(member).call("/v3/maintenance/status", {})
        except NoAnswer:
            return False
        return True

    # Start and leadership

    def start(self) -> None:
        """Start the unit and wait until it stays; ready it is only with a majority, which is not waited for."""
        unit = self.instance.unit
        host.make_startable(unit)
        host.systemctl("start", "--no-block", f"{unit}.service")
        deadline = time.monotonic() + self.start_seconds
        pid, since = 0, 0.0
        while True:
            seen, now = host.unit(unit), time.monotonic()
            if seen.broken:
                raise host.Failed(f"{unit}.service did not start: {self.last_words()}")
            if seen.pid != pid:
                pid, since = seen.pid, now
            stays = pid > 0 and now - since >= STAY_SECONDS
            if seen.active == "active" or (stays and cluster_id(f"{self._folder}/member/wal")):
                return
            if now > deadline:
                raise host.Failed(f"{unit}.service did not start in {self.start_seconds:g} s: {self.last_words()}")
            time.sleep(0.3)

    def step_down(self, target: dict[str, Any] | None) -> None:
        """Hand leadership to the target, or to the voter after this one in the list."""
        try:
            status = self._client.call("/v3/maintenance/status", {})
            own = status["header"]["member_id"]
            if status.get("leader") != own:
                return
            members = self._client.members()
            heirs = [each["ID"] for each in members if target and self._place(each) == target]
            heirs += [each["ID"] for each in members if each["ID"] != own]
            if heirs:
                self._client.call("/v3/maintenance/transfer-leadership", {"targetID": heirs[0]}, 15)
        except NoAnswer as error:
            raise host.Failed(f"leadership was not handed over: {error}") from error


def cluster_id(wal: str) -> str | None:
    """The cluster id, in hexadecimal, in the head of the newest file of a write-ahead log; None where there is none."""
    try:
        files = sorted(file for file in os.listdir(wal) if file.endswith(".wal"))
        if not files:
            return None
        with open(f"{wal}/{files[-1]}", "rb") as file:
            head = file.read(WAL_HEAD)
    except FileNotFoundError:
        return None
    for kind, data in _records(head):
        if kind == METADATA:
            return f"{_fields(data).get(2, 0):x}"
    return None


def _records(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and data of the first records: a length of 8 bytes, whose top byte tells the padding, and a protobuf."""
    at = 0
    while at + 8 <= len(head):
        (length,) = struct.unpack_from("<Q", head, at)
        padding = length >> 56 & 7 if length >> 63 else 0
        size = length & ((1 << 56) - 1)
        if not size or at + 8 + size > len(head):
            return
        record = _fields(head[at + 8 : at + 8 + size])
        data = record.get(3, b"")
        yield record.get(1, 0), data if isinstance(data, bytes) else b""
        at += 8 + size + padding


def _fields(message: bytes) -> dict[int, Any]:
    """The fields of a flat protobuf message of numbers (wire type 0) and bytes (wire type 2)."""
    found: dict[int, Any] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(message):
        key = number()
        if key & 7 == 0:
            found[key >> 3] = number()
        elif key & 7 == 2:
            size = number()
            found[key >> 3] = message[at : at + size]
            at += size
        else:
            return found
    return found
