"""What the tests of every scenario share: its lab, and its hosts to be asked over ssh.

A test asks the service, not the files: `hosts["r1h1"].check_output("…")` runs there as root.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tomllib
from collections.abc import Generator
from pathlib import Path

import pytest
import testinfra

ROOT = Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Lab:
    """The running lab of a scenario: its name, its definition and the folder of its inventory."""

    name: str
    definition: dict[str, object]
    inventory: Path

    def __call__(self, *arguments: str, timeout: float = 120) -> str:
        """Run a command of the lab's own program (`lab("cut", "rack1")`); its output. Raises where it fails."""
        command = [ROOT / "lab/lab", "-l", self.name, *arguments]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=timeout).stdout


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    # The scenario is the folder that the tests lie under, so that they also run without Molecule, on a lab that is up.
    scenario = next(Path(item.path).parents[1] for item in request.session.items)
    definition = tomllib.loads((scenario / "lab.toml").read_text())
    return Lab(definition["name"], definition, scenario / "inventory")


@pytest.fixture(scope="session")
def hosts(lab: Lab) -> dict[str, testinfra.host.Host]:
    """The hosts of the racks, and `client` where the lab has one, by name."""
    names = [f"r{rack[4:]}h{n}" for rack, count in lab.definition["racks"].items() for n in range(1, count + 1)]
    names += ["client"] if lab.definition.get("client", True) else []
    config = f"/run/rackspread-lab/{lab.name}/ssh_config"
    return {name: testinfra.get_host(f"ssh://{name}", ssh_config=config, sudo=True) for name in names}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the daemons said last where a test failed: the lab is gone by the time that somebody reads of it."""
    report = yield
    if report.failed and "hosts" in item.funcargs:
        for name, host in item.funcargs["hosts"].items():
            try:
                said = host.run("journalctl --unit 'rackspread-*' --lines 30 --no-pager --output short-precise").stdout
            except RuntimeError as error:
                said = str(error)
            report.sections.append((f"journal of {name}", said))
    return report
