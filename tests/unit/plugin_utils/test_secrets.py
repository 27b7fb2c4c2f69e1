"""Secrets: given before kept before generated, and never anew over a living service."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleLookupError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.rackspread.ha.plugins.lookup.secret import LookupModule
from ansible_collections.rackspread.ha.plugins.plugin_utils import files, passwords, secrets
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import Refusal

ALL = sorted(f"postgres/{name}" for name in secrets.SECRETS["postgres"])
FORMED = {"r1h1": None, "r2h1": {"groups": {"postgres_shard1": {"formed": "73"}, "etcd_voter1": {"formed": None}}}}


def kept(inventory: Path) -> dict[str, str]:
    content = yaml.safe_load((inventory / ".rackspread/secrets/postgres.yml").read_text())
    assert isinstance(content, dict)
    return content


def test_secrets_are_generated_once_and_private(tmp_path: Path) -> None:
    assert secrets.ensure_secrets(tmp_path, ["etcd", "postgres"], {}) == ALL
    first = kept(tmp_path)
    assert set(first) == set(secrets.SECRETS["postgres"])
    assert all(len(value) >= 32 and value.isalnum() for value in first.values())
    assert len(set(first.values())) == len(first)
    folder = tmp_path / ".rackspread/secrets"
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]} == {
        "secrets": 0o700,
        "postgres.yml": 0o600,
    }

    assert secrets.ensure_secrets(tmp_path, ["etcd", "postgres"], FORMED) == []
    assert kept(tmp_path) == first


def test_what_the_user_gives_comes_first_and_is_never_written(tmp_path: Path) -> None:
    given = {"postgres": {"admin": "the user's own"}}
    made = secrets.ensure_secrets(tmp_path, ["postgres"], {}, given)
    assert made == [name for name in ALL if name != "postgres/admin"]
    assert "the user's own" not in (tmp_path / ".rackspread/secrets/postgres.yml").read_text()
    assert secrets.find(tmp_path, "postgres", "admin", given) == "the user's own"
    assert secrets.find(tmp_path, "postgres", "rewind", given) == kept(tmp_path)["rewind"]


def test_none_is_generated_over_a_living_service(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"RS-040: .*postgres\.yml is not there, but r2h1 says that postgres_shard1 was"):
        secrets.ensure_secrets(tmp_path, ["postgres"], FORMED)
    assert not (tmp_path / ".rackspread").exists()


def test_a_living_service_goes_on_where_all_are_given(tmp_path: Path) -> None:
    given = {"postgres": dict.fromkeys(secrets.SECRETS["postgres"], "given")}
    assert secrets.ensure_secrets(tmp_path, ["postgres"], FORMED, given) == []
    assert not (tmp_path / ".rackspread").exists()


def test_one_that_a_new_release_adds_joins_those_that_are_there(tmp_path: Path) -> None:
    secrets.ensure_secrets(tmp_path, ["postgres"], {})
    before = kept(tmp_path)
    older = {name: value for name, value in before.items() if name != "rest"}
    files.write_whole(secrets.path_for(tmp_path, "postgres"), yaml.safe_dump(older), 0o600)
    assert secrets.ensure_secrets(tmp_path, ["postgres"], FORMED) == ["postgres/rest"]
    assert {name: kept(tmp_path)[name] for name in older} == older


def test_check_mode_makes_nothing(tmp_path: Path) -> None:
    assert secrets.ensure_secrets(tmp_path, ["postgres"], {}, dry=True) == ALL
    assert not (tmp_path / ".rackspread").exists()


def test_of_two_runs_at_once_one_generates(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: secrets.ensure_secrets(tmp_path, ["postgres"], {}), range(8)))
    assert sorted(name for made in runs for name in made) == ALL


def test_reading_makes_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"RS-043: .*rackspread_secrets\.postgres\.admin"):
        secrets.find(tmp_path, "postgres", "admin")
    with pytest.raises(ValueError, match="postgres has no secret admim; it has: admin, "):
        secrets.find(tmp_path, "postgres", "admim")
    assert not (tmp_path / ".rackspread").exists()


@pytest.mark.parametrize("content", ["- a list\n", "admin: {deep: 1}\n", "admin: 'hunter2\n", "admin: ''\n"])
def test_a_damaged_file_is_neither_replaced_nor_shown(tmp_path: Path, content: str) -> None:
    path = secrets.path_for(tmp_path, "postgres")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(Refusal, match="RS-042") as caught:
        secrets.ensure_secrets(tmp_path, ["postgres"], {})
    assert "hunter2" not in str(caught.value)
    assert path.read_text() == content


def test_the_lookup_hands_out_what_was_given_or_kept(tmp_path: Path) -> None:
    def lookup(*terms: str, **variables: object) -> list[str]:
        templar = Templar(loader=DataLoader(), variables={"vaulted": "from the vault"})
        plugin = LookupModule(loader=None, templar=templar)
        return plugin.run(list(terms), {"inventory_dir": str(tmp_path), **variables})

    with pytest.raises(AnsibleLookupError, match="RS-043"):
        lookup("postgres", "admin")
    secrets.ensure_secrets(tmp_path, ["postgres"], {})
    assert lookup("postgres", "admin") == [kept(tmp_path)["admin"]]
    own = {"postgres": {"admin": trust_as_template("{{ vaulted }}")}}
    assert lookup("postgres", "admin", rackspread_secrets=own) == ["from the vault"]
    with pytest.raises(AnsibleLookupError, match="has no secret stats"):
        lookup("postgres", "stats")
    with pytest.raises(AnsibleLookupError, match="these two words"):
        lookup("postgres")


def test_the_lookup_hands_out_what_is_accepted_beside(tmp_path: Path) -> None:
    plugin = LookupModule(loader=None, templar=Templar(loader=DataLoader(), variables={}))
    variables = {"inventory_dir": str(tmp_path)}
    secrets.ensure_secrets(tmp_path, ["postgres"], {})
    assert plugin.run(["postgres"], variables, beside=True) == [{}]
    passwords.enter(tmp_path, "postgres", "trust")
    (beside,) = plugin.run(["postgres"], variables, beside=True)
    assert set(beside) == set(secrets.SECRETS["postgres"])
    assert plugin.run(["postgres", "rest"], variables) == [kept(tmp_path)["rest"]] != [beside["rest"]]
