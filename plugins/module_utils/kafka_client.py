# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Kafka's own protocol, for administration: one connection, over TLS, by the standard library alone.

Why not Kafka's own: docs/architecture.md. Spoken is one version of each request, which Kafka 4.0 and later know; the
fields are those of Kafka's message definitions (clients/src/main/resources/common/message). Some names of fields are
others here, since only their order and type go over the wire.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import re
import socket
import ssl
import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

CLIENT_ID = b"rackspread"
MECHANISM = "SCRAM-SHA-512"
ITERATIONS = 4096
"""Kafka's own default, and the least that it takes."""
LARGEST = 256 * 2**20
"""Bytes of an answer above which it can be none."""

ERRORS = {
    3: "there is no such topic or partition", 6: "it is not the leader", 7: "it took too long",
    29: "the user may not use that topic", 30: "the user may not use that group",
    31: "the user may not do that to the cluster", 35: "it is too old", 36: "there is such a topic already",
    37: "that is no number of partitions", 38: "too few brokers for the replicas",
    39: "that is no assignment of replicas", 40: "that is no setting", 41: "it is not the controller",
    42: "the request is not valid", 44: "a policy is against it", 58: "name or password are not right",
    60: "a reassignment is under way", 80: "the preferred leader is not available", 91: "there is no such thing",
    94: "voters are not those that were expected", 102: "the broker is not registered", 104: "cluster ids differ",
    125: "that voter is another", 126: "that voter is there already", 127: "there is no such voter",
}  # fmt: skip
"""What the commonest error codes say (org.apache.kafka.common.protocol.Errors), for answers without a message."""
WRONG_PASSWORD = 58
"""SASL_AUTHENTICATION_FAILED: name or password are not right."""
TOPIC_EXISTS = 36
"""Of CREATE_TOPICS."""
NOT_NEEDED = 84
"""Of ELECT_LEADERS: the preferred leader leads already."""
NOT_REGISTERED = 102
"""Of UNREGISTER_BROKER: nobody knows that broker."""
BROKERS, CONTROLLERS = 1, 2
"""Types of endpoint in DESCRIBE_CLUSTER."""


class NoAnswer(Exception):
    """The node was not reached, or answered with an error.

    Args:
        code: Kafka's, 0 where there was no answer.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


# Shapes of requests and answers

Shape: TypeAlias = "str | list[tuple[str, Any]]"
"""A primitive's name, or a structure's fields. A field's type is a primitive, a structure, or a list of one of them."""

NUMBERS = {"bool": "?", "int8": ">b", "int16": ">h", "int32": ">i", "int64": ">q", "port": ">H"}


def shape(text: str) -> list[tuple[str, Any]]:
    """The fields that a text describes: `name:type`, `name[type]` or `name[fields]` for lists; types are words."""
    found, rest = _fields(re.findall(r"\w+(?::\w+|\[)|\w+|\]", text))
    if rest:
        raise ValueError(f"{text} closes more lists than it opens")
    return found


def _fields(words: list[str]) -> tuple[list[tuple[str, Any]], list[str]]:
    found: list[tuple[str, Any]] = []
    while words and words[0] != "]":
        word, *words = words
        if word.endswith("["):
            if len(words) > 1 and words[1] == "]" and ":" not in words[0]:
                found.append((word[:-1], [words[0]]))
                words = words[2:]
            else:
                inner, words = _fields(words)
                found.append((word[:-1], [inner]))
                words = words[1:]
        else:
            name, _colon, kind = word.partition(":")
            found.append((name, kind))
    return found, words


@dataclass(frozen=True)
class Api:
    """One kind of request, in one version.

    Args:
        key: its number.
        version: of it.
        asks, answers: the fields of both.
        compact: whether lengths are varints and structures end with tagged fields ("flexible versions").
    """

    key: int
    version: int
    asks: str
    answers: str
    compact: bool = True


