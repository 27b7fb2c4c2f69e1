"""Rules of this repository that no linter knows."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from ansible_collections.rackspread.ha.plugins.plugin_utils.refusals import REFUSALS

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"RS-\d{3}\b")
ROLES = sorted(folder.name for folder in ROOT.glob("roles/*/"))
PUBLIC_HOSTS = {
    "deb.debian.org", "security.debian.org",
    "pypi.org", "files.pythonhosted.org",
    "repo1.maven.org", "repo.maven.apache.org",
}  # fmt: skip


@functools.cache
def text_files() -> dict[str, str]:
    """Every text file that is or would be committed: its path from the root, and its content."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    files = {}
    for name in filter(None, listed.split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if b"\0" not in content:
                files[name] = content.decode()
    return files


def under(*folders: str, suffix: str = "") -> dict[str, str]:
    """The text files below these folders whose name ends so."""
    return {
        name: text
        for name, text in text_files().items()
        if name.startswith(tuple(f"{folder}/" for folder in folders)) and name.endswith(suffix)
    }


def machine_names() -> set[str]:
    """Names of this very machine: where the tree lies, and the private hosts that its package tools are set to use."""
    settings = subprocess.check_output(["pip", "config", "list"], text=True)
    for source in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*"), Path.home() / ".npmrc"]:
        settings += source.read_text() if source.exists() else ""
    if (maven := Path.home() / ".m2/settings.xml").exists():
        settings += "\n".join(re.findall(r"<url>.*?</url>", maven.read_text()))
    settings += "\n".join(value for name, value in os.environ.items() if name.lower().endswith("_proxy"))
    hosts = {urlsplit(address).hostname or "" for address in re.findall(r"https?://[^\s'\"<>]+", settings)}
    return {str(ROOT)} | {host for host in hosts - PUBLIC_HOSTS if "." in host}


def tasks_of(node: object) -> Iterator[dict[str, object]]:
    """Every mapping in a YAML document, plays, blocks and tasks among them."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from tasks_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from tasks_of(value)


def test_no_name_of_a_machine_is_in_the_tree() -> None:
    names = machine_names()
    assert str(ROOT) in names
    # Not inside a longer path or name: a tree in /src says nothing against /usr/src.
    pattern = re.compile("|".join(rf"(?<![\w/.-]){re.escape(name)}(?![\w-])" for name in sorted(names)))
    assert pattern.search(f"in {ROOT}/x")
    found = {name: match[0] for name, text in text_files().items() if (match := pattern.search(text))}
    assert not found


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_described_specified_and_tested(role: str) -> None:
    wanted = [
        f"roles/{role}/README.md",
        f"roles/{role}/meta/main.yml",
        f"roles/{role}/meta/argument_specs.yml",
        f"roles/{role}/tasks/main.yml",
        f"molecule/{role}/molecule.yml",
        f"molecule/{role}/converge.yml",
        f"molecule/{role}/lab.toml",
    ]
    assert not [file for file in wanted if not (ROOT / file).exists()]
    assert under(f"molecule/{role}/tests", suffix=".py")
    lab = tomllib.loads((ROOT / f"molecule/{role}/lab.toml").read_text())
    assert (lab["name"], lab["inventory"]) == (f"molecule-{role.replace('_', '-')}", "inventory")
    assert f'molecule("{role}")' in text_files()["tools/suite"], "the scenario is no part of `make test`"


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_of_a_role_are_those_of_its_specification(role: str) -> None:
    def read(name: str) -> dict[str, object]:
        file = ROOT / "roles" / role / name
        return (yaml.safe_load(file.read_text()) or {}) if file.exists() else {}

    options = read("meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    specified = {name: option["default"] for name, option in options.items() if "default" in option}
    given = read("defaults/main.yml")
    templated = {name for name, value in given.items() if "{{" in str(value)}
    assert set(given) <= set(options)
    assert {name: given[name] for name in given.keys() - templated if name in specified} == {
        name: value for name, value in specified.items() if name not in templated
    }


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_a_refusal_is_documented_and_tested(code: str) -> None:
    page = text_files()["docs/refusals.md"]  # of the same moment as the tests below: somebody may be writing it
    sections = dict(re.findall(r"^## (RS-\d+) (.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert code in sections, f"docs/refusals.md has no section {code}"
    title, *body = sections[code].strip().splitlines()
    assert title == REFUSALS[code].title
    means, look, act = (line.startswith("- ") for line in (body[0], *body[-2:]))
    assert (means, look, act) == (False, True, True), f"{code}: what it means, what to look at, what to do at night"
    assert body[-2].startswith("- **Look at** ")
    assert body[-1].startswith("- **At three in the morning:** ")
    tests = {name for name, text in under("tests", "molecule").items() if code in text}
    assert tests, f"no test names {code}"


def test_every_code_in_use_is_in_the_table() -> None:
    used = {
        code: name
        for name, text in under("plugins", "roles", "playbooks", "docs", "tests", "molecule").items()
        for code in CODE.findall(text)
        if code not in REFUSALS
    }
    assert not used


def test_every_plugin_names_its_licence() -> None:
    files = {name: text for name, text in under("plugins", suffix=".py").items() if text}
    assert files
    header = "# GNU General Public License v3.0+"
    licence = "# SPDX-License-Identifier: GPL-3.0-or-later"
    assert not [
        name for name, text in files.items() if header not in text or licence not in text.split("\n\n", maxsplit=1)[0]
    ]


def test_tasks_neither_hide_errors_nor_rely_on_handlers() -> None:
    found = []
    for name, text in under("roles", "playbooks", "molecule", suffix=".yml").items():
        if "/handlers/" in name:
            found.append(f"{name}: is a handler's file; what a restart needs is read from the state of the host")
        for document in yaml.safe_load_all(text):
            for task in tasks_of(document):
                found += [f"{name}: {key}" for key in ("ignore_errors", "handlers", "notify") if key in task]
                commands = [key for key in task if re.fullmatch(r"ansible\.builtin\.(shell|command|raw)", str(key))]
                found += [f"{name}: {key} without changed_when" for key in commands if "changed_when" not in task]
    assert not found


@pytest.mark.parametrize("playbook", ["certificates", "roll"])
def test_every_service_takes_new_certificates_and_is_rolled(playbook: str) -> None:
    def imported(name: str) -> list[str]:
        found = re.findall(r"import_playbook: rackspread\.ha\.(\w+)", text_files()[f"playbooks/{name}.yml"])
        return [each for one in found for each in (one, *imported(one))]

    order = imported("site")
    services = order[order.index("pki") + 1 : order.index("leaders")]
    assert {"etcd", "kafka", "haproxy"} <= set(services) <= set(imported(playbook))


def test_every_pin_has_a_reason() -> None:
    lines = text_files()["requirements.txt"].splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert not [line for line in pins if not re.fullmatch(r"[\w.\[\]-]+==[\w.]+ +# .+", line)]


def test_links_between_pages_lead_somewhere() -> None:
    dead = [
        f"{name}: {target}"
        for name, text in text_files().items()
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        if not urlsplit(target).scheme and not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert not dead


def test_the_versions_agree() -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    changelog = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text())
    assert galaxy["version"] in changelog["releases"]


def daemons() -> list[str]:
    """The units of members: what runs once, on a timer, needs no restart."""
    units = under("roles", suffix=".service.j2").items()
    return [name for name, text in units if "base" not in name and "Type=oneshot" not in text]


@pytest.mark.parametrize("name", daemons())
def test_a_unit_is_restarted_soon_however_often_it_has_ended(name: str) -> None:
    """systemd never forgets a restart (systemd/systemd#43813): steps of delays would last for the life of a host."""
    settings = dict(re.findall(r"^(\w+)=(.*)$", text_files()[name], re.MULTILINE))
    assert settings["StartLimitIntervalSec"] == "0"
    assert settings["Restart"] == "on-failure"
    assert settings["RestartSec"] in ("200ms", "500ms")
    assert "RestartSteps" not in settings
