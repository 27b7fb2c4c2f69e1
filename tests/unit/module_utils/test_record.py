"""The host's record: written whole, never another host's."""

import json
import os
from pathlib import Path

import pytest
from ansible_collections.rackspread.ha.plugins.module_utils import record
from ansible_collections.rackspread.ha.plugins.module_utils.host import Failed
from ansible_collections.rackspread.ha.plugins.module_utils.start_guard import Paths


def belong(root: Path, site: str = "s1", host: str = "r1h1", generation: int = 1) -> None:
    with record.update(str(root)) as known:
        record.belong(known, site, host, "rack1", generation, str(root))


def test_a_host_without_a_record_has_none(tmp_path: Path) -> None:
    assert record.read(str(tmp_path)) is None
    assert record.part(None, "etcd_voter1") is None


def test_the_record_is_written_and_read(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("4711\n")
    with record.update(str(tmp_path)) as known:
        record.belong(known, "s1", "r1h1", "rack1", 3, str(tmp_path))
        known["groups"]["etcd_voter1"] = {"member": 1}
    known = record.read(str(tmp_path)) or {}
    assert (known["site_id"], known["host"], known["rack"], known["machine_id"]) == ("s1", "r1h1", "rack1", "4711")
    assert record.part(known, "etcd_voter1") == {"member": 1}
    assert os.stat(Paths("", str(tmp_path)).record).st_mode & 0o777 == 0o600


def test_nothing_is_written_where_the_change_fails(tmp_path: Path) -> None:
    belong(tmp_path)

    def fail() -> None:
        with record.update(str(tmp_path)) as known:
            known["site_id"] = "lost"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (record.read(str(tmp_path)) or {})["site_id"] == "s1"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"site": "s2"}, "record says site_id s1, and the run says s2"),
        ({"host": "r2h2"}, "record says host r1h1, and the run says r2h2"),
        ({"generation": 0}, "generation 1, and this run has 0"),
    ],
)
def test_another_run_is_refused(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    belong(tmp_path)
    with pytest.raises(Failed, match=sentence):
        belong(tmp_path, **change)  # type: ignore[arg-type]
    belong(tmp_path, generation=2)


@pytest.mark.parametrize("text", ["{", json.dumps({"version": 2})])
def test_a_record_that_is_not_understood_is_refused(tmp_path: Path, text: str) -> None:
    path = Path(Paths("", str(tmp_path)).record)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(Failed):
        record.read(str(tmp_path))