_ACL_FILTER = (
    "resource_type:int8 resource_name:string pattern_type:int8 principal:string host:string operation:int8"
    " permission_type:int8"
)
_ACL = "principal:string host:string operation:int8 permission_type:int8"
_FAILURE = "error:int16 message:string"
_REPLICA = "id:int32 directory_id:uuid log_end:int64 last_fetch:int64 last_caught_up:int64"

API_VERSIONS = Api(18, 0, "", "error:int16 apis[key:int16 least:int16 most:int16]", compact=False)
FEATURES = Api(
    18, 3, "software:string version:string", "error:int16 apis[key:int16 least:int16 most:int16] throttle:int32"
)
SUPPORTED, FINALIZED = 0, 2
"""Tagged fields of FEATURES."""
UPDATE_FEATURES = Api(
    57, 2,
    "timeout:int32 updates[name:string level:int16 type:int8] validate_only:bool",
    f"throttle:int32 {_FAILURE}",
)  # fmt: skip
SASL_HANDSHAKE = Api(17, 1, "mechanism:string", "error:int16 mechanisms[string]", compact=False)
SASL_AUTHENTICATE = Api(36, 2, "bytes:bytes", f"{_FAILURE} bytes:bytes lifetime:int64")
METADATA = Api(
    3, 12,
    "topics[id:uuid name:string] create:bool operations:bool",
    "throttle:int32 brokers[id:int32 host:string port:int32 rack:string] cluster_id:string controller_id:int32"
    " topics[error:int16 name:string id:uuid internal:bool partitions[error:int16 index:int32 leader:int32"
    " epoch:int32 replicas[int32] isr[int32] offline[int32]] operations:int32]",
)  # fmt: skip
DESCRIBE_CLUSTER = Api(
    60, 2,
    "operations:bool endpoint_type:int8 fenced:bool",
    f"throttle:int32 {_FAILURE} endpoint_type:int8 cluster_id:string controller_id:int32"
    " nodes[id:int32 host:string port:int32 rack:string fenced:bool] operations:int32",
)  # fmt: skip
DESCRIBE_QUORUM = Api(
    55, 2,
    "topics[name:string partitions[index:int32]]",
    f"{_FAILURE} topics[name:string partitions[index:int32 {_FAILURE} leader:int32 epoch:int32 high_watermark:int64"
    f" voters[{_REPLICA}] observers[{_REPLICA}]]] nodes[id:int32 listeners[name:string host:string port:port]]",
)  # fmt: skip
ADD_RAFT_VOTER = Api(
    80, 0,
    "cluster_id:string timeout:int32 id:int32 directory_id:uuid listeners[name:string host:string port:port]",
    f"throttle:int32 {_FAILURE}",
)  # fmt: skip
REMOVE_RAFT_VOTER = Api(81, 0, "cluster_id:string id:int32 directory_id:uuid", f"throttle:int32 {_FAILURE}")
UNREGISTER_BROKER = Api(64, 0, "id:int32", f"throttle:int32 {_FAILURE}")
DESCRIBE_CONFIGS = Api(
    32, 4,
    "resources[type:int8 name:string keys[string]] synonyms:bool documentation:bool",
    f"throttle:int32 results[{_FAILURE} type:int8 name:string configs[name:string value:string read_only:bool"
    " source:int8 sensitive:bool synonyms[name:string value:string source:int8] type:int8 documentation:string]]",
)  # fmt: skip
ALTER_CONFIGS = Api(
    44, 1,
    "resources[type:int8 name:string configs[name:string operation:int8 value:string]] validate_only:bool",
    f"throttle:int32 results[{_FAILURE} type:int8 name:string]",
)  # fmt: skip
CREATE_TOPICS = Api(
    19, 7,
    "topics[name:string partitions:int32 replicas:int16 assignments[index:int32 brokers[int32]]"
    " configs[name:string value:string]] timeout:int32 validate_only:bool",
    f"throttle:int32 results[name:string id:uuid {_FAILURE} partitions:int32 replicas:int16"
    " configs[name:string value:string read_only:bool source:int8 sensitive:bool]]",
)  # fmt: skip
CREATE_PARTITIONS = Api(
    37, 3,
    "topics[name:string count:int32 assignments[brokers[int32]]] timeout:int32 validate_only:bool",
    f"throttle:int32 results[name:string {_FAILURE}]",
)  # fmt: skip
DESCRIBE_SCRAM = Api(
    50, 0,
    "users[name:string]",
    f"throttle:int32 {_FAILURE} results[user:string {_FAILURE} credentials[mechanism:int8 iterations:int32]]",
)  # fmt: skip
ALTER_SCRAM = Api(
    51, 0,
    "deletions[name:string mechanism:int8]"
    " upsertions[name:string mechanism:int8 iterations:int32 salt:bytes salted_password:bytes]",
    f"throttle:int32 results[name:string {_FAILURE}]",
)  # fmt: skip
DESCRIBE_ACLS = Api(
    29, 3, _ACL_FILTER,
    f"throttle:int32 {_FAILURE} resources[resource_type:int8 resource_name:string pattern_type:int8 acls[{_ACL}]]",
)  # fmt: skip
CREATE_ACLS = Api(
    30, 3,
    f"creations[resource_type:int8 resource_name:string pattern_type:int8 {_ACL}]",
    f"throttle:int32 results[{_FAILURE}]",
)  # fmt: skip
DELETE_ACLS = Api(
    31, 3,
    f"filters[{_ACL_FILTER}]",
    f"throttle:int32 results[{_FAILURE} acls[{_FAILURE} resource_type:int8 resource_name:string pattern_type:int8"
    f" {_ACL}]]",
)  # fmt: skip
ALTER_REASSIGNMENTS = Api(
    45, 0,
    "timeout:int32 topics[name:string partitions[index:int32 replicas[int32]]]",
    f"throttle:int32 {_FAILURE} results[name:string partitions[index:int32 {_FAILURE}]]",
)  # fmt: skip
LIST_REASSIGNMENTS = Api(
    46, 0,
    "timeout:int32 topics[name:string indexes[int32]]",
    f"throttle:int32 {_FAILURE} topics[name:string partitions[index:int32 replicas[int32] adding[int32]"
    " removing[int32]]]",
)  # fmt: skip
ELECT_LEADERS = Api(
    43, 2,
    "type:int8 topics[name:string partitions[int32]] timeout:int32",
    f"throttle:int32 error:int16 results[name:string partitions[index:int32 {_FAILURE}]]",
)  # fmt: skip


