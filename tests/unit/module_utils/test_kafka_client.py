"""The bytes are those that Kafka 4.3.1's own classes (org.apache.kafka.common.message) write of the same values."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import kafka_client as kafka

UUID = "MkU3OEVBNTcwNTJENDM2Qg"
QUORUM = (
    "00000102135f5f636c75737465725f6d657461646174610200000000000001000027110000000400000000000002bb0200002711324537384541"
    "3537303532443433364200000000000002bcffffffffffffffff0000018bcfe56800000100000200002711020b434f4e54524f4c4c45520b3139"
    "322e302e322e313124b1000000"
)
METADATA = (
    "0000000002000000020b3139322e302e322e323100002384067261636b32000363310000000202000002743245373845413537303532443433"
    "3642000200000000000000000002ffffffff04000000010000000200000003030000000200000003020000000100800000000000"
)
CREATED = "00000000020274324537384541353730353244343336420024c901" + "78" * 200 + "00000001000300010002001d00"
"""With a tagged field at the end of the topic, which is passed over."""


@pytest.mark.parametrize(
    ("api", "body", "expected"),
    [
        (
            kafka.ADD_RAFT_VOTER,
            {
                "cluster_id": "c1", "timeout": 30000, "id": 10001, "directory_id": UUID,
                "listeners": [{"name": "CONTROLLER", "host": "192.0.2.11", "port": 40393}],
            },
            "036331000075300000271132453738454135373035324434333642020b434f4e54524f4c4c45520b3139322e302e322e31319dc90000",
        ),
        (
            kafka.CREATE_TOPICS,
            {
                "timeout": 5, "validate_only": True,
                "topics": [{
                    "name": "seat.expired", "partitions": 6, "replicas": 3,
                    "configs": [{"name": "retention.ms", "value": "1"}],
                }],
            },
            "020d736561742e6578706972656400000006000301020d726574656e74696f6e2e6d7302310000000000050100",
        ),
        (kafka.METADATA, {"topics": None}, "00000000"),
        (kafka.UNREGISTER_BROKER, {"id": 7}, "0000000700"),
        (kafka.ELECT_LEADERS, {"topics": None, "timeout": 60000}, "00000000ea6000"),
        (
            kafka.ALTER_SCRAM,
            {"upsertions": [
                {"name": "shop", "mechanism": 2, "iterations": 4096, "salt": b"\1\2", "salted_password": b"\3"}
            ]},
            "01020573686f70020000100003010202030000",
        ),
    ],
)  # fmt: skip
def test_requests_are_written_as_kafka_reads_them(api: kafka.Api, body: dict[str, object], expected: str) -> None:
    assert kafka.encode(kafka.shape(api.asks), body).hex() == expected


def read(api: kafka.Api, text: str) -> dict[str, object]:
    answer: dict[str, object] = kafka.Reader(bytes.fromhex(text)).read(kafka.shape(api.answers))
    return answer


def test_answers_are_read_as_kafka_writes_them() -> None:
    [topic] = read(kafka.DESCRIBE_QUORUM, QUORUM)["topics"]
    [partition] = topic["partitions"]
    assert (partition["leader"], partition["epoch"], partition["high_watermark"]) == (10001, 4, 699)
    assert partition["voters"] == [
        {
            "id": 10001, "directory_id": UUID, "log_end": 700, "last_fetch": -1, "last_caught_up": 1700000000000,
        }
    ]  # fmt: skip
    assert partition["observers"] == []
    metadata = read(kafka.METADATA, METADATA)
    assert metadata["brokers"] == [{"id": 2, "host": "192.0.2.21", "port": 9092, "rack": "rack2"}]
    [topic] = metadata["topics"]
    assert topic["partitions"][0]["isr"] == [2, 3]
    [created] = read(kafka.CREATE_TOPICS, CREATED)["results"]
    assert (created["error"], created["message"], created["configs"]) == (36, "x" * 200, None)


def test_an_answer_that_was_cut_short_is_none() -> None:
    for length in range(0, len(QUORUM) - 2, 16):
        with pytest.raises(kafka.NoAnswer):
            read(kafka.DESCRIBE_QUORUM, QUORUM[:length])


def test_every_description_of_a_message_is_read_to_its_end() -> None:
    for api in (each for each in vars(kafka).values() if isinstance(each, kafka.Api)):
        for text in (api.asks, api.answers):
            assert text.count("[") == text.count("]")
            kafka.shape(text)
    with pytest.raises(ValueError, match="closes more"):
        kafka.shape("a:int8]")


def test_ids_are_kafkas_and_no_option() -> None:
    ids = {kafka.new_uuid() for _each in range(500)}
    assert len(ids) == 500
    assert all(len(base64.urlsafe_b64decode(f"{each}==")) == 16 and each[0] != "-" for each in ids)


def test_who_knows_the_password_is_told_apart_from_who_does_not() -> None:
    words = kafka.scram("sh,op", "secret", nonce="abc")
    assert next(words) == b"n,,n=sh=2Cop,r=abc"
    salt = base64.b64encode(b"salt").decode()
    challenge = f"r=abcdef,s={salt},i=4096"
    final = words.send(challenge.encode()).decode()
    without, _comma, proof = final.rpartition(",p=")
    salted = kafka.salted_password("secret", b"salt")
    signed = f"n=sh=2Cop,r=abc,{challenge},{without}".encode()
    key = hmac.digest(salted, b"Client Key", "sha512")
    signature = hmac.digest(hashlib.sha512(key).digest(), signed, "sha512")
    assert bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True)) == key
    with pytest.raises(kafka.NoAnswer, match="does not know the password"):
        words.send(b"v=" + base64.b64encode(b"x" * 64))


def test_an_answer_to_somebody_else_is_not_taken() -> None:
    words = kafka.scram("shop", "secret", nonce="abc")
    next(words)
    with pytest.raises(kafka.NoAnswer, match="somebody else"):
        words.send(b"r=other,s=c2FsdA==,i=4096")
