# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Kafka that counts: a producer with acks=all and idempotence a partition, and consumers that read it all.

How it is called and what it writes stands in counting.py beside this file. Each run has a topic of its own. A target is
one of its partitions, whose records are the numbers, or a consumer group that reads the whole topic and commits:

    {"targets": {"partition 0": {"write": {"partition": 0}, "read": {"partition": 0}}, …, "group": {"read": {}}},
     "bootstrap": "198.18.0.11:9092,…", "user": "admin", "password": …, "ca": PATH, "timeout": 30, "answer": 2}

A write is acknowledged, or given up after `timeout` seconds, which is meant to be longer than an outage: meanwhile
librdkafka tries again, and the brokers see to it that it counts once. `answer` is the seconds after which a node that
does not answer is left, and another asked. Needs python3-confluent-kafka on librdkafka 2.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import counting

REPLICAS = 3
MARK = 0
"""A record that is no number, since they begin with 1."""
PATIENCE = 20.0
"""Seconds that making the topic, or reading it back, waits for an answer."""


class Client:
    """A well-kept producer or consumer.

    Args:
        endpoint: `{partition}`; without it a consumer of the whole topic, as a group.
        settings: the probe's.
        run: its name, part of the topic's.
    """

    ordered = True
    """What is stored is told in the order in which it lies there."""

    def __init__(self, endpoint: dict[str, Any], settings: dict[str, Any], run: str) -> None:
        self._partition: int | None = endpoint.get("partition")
        self._topic = f"rackspread.probe.{run}"
        self._partitions = sum("write" in each for each in settings["targets"].values())
        self._timeout = float(settings.get("timeout", 30))
        self._answer = float(settings.get("answer", 2))
        self._common = {
            "bootstrap.servers": settings["bootstrap"],
            "security.protocol": "SASL_SSL",
            "sasl.mechanisms": "SCRAM-SHA-512",
            "sasl.username": settings["user"],
            "sasl.password": settings["password"],
            "ssl.ca.location": settings["ca"],
            "socket.timeout.ms": int(self._answer * 1000),
            "socket.connection.setup.timeout.ms": int(self._answer * 1000),
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,
        }
        self._producer: Any = None
        self._consumer: Any = None
        self._highest = 0

    def prepare(self) -> None:
        """Make the topic."""
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient(self._common)
        if self._topic in admin.list_topics(timeout=PATIENCE).topics:
            return
        brokers = len(admin.list_topics(timeout=PATIENCE).brokers)
        asked = NewTopic(self._topic, self._partitions, replication_factor=min(REPLICAS, brokers))
        for made in admin.create_topics([asked], operation_timeout=PATIENCE).values():
            made.result(PATIENCE)

    def write(self, number: int) -> int:
        """Append a number to the partition."""
        self._append(number)
        return number

    def read(self, number: int) -> int:
        """The highest number that was read: by the group of what came meanwhile, else of all that is there now."""
        if self._consumer is None:
            self._consumer = self._subscribed() if self._partition is None else self._assigned()
        if self._partition is None:
            first = self._consumer.poll(self._answer)
            if first is None:
                raise TimeoutError("nothing new came")
            self._take([first, *self._consumer.consume(500, 0)])
            self._consumer.commit(asynchronous=False)
            return self._highest
        _low, end = self._consumer.get_watermark_offsets(self._place(), timeout=self._answer)
        self._read_up_to(end, self._answer)
        return self._highest

    def stored(self) -> dict[int, int]:
        """How often each number is there, in the order in which it first comes.

        A broker that was cut off leads for its clients until a controller tells it better, and has no more than it had.
        It can't acknowledge anything: what is read reaches up to a record that was, by now.
        """
        self.close()
        end = self._append(MARK) + 1
        self._consumer = self._assigned()
        found: dict[int, int] = {}
        for number in self._read_up_to(end, PATIENCE):
            if number != MARK:
                found[number] = found.get(number, 0) + 1
        return found

    def forget(self) -> None:
        """Remove the run's topic; whichever target comes first does."""
        from confluent_kafka.admin import AdminClient

        admin = AdminClient(self._common)
        if self._topic in admin.list_topics(timeout=PATIENCE).topics:
            for removed in admin.delete_topics([self._topic], operation_timeout=PATIENCE).values():
                with contextlib.suppress(Exception):  # another target's client was quicker
                    removed.result(PATIENCE)

    def close(self) -> None:
        """Throw the connections away."""
        if self._consumer is not None:
            self._consumer.close()
        self._producer = self._consumer = None

    def _append(self, number: int) -> int:
        """Append a number to the partition; its offset."""
        from confluent_kafka import KafkaException, Producer

        if self._producer is None:
            limits = {
                "enable.idempotence": True, "acks": "all", "linger.ms": 0,
                "message.timeout.ms": int(self._timeout * 1000), "request.timeout.ms": int(self._answer * 1000),
            }  # fmt: skip
            self._producer = Producer({**self._common, **limits})
        ended: list[Any] = []
        self._producer.produce(
            self._topic, str(number), partition=self._partition, on_delivery=lambda *told: ended.append(told)
        )
        deadline = time.monotonic() + self._timeout + self._answer
        while not ended and time.monotonic() < deadline:
            self._producer.poll(0.1)
        if not ended:
            raise TimeoutError("nothing was heard of it")
        error, record = ended[0]
        if error is not None:
            raise KafkaException(error)
        return int(record.offset())

    def _read_up_to(self, end: int, seconds: float) -> list[int]:
        """Read the partition up to an offset; the numbers. Raises TimeoutError where it takes longer."""
        numbers: list[int] = []
        deadline = time.monotonic() + seconds
        while self._consumer.position([self._place()])[0].offset < end:
            if time.monotonic() > deadline:
                raise TimeoutError("not all that is there could be read")
            numbers += self._take(self._consumer.consume(500, 0.1))
        return numbers

    def _take(self, records: list[Any]) -> list[int]:
        from confluent_kafka import KafkaException

        for record in records:
            if record.error():
                raise KafkaException(record.error())
        numbers = [int(record.value()) for record in records]
        self._highest = max([self._highest, *numbers])
        return numbers

    def _place(self, offset: int | None = None) -> Any:
        from confluent_kafka import TopicPartition

        return TopicPartition(self._topic, self._partition, *(() if offset is None else (offset,)))

    def _consuming(self, **more: Any) -> Any:
        from confluent_kafka import Consumer

        common = {"group.id": self._topic, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        return Consumer({**self._common, **common, **more})

    def _assigned(self) -> Any:
        consumer = self._consuming()
        consumer.assign([self._place(0)])
        return consumer

    def _subscribed(self) -> Any:
        consumer = self._consuming(**{"session.timeout.ms": 10000})
        consumer.subscribe([self._topic])
        return consumer


if __name__ == "__main__":
    counting.run_as_program(Client, __doc__)
