"""A program for the client: what an application does with Redis Cluster, by redis-py. It prints its answer as JSON.

    client.py SETTINGS fill COUNT        writes as many keys; how many there are now, by shard
    client.py SETTINGS read COUNT        reads them from replicas; how many were right
    client.py SETTINGS write SECONDS     writes to every shard ten times a second, for so long or until there is a file
                                         /root/stop; by shard what was acknowledged and lost, and the longest time
                                         without a success
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

STOP = Path("/root/stop")


def tag(first: int, last: int) -> str:
    """A hash tag whose slot lies in this range."""
    return next(str(n) for n in range(100000) if first <= redis.crc.key_slot(str(n).encode()) <= last)


def persist(action: Callable[[], Any], seconds: float = 60) -> Any:
    """Do it until Redis does: a master takes no writes while a busy machine keeps its copies from answering in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except (redis.RedisError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def there(cluster: Any, key: str) -> bool:
    """Whether there is a key, by whoever answers for it in the end."""
    return bool(persist(lambda: cluster.exists(key)))


def write(cluster: Any, seconds: float) -> dict[str, Any]:
    """Number keys in every third of the slots, then see which acknowledged ones are gone."""
    tags = {n: tag(16384 * (n - 1) // 3 + 10, 16384 * n // 3 - 10) for n in (1, 2, 3)}
    run = str(time.time_ns())
    acknowledged: dict[int, list[int]] = {n: [] for n in tags}
    last = dict.fromkeys(tags, time.monotonic())
    longest = Counter(dict.fromkeys(tags, 0.0))
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end and not STOP.exists():
        number += 1
        for n, each in tags.items():
            with contextlib.suppress(redis.RedisError, OSError):
                cluster.set(f"{{{each}}}:{run}:{number}", number)
                acknowledged[n].append(number)
                longest[n] = max(longest[n], time.monotonic() - last[n])
                last[n] = time.monotonic()
        time.sleep(0.1)
    longest = {n: round(max(longest[n], time.monotonic() - last[n]), 2) for n in tags}
    lost = {n: [k for k in acknowledged[n] if not there(cluster, f"{{{tags[n]}}}:{run}:{k}")] for n in tags}
    return {"acknowledged": {n: len(those) for n, those in acknowledged.items()}, "lost": lost, "longest": longest}


def main(settings: dict[str, Any], verb: str, number: str) -> Any:
    patience = 1 if verb == "write" else 10
    nodes = [redis.cluster.ClusterNode(host, port) for host, port in settings.pop("nodes")]
    cluster = redis.RedisCluster(
        startup_nodes=nodes, ssl=True, socket_timeout=patience, socket_connect_timeout=patience, decode_responses=True,
        read_from_replicas=verb == "read", **settings,
    )
    if verb == "write":
        return write(cluster, float(number))
    keys = [f"key:{n}" for n in range(int(number))]
    if verb == "fill":
        for key in keys:
            persist(lambda key=key: cluster.set(key, key[::-1]))
        return Counter(cluster.keyslot(key) * 3 // 16384 + 1 for key in keys)
    return sum(persist(lambda key=key: cluster.get(key)) == key[::-1] for key in keys)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(json.dumps(main(json.load(file), *sys.argv[2:])))