# Bytes


def encode(fields: Shape, value: Any, compact: bool = True) -> bytes:
    """The bytes of a structure or a primitive. A missing field is zero, null, or a list of nothing; None is null."""
    if isinstance(fields, str):
        return _encode_primitive(fields, value, compact)
    parts = []
    for name, kind in fields:
        if isinstance(kind, list):
            given = value.get(name, ())
            parts.append(_length(given, compact, ">i"))
            parts += [encode(kind[0], each, compact) for each in given or ()]
        else:
            parts.append(encode(kind, value.get(name), compact))
    return b"".join(parts) + (b"\0" if compact else b"")


def _encode_primitive(kind: str, value: Any, compact: bool) -> bytes:
    if kind in NUMBERS:
        return struct.pack(NUMBERS[kind], value or 0)
    if kind == "uuid":
        return base64.urlsafe_b64decode(f"{value}==") if value else bytes(16)
    if kind == "string":
        value = None if value is None else value.encode()
        return _length(value, compact, ">h") + (value or b"")
    return _length(value, compact, ">i") + (value or b"")


def _length(value: Any, compact: bool, fixed: str) -> bytes:
    if not compact:
        return struct.pack(fixed, -1 if value is None else len(value))
    number, parts = 0 if value is None else len(value) + 1, []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


