# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Redis Cluster that counts: it sets a key a number, through a proxy or at the nodes, and reads all back.

How it is called and what it writes stands in counting.py beside this file. A target is a shard's slots and a way to
them; its numbers become keys that are spread over all of these slots. The ways are proxies, of which the next is taken
after an error, and the nodes themselves, by a client of the cluster; there a write may wait for copies (WAIT):

    {"targets": {"redis_shard1 by proxy": {"write": {"slots": ["0-5461"], "proxies": [["198.18.0.100", 6379]]}, …},
                 "redis_shard1 by node, WAIT 1": {"write": {"slots": ["0-5461"], "wait": 1}}, …},
     "nodes": [["198.18.0.11", 16379], …], "user": "application", "password": …, "ca": PATH, "timeout": 0.5}

A number is set once, if it is not there; a client's own attempts to repeat it are off. What is there at the end the
masters themselves are asked, whatever way it was written. Keys are forgotten after a day. Needs python3-redis 6.
"""

from __future__ import annotations

import binascii
import itertools
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import counting

# The library has this file's name, and is to be found instead of it.
sys.path = [path for path in sys.path if os.path.realpath(path) != str(Path(__file__).resolve().parent)]

SLOTS = 16384
DAY = 86400
BACK = 50
"""How many numbers below the newest one a read looks for."""
BLOCK = 500
"""Keys that are asked for at once when all are read back."""


class Client:
    """A well-kept client of some slots.

    Args:
        endpoint: `{slots: ["first-last"], proxies: [[host, port]]}`, or without proxies at the nodes; `wait`, how many
            copies must have a write before it is acknowledged.
        settings: the probe's; with `last`, the highest number that was tried, all can be read back.
        run: its name, part of the keys.
    """

    newest: ClassVar[Counter[str]] = Counter()
    """By run and slots the newest number that was acknowledged, which readers of the same process look for."""

    def __init__(self, endpoint: dict[str, Any], settings: dict[str, Any], run: str) -> None:
        self._slots = _spread(endpoint["slots"])
        self._proxies = [tuple(each) for each in endpoint.get("proxies", [])]
        self._copies = int(endpoint.get("wait", 0))
        self._settings = settings
        self._timeout = float(settings.get("timeout", 0.5))
        self._prefix = f"rackspread_probe:{run}:{'proxy' if self._proxies else 'node'}{self._copies}"
        self._line = f"{self._prefix}:{endpoint['slots']}"
        self._client: Any = None

    def prepare(self) -> None:
        """See that it answers."""
        self.read(0)

    def write(self, number: int) -> int:
        """Set the number's key, which must not be there."""
        key = self._key(number)
        if not (self._set_and_wait(key, number) if self._copies else self._ask("set", key, number, ex=DAY, nx=True)):
            raise RuntimeError("the number was there already")
        self.newest[self._line] = max(self.newest[self._line], number)
        return number

    def read(self, number: int) -> int:
        """The newest number that was acknowledged; where its key is not there, the next lower one that is."""
        newest = self.newest[self._line]
        for each in range(newest, max(newest - BACK, -1), -1):
            if self._ask("get", self._key(each)) is not None or not each:
                return each
        raise LookupError(f"none of the {BACK} newest numbers is there")

    def stored(self) -> dict[int, int]:
        """The numbers that the masters have, once each: a key can't be there twice."""
        with self._cluster(timeout=5) as cluster:
            found = {}
            for block in self._blocks():
                pipeline = cluster.pipeline()
                for number in block:
                    pipeline.get(self._key(number))
                found |= {
                    number: 1 for number, value in zip(block, pipeline.execute(), strict=True) if value is not None
                }
            return found

    def forget(self) -> None:
        """Take the run's keys away."""
        with self._cluster(timeout=5) as cluster:
            for block in self._blocks():
                pipeline = cluster.pipeline()
                for number in block:
                    pipeline.unlink(self._key(number))
                pipeline.execute()

    def close(self) -> None:
        """Throw the connections away."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _key(self, number: int) -> str:
        """A key of a number, whose slot is one of these."""
        keys = (f"{self._prefix}:{number}:{salt}" for salt in itertools.count())
        return next(key for key in keys if slot_of(key) in self._slots)

    def _blocks(self) -> list[range]:
        """The numbers that were tried, some at a time."""
        end = self._settings["last"] + 1
        return [range(first, min(first + BLOCK, end)) for first in range(1, end, BLOCK)]

    def _ask(self, command: str, *words: Any, **options: Any) -> Any:
        """Have a command done once. After an error the next one goes to the next proxy, or by a fresh map of slots."""
        import redis

        try:
            if self._client is None:
                self._client = self._proxy() if self._proxies else self._cluster(self._timeout, replicas=True)
            return getattr(self._client, command)(*words, **options)
        except Exception as error:
            if self._proxies:
                self.close()
                self._proxies.append(self._proxies.pop(0))
            elif not isinstance(error, redis.RedisError):  # one of Redis' own the client has heeded
                self.close()
            raise

    def _set_and_wait(self, key: str, number: int) -> bool:
        """Set a key, and wait on the same connection, as WAIT speaks of that one, until there are copies."""
        if self._client is None:
            self._client = self._cluster(self._timeout)
        node = self._client.get_node_from_key(key)
        try:
            both = self._client.get_redis_connection(node).pipeline(transaction=False).set(key, number, ex=DAY, nx=True)
            done, copies = both.execute_command("WAIT", self._copies, int(self._timeout * 800)).execute()
        except Exception:
            self._look_elsewhere(node)
            raise
        if copies < self._copies:
            raise RuntimeError(f"{copies} copies have it")
        return bool(done)

    def _look_elsewhere(self, node: Any) -> None:
        """Ask another node who has which slots, as the library does where it sends a single command."""
        try:
            self._client.nodes_manager.startup_nodes.pop(node.name, None)
            self._client.nodes_manager.initialize()
        except Exception:
            self.close()

    def _proxy(self) -> Any:
        import redis

        host, port = self._proxies[0]
        # Envoy speaks RESP2.
        return redis.Redis(host=host, port=port, protocol=2, **self._common(self._timeout), **_once())

    def _cluster(self, timeout: float, replicas: bool = False) -> Any:
        from redis import cluster

        nodes = [cluster.ClusterNode(*each) for each in self._settings["nodes"]]
        strategy = cluster.LoadBalancingStrategy.ROUND_ROBIN_REPLICAS if replicas else None
        return cluster.RedisCluster(
            startup_nodes=nodes, load_balancing_strategy=strategy, **self._common(timeout), **_once()
        )

    def _common(self, timeout: float) -> dict[str, Any]:
        return {
            "username": self._settings["user"], "password": self._settings["password"], "ssl": True,
            "ssl_ca_certs": self._settings["ca"], "ssl_check_hostname": True, "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
        }  # fmt: skip


def _spread(ranges: list[str]) -> frozenset[int]:
    """The slots of ranges as CLUSTER NODES has them, "0-5461" or "7"."""
    ends = [(int(first), int(last or first)) for first, _dash, last in (each.partition("-") for each in ranges)]
    return frozenset(slot for first, last in ends for slot in range(first, last + 1))


def slot_of(key: str) -> int:
    """The slot of a key without a hash tag: CRC16 (XMODEM) modulo the number of slots (redis.io, cluster spec)."""
    return binascii.crc_hqx(key.encode(), 0) % SLOTS


def _once() -> dict[str, Any]:
    """No attempt of the library's own after the first."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {"retry": Retry(NoBackoff(), 0)}


if __name__ == "__main__":
    counting.run_as_program(Client, __doc__)
