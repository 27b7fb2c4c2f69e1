"""The lock: what is in it, who may write it, and what it does when something is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from ansible_collections.rackspread.ha.plugins.plugin_utils import lock as locks
from ansible_collections.rackspread.ha.plugins.plugin_utils.lock import (
    Lock,
    LockedGroup,
    merge,
    path_for,
    read,
    write,
)
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.model import Member
from ansible_collections.rackspread.ha.plugins.plugin_utils.placement.site import Site
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal
from hypothesis import given
from hypothesis import strategies as st

Plan = Callable[..., Site]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_for(tmp_path)


@pytest.fixture
def lock(plan: Plan) -> Lock:
    return merge(Lock(), plan({"postgres": {"shards": 2}}, (1, 1, 1)).placement)


def test_it_lies_beside_the_inventory(tmp_path: Path) -> None:
    assert path_for(tmp_path) == tmp_path / ".rackspread/lock.yml"
    assert path_for(tmp_path / "services.rackspread.yml") == tmp_path / ".rackspread/lock.yml"


def test_the_shape_of_the_file(path: Path, lock: Lock) -> None:
    written = write(path, lock.with_group("etcd_voter1", intent={"formation_id": "f1"}, formed="c1"))
    shape = yaml.safe_load(path.read_text())
    assert list(shape) == ["components", "generation", "groups", "site_id", "version"]
    assert (shape["version"], shape["generation"], shape["site_id"]) == (1, 1, written.site_id)
    assert UUID(shape["site_id"])
    assert shape["components"] == {"etcd_voter": 2, "postgres_shard": 3}
    assert list(shape["groups"]) == ["etcd_voter1", "postgres_shard1", "postgres_shard2"]
    etcd = shape["groups"]["etcd_voter1"]
    assert {key: etcd[key] for key in ("index", "next_id", "intent", "formed")} == {
        "index": 1,
        "next_id": 4,
        "intent": {"formation_id": "f1"},
        "formed": "c1",
    }
    assert etcd["members"][1] == {
        "id": 2,
        "host": "r2h1",
        "rack": "rack2",
        "leader": False,
        "address": "198.18.0.21",
        "ports": {"main": 2379, "peer": 2480},
    }
    assert "&id" not in path.read_text()
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["lock.yml"]


def test_a_lock_that_the_first_engine_wrote_is_kept(plan: Plan) -> None:
    services = {"postgres": {"shards": 2, "routers": 2}, "redis": {"proxies": 0}}
    kept = read(Path(__file__).parent / "first_engine.lock")
    site = plan(services, (3, 3, 3), kept)
    assert site.topology["changes"] == []
    assert merge(kept, site.placement) == kept
    anew = plan(services, (3, 3, 3)).placement.groups
    assert any(anew[key].members != group.members for key, group in kept.groups.items())  # or nothing was shown


def test_what_is_written_is_read_again(path: Path, lock: Lock) -> None:
    written = write(path, lock)
    assert written == replace(lock, generation=1)
    assert read(path) == written


def test_no_file_is_the_empty_lock(path: Path) -> None:
    assert read(path) == Lock()


def test_the_same_is_not_written_again(path: Path, lock: Lock) -> None:
    written = write(path, lock)
    before = path.stat().st_mtime_ns
    assert write(path, written) == written
    assert path.stat().st_mtime_ns == before


def test_of_two_runs_the_later_is_refused(path: Path, lock: Lock) -> None:
    first = write(path, lock)
    write(path, first.with_group("etcd_voter1", formed="c1"))
    with pytest.raises(Refusal, match=r"^RS-030: .* is at generation 2, and this run began at 1\."):
        write(path, first.with_group("etcd_voter1", formed="c2"))
    assert read(path).groups["etcd_voter1"].formed == "c1"


def test_of_many_runs_at_once_one_writes(path: Path, lock: Lock) -> None:
    base = write(path, lock)

    def attempt(number: int) -> str:
        try:
            write(path, base.with_group("etcd_voter1", formed=str(number)))
        except Refusal as refusal:
            return refusal.code
        return "written"

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(attempt, range(16))) == {"written": 1, "RS-030": 15}
    assert read(path).generation == 2


@pytest.mark.parametrize("content", [
    "a: [",
    "",
    "- a",
    "version: 1",
    "<<<<<<< HEAD\nversion: 1",
    "version: 2\nsite_id: x\ngeneration: 1\ncomponents: {}\ngroups: {}\n",
    "version: 1\nsite_id: x\ngeneration: 1\ncomponents: {}\ngroups: {a: {index: 1}}\n",
])  # fmt: skip
def test_a_lock_that_cant_be_read_is_refused_and_kept(path: Path, lock: Lock, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(Refusal, match=r"^RS-032: "):
        read(path)
    with pytest.raises(Refusal, match=r"^RS-032: "):
        write(path, lock)
    assert path.read_text() == content


def test_merging_takes_whole_groups_and_keeps_what_is_known_of_them(plan: Plan, lock: Lock) -> None:
    formed = replace(lock, generation=3).with_group("etcd_voter1", intent={"formation_id": "f1"}, formed="c1")
    grown = plan({"postgres": {"shards": 3}, "edge": {}}, (1, 1, 1), formed).placement
    merged = merge(formed, grown, ["edge_balancer1"])
    assert set(merged.groups) - set(formed.groups) == {"edge_balancer1"}
    assert merged.components == {"etcd_voter": 2, "postgres_shard": 3, "edge_balancer": 2}
    everything = merge(formed, grown)
    assert set(everything.groups) == set(grown.groups)
    assert everything.groups["etcd_voter1"] == formed.groups["etcd_voter1"]
    assert (everything.site_id, everything.generation) == (lock.site_id, 3)


def test_a_group_that_was_put_in_by_hand_is_counted_too(path: Path, lock: Lock) -> None:
    third = replace(lock.groups["postgres_shard2"], index=3)
    by_hand = replace(lock, groups={**lock.groups, "postgres_shard3": third})
    assert write(path, by_hand).components["postgres_shard"] == 4


def test_a_site_has_one_id_from_the_first_merge_on(plan: Plan, lock: Lock) -> None:
    assert merge(lock, plan({"postgres": {"shards": 2}}, (1, 1, 1), lock).placement) == lock


words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f"), min_size=1)


@given(st.dictionaries(words, words, max_size=3), words, words)
def test_it_is_yaml_that_is_read_quickly(intent: dict[str, str], host: str, key: str) -> None:
    group = LockedGroup(1, 2, (Member(1, host, "rack1", True, "192.0.2.1", {"main": 1}),), intent or None, host)
    shape = Lock("id", 3, {"etcd_voter": 2}, {"etcd_voter1": group, key: replace(group, members=())}).to_dict()
    text = locks._text(shape)
    assert json.loads(text.removeprefix(locks.HEAD)) == yaml.safe_load(text) == shape


def test_an_edit_by_hand_is_read_as_well(path: Path, lock: Lock) -> None:
    written = write(path, lock)
    path.write_text(path.read_text().replace('"host": "r1h1"', "host: r1h1  # the old one\n"))
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(path.read_text().removeprefix(locks.HEAD))
    assert read(path) == written