class Reader:
    """Takes values off an answer's bytes, one after another. Raises NoAnswer where they end too soon."""

    def __init__(self, data: bytes, compact: bool = True) -> None:
        self._data = data
        self._at = 0
        self._compact = compact

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size < 0 or self._at + size > len(self._data):
            raise NoAnswer("the answer is shorter than it says")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, kind: str) -> int:
        """A number of fixed length."""
        form = NUMBERS[kind]
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def varint(self) -> int:
        """An unsigned number of as many bytes as it needs."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def tags(self) -> dict[int, bytes]:
        """The tagged fields that end a structure, by their tags."""
        found = {}
        for _field in range(self.varint() if self._compact else 0):
            tag = self.varint()
            found[tag] = self.take(self.varint())
        return found

    def read(self, fields: Shape) -> Any:
        """A structure, as a dict, or a primitive. What is tagged, and no API here describes, is under `tags`."""
        if isinstance(fields, str):
            return self._primitive(fields)
        found: dict[str, Any] = {}
        for name, kind in fields:
            found[name] = self.array(kind[0]) if isinstance(kind, list) else self.read(kind)
        if tagged := self.tags():
            found["tags"] = tagged
        return found

    def array(self, fields: Shape) -> Any:
        """A list of structures or primitives, or None."""
        length = self._size("int32")
        return None if length is None else [self.read(fields) for _each in range(length)]

    def _primitive(self, kind: str) -> Any:
        if kind in NUMBERS:
            return self.number(kind)
        if kind == "uuid":
            return uuid_text(self.take(16))
        length = self._size("int16" if kind == "string" else "int32")
        if length is None:
            return None
        data = self.take(length)
        return data.decode() if kind == "string" else data

    def _size(self, fixed: str) -> int | None:
        size = self.varint() - 1 if self._compact else self.number(fixed)
        return None if size < 0 else size


def uuid_text(data: bytes) -> str:
    """16 bytes as Kafka writes its ids: base64 for URLs, without the padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def new_uuid() -> str:
    """An id of a cluster or a directory; one that begins with a dash could be taken for an option, so none does."""
    while (text := uuid_text(os.urandom(16))).startswith("-"):
        pass
    return text


# The connection


