# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's REST, what it says in the words of the collection, and the keys that it keeps in etcd."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import etcd

CLUSTER_PARAMETERS = (
    "max_connections", "max_locks_per_transaction", "max_prepared_transactions", "max_replication_slots",
    "max_wal_senders", "max_worker_processes", "track_commit_timestamp", "wal_keep_size", "wal_level", "wal_log_hints",
)
"""The parameters that Patroni takes for the whole cluster alone (patroni.postgresql.config, CMDLINE_OPTIONS)."""

NEVER_BELOW_PRIMARY = (
    "max_connections", "max_locks_per_transaction", "max_prepared_transactions", "max_wal_senders",
    "max_worker_processes",
)
"""A standby does not start with less of these than its primary has (PostgreSQL's manual, Hot Standby)."""


UNAUTHORIZED = 401


class NoAnswer(Exception):
    """Nobody answered, or not as asked; a sentence."""


class Rest:
    """One member's Patroni.

    Args:
        address, port: where it listens.
        pki: folder of the client's certificate.
        user: asked for, beside the certificate, by what changes something.
        passwords: of that user; the second, where there is one, is tried where the first is refused.
    """

    def __init__(self, address: str, port: int, pki: str, user: str = "", passwords: Iterable[str] = ("",)) -> None:
        self.base = f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"
        self.pki = pki
        self._authorizations = [base64.b64encode(f"{user}:{word}".encode()).decode() for word in passwords if user]
        self._context: ssl.SSLContext | None = None

    def get(self, path: str, timeout: float = 3) -> dict[str, Any]:
        """What a path says. Patroni's status codes speak of roles; an answer without a JSON object raises NoAnswer."""
        status, body = self.call("GET", path, timeout=timeout)
        try:
            said = json.loads(body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise NoAnswer(f"Patroni says {status} to {path}")
        return said

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float = 10) -> tuple[int, str]:
        """Do something: the status and the text of the answer. Raises NoAnswer."""
        status, said = 0, ""
        for authorization in self._authorizations or [""]:
            status, said = self._send(method, path, body, timeout, authorization)
            if status != UNAUTHORIZED:
                break
        return status, said

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float, authorization: str
    ) -> tuple[int, str]:
        if self._context is None:
            try:
                self._context = ssl.create_default_context(cafile=f"{self.pki}/ca.crt")
                self._context.load_cert_chain(f"{self.pki}/tls.crt", f"{self.pki}/tls.key")
            except OSError as error:
                raise NoAnswer(f"no certificate in {self.pki}: {error}") from error
        request = urllib.request.Request(self.base + path, method=method)  # noqa: S310  # base is https
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if authorization:
            request.add_header("Authorization", f"Basic {authorization}")
        handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
                status, said = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, said = error.code, error.read()
        except (OSError, ValueError) as error:
            raise NoAnswer(f"Patroni does not answer on {request.host}: {getattr(error, 'reason', error)}") from error
        return status, said.decode(errors="replace").strip()


def keys(voters: list[dict[str, Any]], pki: str, prefix: str) -> dict[str, str]:
    """Everything under a prefix in etcd, by its name after the prefix. It is read here and never written.

    Args:
        voters: `{address, port}` each. The first that answers is believed, since etcd reads by quorum.
        pki: folder of the client's certificate.
        prefix: `/rackspread/<site>/<group>/`.

    Raises NoAnswer where no voter answers.
    """
    span = {"key": prefix, "range_end": prefix[:-1] + chr(ord(prefix[-1]) + 1)}
    body = {name: base64.b64encode(key.encode()).decode() for name, key in span.items()}
    silent = []
    for voter in voters:
        try:
            said = etcd.Client(voter["address"], voter["port"], pki).call("/v3/kv/range", body)
        except etcd.NoAnswer as error:
            silent.append(str(error))
        else:
            return {_text(pair["key"])[len(prefix):]: _text(pair.get("value", "")) for pair in said.get("kvs", [])}
    raise NoAnswer(f"etcd does not answer ({'; '.join(silent) or 'no voter is known'})")


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="replace")


