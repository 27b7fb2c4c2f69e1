"""Which keys the probe of Redis sets. That it notices a real loss is tested in molecule/redis."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

PROBES = Path(__file__).resolve().parents[3] / "probes"


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program, which is called like the library that it uses."""
    monkeypatch.setattr(sys, "path", [str(PROBES), *sys.path])
    monkeypatch.delitem(sys.modules, "redis", raising=False)
    import redis

    monkeypatch.delitem(sys.modules, "redis")
    return redis


def client(probe: Any, first: int, last: int, **endpoint: Any) -> Any:
    return probe.Client({"slots": [f"{first}-{last}"], **endpoint}, {"nodes": []}, "run")


def test_slots_are_those_of_redis(probe: Any) -> None:
    assert probe.slot_of("123456789") == 0x31C3 % 16384  # redis.io, cluster spec, appendix A


def test_the_keys_of_a_target_are_its_own_and_lie_all_over_its_slots(probe: Any) -> None:
    targets = [
        client(probe, 0, 5461), client(probe, 5462, 10922), client(probe, 10923, 16383),
        client(probe, 0, 5461, proxies=[["192.0.2.1", 6379]]), client(probe, 0, 5461, wait=1),
    ]  # fmt: skip
    keys = [[target._key(number) for number in range(1, 401)] for target in targets]
    assert len({key for those in keys for key in those}) == 5 * 400
    slots = [sorted(map(probe.slot_of, those)) for those in keys]
    for found, (first, last) in zip(slots, [(0, 5461), (5462, 10922), (10923, 16383)], strict=False):
        assert first <= found[0] < first + 200
        assert last - 200 < found[-1] <= last
        assert max(later - earlier for earlier, later in itertools.pairwise(found)) < 300
    assert targets[0]._key(7) == client(probe, 0, 5461)._key(7), "whoever reads back finds it"


def test_a_shard_may_have_its_slots_in_pieces(probe: Any) -> None:
    own = probe.Client({"slots": ["0-9", "16383"]}, {"nodes": []}, "run")
    assert {probe.slot_of(own._key(number)) for number in range(1, 301)} == {*range(10), 16383}


def test_what_is_read_is_the_newest_acknowledged_number_or_the_next_that_is_there(
    probe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, int] = {}

    def ask(_self: Any, command: str, key: str, *words: Any, **_options: Any) -> Any:
        return kept.get(key) if command == "get" else kept.setdefault(key, words[0]) == words[0]

    monkeypatch.setattr(probe.Client, "_ask", ask)
    writer, reader = client(probe, 0, 5461), client(probe, 0, 5461)
    assert reader.read(1) == 0
    assert [writer.write(number) for number in (1, 2, 4)] == [1, 2, 4]
    assert reader.read(2) == 4
    del kept[writer._key(4)]
    assert reader.read(3) == 2
    kept.clear()
    assert reader.read(4) == 0
    writer.newest[writer._line] = 200
    with pytest.raises(LookupError, match="none of the 50 newest"):
        reader.read(5)


def test_blocks_are_all_numbers_that_were_tried(probe: Any) -> None:
    for tried in (0, 1, 500, 501, 1234):
        own = probe.Client({"slots": ["0-1"]}, {"nodes": [], "last": tried}, "run")
        assert [number for block in own._blocks() for number in block] == list(range(1, tried + 1))