class Client:
    """A connection to one node.

    Args:
        address: its IP address.
        port: of the listener.
        pki: folder of `ca.crt`, and of `tls.crt` and `tls.key` where no login is given.
        login: name and password for SCRAM; without it the certificate says who asks.
        seconds: how long an answer may take.
    """

    def __init__(
        self, address: str, port: int, pki: str, login: tuple[str, str] | None = None, seconds: float = 5.0,
    ) -> None:
        self._where = f"{address}:{port}"
        self._count = 0
        try:
            context = ssl.create_default_context(cafile=f"{pki}/ca.crt")
            if login is None:
                context.load_cert_chain(f"{pki}/tls.crt", f"{pki}/tls.key")
            plain = socket.create_connection((address, port), timeout=seconds)
            try:
                self._socket = context.wrap_socket(plain, server_hostname=address)
            except BaseException:
                plain.close()
                raise
        except (OSError, ValueError) as error:
            raise NoAnswer(f"{self._where} does not answer ({error})") from error
        try:
            known = self._exchange(API_VERSIONS, {})
            self._known = {each["key"]: (each["least"], each["most"]) for each in known["apis"]}
            if login is not None:
                self._authenticate(*login)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def ask(self, api: Api, **body: Any) -> dict[str, Any]:
        """Send a request, and return its answer. Raises NoAnswer, also where the answer as a whole is an error."""
        least, most = self._known.get(api.key, (0, -1))
        if not least <= api.version <= most:
            raise NoAnswer(f"{self._where} knows no version {api.version} of request {api.key}: Kafka 4 is needed")
        answer = self._exchange(api, body)
        self.check(answer)
        return answer

    def check(self, answer: dict[str, Any]) -> None:
        """Raise NoAnswer where an answer, or a part of one, is an error."""
        if code := answer.get("error"):
            said = answer.get("message") or ERRORS.get(code, f"error {code}")
            raise NoAnswer(f"{self._where} says: {said}", code)

    def features(self) -> dict[str, tuple[int, int]]:
        """By feature of the cluster (metadata.version …) the level that holds, and the highest that the node knows."""
        tagged = self.ask(FEATURES, software=CLIENT_ID.decode(), version="1").get("tags", {})
        holds, knows = (
            {each["name"]: each["most"] for each in Reader(tagged[tag]).array(shape(fields))} if tag in tagged else {}
            for tag, fields in (
                (FINALIZED, "name:string most:int16 least:int16"), (SUPPORTED, "name:string least:int16 most:int16"),
            )
        )
        return {name: (holds.get(name, 0), most) for name, most in knows.items()}

    def _exchange(self, api: Api, body: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        header = struct.pack(">hhih", api.key, api.version, self._count, len(CLIENT_ID)) + CLIENT_ID
        header += b"\0" if api.compact else b""
        request = header + encode(shape(api.asks), body, api.compact)
        try:
            self._socket.sendall(struct.pack(">i", len(request)) + request)
            [size] = struct.unpack(">i", self._receive(4))
            if not 4 <= size <= LARGEST:
                raise NoAnswer(f"{self._where} does not speak Kafka's protocol")
            reader = Reader(self._receive(size), api.compact)
        except OSError as error:
            raise NoAnswer(f"{self._where} does not answer ({error})") from error
        if reader.number("int32") != self._count:
            raise NoAnswer(f"{self._where} answers another request")
        if api.key != API_VERSIONS.key:  # whose header never has any, so that anybody can read it
            reader.tags()
        answer: dict[str, Any] = reader.read(shape(api.answers))
        return answer

    def _receive(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            part = self._socket.recv(min(size, 1 << 20))
            if not part:
                raise OSError("the connection was closed")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _authenticate(self, name: str, password: str) -> None:
        self.check(self._exchange(SASL_HANDSHAKE, {"mechanism": MECHANISM}))
        words = scram(name, password)
        say = next(words)
        with contextlib.suppress(StopIteration):
            while True:
                answer = self._exchange(SASL_AUTHENTICATE, {"bytes": say})
                self.check(answer)
                say = words.send(answer["bytes"])


# SCRAM (RFC 5802, RFC 7677) with SHA-512


def scram(name: str, password: str, nonce: str | None = None) -> Generator[bytes, bytes, None]:
    """What a client says, one message after another; the server's answers are sent in. Raises NoAnswer."""
    nonce = nonce or base64.b64encode(os.urandom(24)).decode()
    escaped = name.replace("=", "=3D").replace(",", "=2C")
    first = f"n={escaped},r={nonce}"
    challenge = (yield f"n,,{first}".encode()).decode()
    given = dict(part.split("=", 1) for part in challenge.split(","))
    if not given["r"].startswith(nonce):
        raise NoAnswer("the server's answer is to somebody else")
    salted = salted_password(password, base64.b64decode(given["s"]), int(given["i"]))
    final = f"c=biws,r={given['r']}"
    signed = f"{first},{challenge},{final}".encode()
    key = hmac.digest(salted, b"Client Key", "sha512")
    signature = hmac.digest(hashlib.sha512(key).digest(), signed, "sha512")
    proof = bytes(left ^ right for left, right in zip(key, signature, strict=True))
    verdict = (yield f"{final},p={base64.b64encode(proof).decode()}".encode()).decode()
    wanted = hmac.digest(hmac.digest(salted, b"Server Key", "sha512"), signed, "sha512")
    if verdict != f"v={base64.b64encode(wanted).decode()}":
        raise NoAnswer("the server does not know the password itself")


def salted_password(password: str, salt: bytes, iterations: int = ITERATIONS) -> bytes:
    """What a server keeps keys of."""
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