@dataclass
class View:
    """What /cluster says, in ids of places.

    Args:
        leader: None where nobody leads.
        counted: who leads, or streams from the leader on its timeline.
        in_sync: whose copy is surely complete: the leader and those whom /sync lists, or all counted ones where the
            cluster is asynchronous by choice. Nobody while Patroni is paused.
        pending: who waits for a restart.
        paused: whether somebody paused Patroni for this cluster.
        lag: by id how many bytes its copy is behind, of those that Patroni knows it of.
        detail: what is wrong with members, in words.
    """

    leader: int | None = None
    counted: list[int] = field(default_factory=list)
    in_sync: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    paused: bool = False
    lag: dict[int, int] = field(default_factory=dict)
    detail: str = ""


def view(answer: dict[str, Any], members: list[dict[str, Any]], synchronous: bool = True) -> View:
    """Read Patroni's /cluster.

    Args:
        answer: the JSON of /cluster.
        members: the group's, M each. Patroni knows a member by its host.
        synchronous: whether the cluster's configuration asks for synchronous copies.
    """
    ids = {member["host"]: member["id"] for member in members}
    known = [(ids[each["name"]], each) for each in answer.get("members", []) if each["name"] in ids]
    paused = bool(answer.get("pause"))
    leader = next((each for _own, each in known if each["role"] == "leader" and each["state"] == "running"), None)
    result = View(
        pending=[own for own, each in known if each.get("pending_restart")],
        paused=paused,
        lag={own: each["lag"] for own, each in known if isinstance(each.get("lag"), int)},
    )
    result.leader = ids[leader["name"]] if leader else None
    wrong = ["Patroni is paused (patronictl resume ends that)"] if paused else []
    if leader is None:
        wrong.append("nobody leads")
    for own, each in known:
        if each is not leader and each["state"] != "streaming":
            wrong.append(f"{each['name']} is {each['state']}{' and does not stream from the leader' if leader else ''}")
        elif leader and each.get("timeline") != leader.get("timeline"):
            own_line, line = each.get("timeline"), leader.get("timeline")
            wrong.append(f"{each['name']} is on timeline {own_line}, the leader on {line}")
        elif leader:
            result.counted.append(own)
            if not paused and (not synchronous or each["role"] != "replica"):
                result.in_sync.append(own)
    result.detail = "; ".join(wrong)
    return result


def synchronous(config: dict[str, Any]) -> bool:
    """Whether a configuration (/config) asks for synchronous copies."""
    return _plain(config.get("synchronous_mode") or False) != "off"


def lowered(reason: dict[str, dict[str, Any]]) -> bool:
    """Whether a pending restart lowers what a standby must have at least as much of as its primary.

    Then the primary must meet the new value first. `reason` is /patroni's pending_restart_reason: parameter ->
    old_value, new_value.
    """
    for name in NEVER_BELOW_PRIMARY:
        old, new = (str(reason.get(name, {}).get(side, "")) for side in ("old_value", "new_value"))
        if old.isdigit() and new.isdigit() and int(new) < int(old):
            return True
    return False


def difference(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The patch, as PATCH /config takes it (None removes), that makes of `current` what is wanted.

    What is not spoken of is left alone, but for the parameters of the whole cluster: one that is no longer wanted falls
    back to Patroni's default.
    """
    patch = _changed(current, wanted)
    if "postgresql" in wanted:
        there = (current.get("postgresql") or {}).get("parameters") or {}
        named = wanted["postgresql"].get("parameters") or {}
        for name in CLUSTER_PARAMETERS:
            if name in there and name not in named:
                patch.setdefault("postgresql", {}).setdefault("parameters", {})[name] = None
    return patch


def _changed(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    patch = {}
    for key, value in wanted.items():
        if isinstance(value, dict):
            before = current.get(key)
            inner = _changed(before if isinstance(before, dict) else {}, value)
            if inner:
                patch[key] = inner
        elif key not in current or _plain(current[key]) != _plain(value):
            patch[key] = value
    return patch


def inverse(current: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The patch that takes `patch` back once it was applied to `current`."""
    result = {}
    for key, value in patch.items():
        before = current.get(key)
        result[key] = inverse(before, value) if isinstance(value, dict) and isinstance(before, dict) else before
    return result


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both patches in one; where both speak of a key, the second counts."""
    result = dict(base)
    for key, value in over.items():
        before = base.get(key)
        result[key] = merged(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return result


def _plain(value: Any) -> str:
    """A value as a text: YAML's true is Postgres' on."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
