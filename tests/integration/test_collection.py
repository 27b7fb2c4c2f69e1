"""The collection as its users get it: a tarball, installed into an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
META = yaml.safe_load((ROOT / "galaxy.yml").read_text())
PLUGINS = {  # what ansible-doc calls a type: the folder of its plugins
    "filter": "filter",
    "inventory": "inventory",
    "lookup": "lookup",
    "module": "modules",
}


def run(*command: str | Path, cwd: Path, collections: Path | None = None) -> str:
    """Run a command as a user far from this repository would, who keeps collections in one folder; its output."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    variables |= {"HOME": str(cwd), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0"}
    if collections:
        variables["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    done = subprocess.run(command, cwd=cwd, env=variables, text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    run("ansible-galaxy", "collection", "build", ROOT, "--output-path", folder, cwd=folder)
    return folder / f"{META['namespace']}-{META['name']}-{META['version']}.tar.gz"


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder of collections with the tarball installed; what it depends on came with the `ansible` package."""
    folder = tmp_path_factory.mktemp("user") / "collections"
    run("ansible-galaxy", "collection", "install", tarball, "-p", folder, "--offline", cwd=folder.parent)
    return folder


def test_the_tarball_holds_the_collection_and_nothing_else(tarball: Path) -> None:
    with tarfile.open(tarball) as archive:
        names = {name for name in archive.getnames() if name != "."}
    top = {name.split("/")[0] for name in names}
    assert top <= {
        "CHANGELOG.rst", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "changelogs", "docs", "inventories",
        "meta", "playbooks", "plugins", "probes", "roles", "site.yml",
    }  # fmt: skip
    tracked = subprocess.check_output(["git", "ls-files", "plugins", "roles", "playbooks"], cwd=ROOT, text=True).split()
    assert tracked
    assert set(tracked) <= names
    hidden = {name for name in names if any(part.startswith(".") for part in name.split("/"))}
    assert not hidden
    assert not {name for name in names if name.endswith((".pyc", "__pycache__"))}


def test_the_dependencies_are_the_collections_in_use() -> None:
    files = subprocess.check_output(["git", "ls-files", "roles", "playbooks"], cwd=ROOT, text=True).split()
    texts = "\n".join((ROOT / name).read_text() for name in files if name.endswith((".yml", ".j2")))
    names = re.findall(r"\b((?:ansible|community)\.(?!builtin\b)[a-z]+)\.[a-z_]+\b", texts)
    assert set(META["dependencies"]) == set(names)


def test_the_installed_collection_is_found_and_documented(installed: Path) -> None:
    listed = json.loads(
        run("ansible-galaxy", "collection", "list", "--format", "json", cwd=installed, collections=installed)
    )
    assert listed[str(installed / "ansible_collections")]["rackspread.ha"]["version"] == META["version"]
    for kind, folder in PLUGINS.items():
        names = {f"rackspread.ha.{file.stem}" for file in (ROOT / "plugins" / folder).glob("[!_]*.*")}
        if names:
            command = ["ansible-doc", "--type", kind, "--list", "--json", "rackspread.ha"]
            described = json.loads(run(*command, cwd=installed, collections=installed))
            assert set(described) == names
            assert all(described.values())


def test_a_requirements_file_that_names_the_tarball_installs_it(tarball: Path, tmp_path: Path) -> None:
    wanted = {"collections": [{"name": str(tarball), "type": "file"}]}
    (tmp_path / "requirements.yml").write_text(yaml.safe_dump(wanted))
    # No server is asked: the dependencies are satisfied by what the `ansible` package brought.
    run("ansible-galaxy", "install", "-r", "requirements.yml", cwd=tmp_path)
    assert (tmp_path / ".ansible/collections/ansible_collections/rackspread/ha/MANIFEST.json").exists()


def test_a_site_of_three_lines_runs_from_the_installed_collection(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "site.yml").write_text(
        "- name: The whole site\n  # from the collection\n  ansible.builtin.import_playbook: rackspread.ha.site\n"
    )
    inventory = installed / "ansible_collections/rackspread/ha/inventories/target"
    command = ["ansible-playbook", "-i", inventory, "site.yml"]
    run(*command, "--syntax-check", cwd=tmp_path, collections=installed)
    assert "hosts (" in run(*command, "--list-hosts", cwd=tmp_path, collections=installed)
