"""The plugins inside Ansible itself: inventories of this repository and of a test's own, through the real programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
SPEC = "plugin: rackspread.ha.placement\nservices: {etcd: {voters: 3}}\n"
HOSTS = """\
all:
  children:
    rack1: {hosts: {a: {ansible_host: 192.0.2.1}}}
    rack2: {hosts: {b: {ansible_host: 192.0.2.2}}}
    rack3: {hosts: {c: {ansible_host: 192.0.2.3}}}
"""


def ansible(program: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program of Ansible with this repository's ansible.cfg and nothing else of the environment's."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_NOCOLOR": "1", **variables}
    command = [program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)


def listed(inventory: Path) -> dict[str, Any]:
    done = ansible("ansible-inventory", "-i", inventory, "--list")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def slices(inventory: Path, folder: Path) -> dict[str, Any]:
    """The variable `rackspread` of every host that has one, as tasks see it."""
    out = folder / "slices.json"
    content = (
        "{% set found = {} %}{% for host in groups.all if 'rackspread' in hostvars[host] %}"
        "{{ found.update({host: hostvars[host].rackspread}) or '' }}{% endfor %}{{ found | to_json }}"
    )
    done = play(inventory, folder, {"ansible.builtin.copy": {"content": content, "dest": str(out), "mode": "0600"}})
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text())


def play(inventory: Path, folder: Path, *tasks: dict[str, Any], **variables: str) -> subprocess.CompletedProcess[str]:
    playbook = folder / "play.json"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": list(tasks)}]))
    return ansible("ansible-playbook", "-i", inventory, playbook, **variables)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "services.rackspread.yml").write_text(SPEC)
    return folder


def test_the_lab(tmp_path: Path) -> None:
    # A copy: beside the files themselves may be the lock of a lab that is up.
    copy = shutil.copytree(ROOT / "inventories/lab", tmp_path / "lab", ignore=shutil.ignore_patterns(".*"))
    inventory = listed(copy)
    own = slices(copy, tmp_path)
    assert inventory["rs_postgres_shard1"]["hosts"] == ["r1h2", "r2h3", "r3h2"]
    assert inventory["rs_postgres"]["children"] == ["rs_postgres_shard"]
    assert "client" not in own
    assert [instance["unit"] for instance in own["r2h3"]["instances"]] == [
        "rackspread-postgres-shard1",
        "rackspread-redis-shard3",
        "rackspread-edge-balancer1",
    ]
    assert own["r2h3"]["groups"]["postgres_shard2"]["members"][1] == {
        "id": 2,
        "host": "r2h2",
        "rack": "rack2",
        "leader": True,
        "address": "198.18.0.22",
        "ports": {"main": 25433, "rest": 8009, "write": 5433, "read": 6433},
    }


@pytest.mark.parametrize("name", ["target", "example"])
def test_the_other_inventories_of_the_repository(name: str) -> None:
    done = ansible("ansible-playbook", "-i", ROOT / "inventories" / name, ROOT / "playbooks/plan.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Site {name}: 3 racks, " in done.stdout
    assert "WARNING" not in done.stderr


def test_variables_are_read_from_folders_too_and_templates_are_filled_in(site: Path, tmp_path: Path) -> None:
    (site / "group_vars").mkdir()
    (site / "host_vars").mkdir()
    (site / "group_vars/all.yml").write_text("rackspread_data_root: /srv/all\nnet: 198.51.100\n")
    (site / "group_vars/rack2.yml").write_text("rackspread_data_roots: {etcd: '/srv/{{ inventory_hostname }}'}\n")
    (site / "host_vars/c.yml").write_text("rackspread_address: '{{ net }}.3'\nrackspread_data_root: /srv/c\n")
    found = slices(site, tmp_path)
    assert {host: own["instances"][0]["data"] for host, own in found.items()} == {
        "a": "/srv/all/etcd_voter1",
        "b": "/srv/b/etcd_voter1",
        "c": "/srv/c/etcd_voter1",
    }
    members = found["a"]["groups"]["etcd_voter1"]["members"]
    assert [member["address"] for member in members] == ["192.0.2.1", "192.0.2.2", "198.51.100.3"]


def test_variables_of_all_hosts_are_those_of_a_rack_in_another_file_too(site: Path, tmp_path: Path) -> None:
    first, rack3 = HOSTS.split("    rack3: ")
    (site / "hosts.yml").write_text(f"{first}  vars: {{rackspread_data_root: /srv/all}}\n")
    (site / "more.yml").write_text(f"rack3: {rack3}")
    placed = slices(site, tmp_path)
    assert {host: own["instances"][0]["data"] for host, own in placed.items()} == dict.fromkeys(
        "abc", "/srv/all/etcd_voter1"
    )


def test_variables_in_folders_can_be_left_out(site: Path, tmp_path: Path) -> None:
    (site / "group_vars").mkdir()
    (site / "group_vars/all.yml").write_text("rackspread_data_root: /srv/all\n")
    (site / "services.rackspread.yml").write_text(f"{SPEC}use_vars_plugins: false\n")
    assert slices(site, tmp_path)["a"]["instances"][0]["data"] == "/var/lib/rackspread/etcd_voter1"


def test_the_plan_is_shown_without_a_connection_and_parsing_writes_nothing(site: Path) -> None:
    done = ansible("ansible-playbook", "-i", site, ROOT / "playbooks/plan.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "a  192.0.2.1    b  192.0.2.2    c  192.0.2.3" in done.stdout
    assert "There is no lock yet" in done.stdout
    assert sorted(file.name for file in site.iterdir()) == ["hosts.yml", "services.rackspread.yml"]


def test_the_memory_of_cached_facts_is_the_capacity_where_none_is_given(site: Path, tmp_path: Path) -> None:
    cached = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "facts")}
    fact = {"set_fact": {"ansible_memtotal_mb": 511, "cacheable": True}, "delegate_to": "a", "delegate_facts": True}
    assert play(site, tmp_path, fact, **cached).returncode == 0
    told = ansible("ansible-inventory", "-i", site, "--list", **cached).stderr
    assert "RS-013: etcd_voter1 needs 3 hosts" in told
    assert "1 MiB more on a would do" in " ".join(told.split())
    (site / "host_vars").mkdir()
    (site / "host_vars/a.yml").write_text("rackspread_capacity: 512\n")
    assert "RS-013" not in ansible("ansible-inventory", "-i", site, "--list", **cached).stderr


def write_lock(site: Path, leaving: str = "") -> None:
    """The lock of a formed group of voters on a, b and c, one of which may be on its way out."""
    (site / ".rackspread").mkdir()
    members = "".join(
        f"    - {{id: {at}, host: {host}, rack: rack{at}, leader: false, address: 192.0.2.{at}, ports: {{main: 1}}"
        f"{', leaving: true' if host == leaving else ''}}}\n"
        for at, host in enumerate("abc", 1)
    )
    (site / ".rackspread/lock.yml").write_text(
        "version: 1\nsite_id: the-site\ngeneration: 7\ncomponents: {etcd_voter: 2}\ngroups:\n  etcd_voter1:\n"
        f"    index: 1\n    next_id: 4\n    intent: null\n    formed: the-cluster\n    members:\n{members}"
    )


def test_the_lock_is_read_and_compared_with(site: Path, tmp_path: Path) -> None:
    write_lock(site)
    done = ansible("ansible-playbook", "-i", site, ROOT / "playbooks/plan.yml")
    assert "Against the lock (generation 7):\n  etcd_voter1 takes the ports of a as " in done.stdout
    assert slices(site, tmp_path)["a"]["site"] == {"id": "the-site", "name": "site"}


def test_a_roll_is_refused_while_members_move_before_any_host_is_asked(site: Path, tmp_path: Path) -> None:
    write_lock(site, leaving="c")
    converge = {"service": "etcd", "groups": [{"name": "etcd_voter1", "index": 1, "members": []}], "data_root": "/srv"}
    task = {"rackspread.ha.converge": converge, "vars": {"rackspread_roll": True}}
    done = play(site, tmp_path, task)
    assert done.returncode == 2
    assert "RS-131: Moves were begun and are not ended (etcd_voter1: member 3 on c (rack3) " in done.stdout


def test_a_refusal_ends_the_run_with_its_sentence(site: Path) -> None:
    (site / "services.rackspread.yml").write_text(SPEC.replace("voters: 3", "voters: 4"))
    done = ansible("ansible-playbook", "-i", site, ROOT / "playbooks/plan.yml")
    assert done.returncode == 2
    assert "msg: 'RS-005: `voters` of etcd is 4, an even number of voters. Ask for 3 or 5" in done.stdout


def test_a_spec_that_is_no_yaml(site: Path) -> None:
    (site / "services.rackspread.yml").write_text("plugin: rackspread.ha.placement\nservices:\n")
    assert "RS-001: " in ansible("ansible-inventory", "-i", site, "--list").stderr


def test_a_second_spec_is_refused(site: Path) -> None:
    (site / "zebra.rackspread.yml").write_text(SPEC)
    assert "RS-024: " in ansible("ansible-inventory", "-i", site, "--list").stderr


def test_hosts_that_come_after_the_spec_are_told_so(site: Path) -> None:
    (site / "hosts.yml").rename(site / "z.yml")
    told = ansible("ansible-inventory", "-i", site, "--list").stderr
    assert "RS-006: No group rack* with a host in it was found" in told
    assert "in a file that is parsed before the spec" in " ".join(told.split())


def test_lookup_and_filters_inside_a_play(site: Path, tmp_path: Path) -> None:
    done = play(
        site,
        tmp_path,
        {"debug": {"msg": "{{ lookup('rackspread.ha.topology').groups.etcd_voter1.members | map(attribute='host') }}"}},
        {"debug": {"msg": "{{ lookup('rackspread.ha.topology', 'settings').etcd.failover }}"}},
        {"debug": {"msg": "{{ groups | rackspread.ha.rack_spread(groups=1, members=2, hosts=['c', 'b']) | to_json }}"}},
        {"debug": {"msg": "{{ ['2001:db8::1', '192.0.2.1'] | map('rackspread.ha.bracket') | join(' ') }}"}},
        {"rackspread.ha.plan": {"buildable": True}},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "msg: fast" in done.stdout
    assert '{"host": "b", "rack": "rack2", "leader": true}' in done.stdout
    assert "msg: '[2001:db8::1] 192.0.2.1'" in done.stdout
    assert "Site site:" not in done.stdout


@pytest.mark.parametrize(("task", "told"), [
    ({"debug": {"msg": "{{ lookup('rackspread.ha.topology', 'grups') }}"}}, "The topology has no grups; it has site,"),
    ({"debug": {"msg": "{{ groups | rackspread.ha.rack_spread(groups=1, members=9) }}"}}, "RS-011: group1 needs 9"),
    ({"debug": {"msg": "{{ 'db1' | rackspread.ha.bracket }}"}}, "'db1' is not an IP address"),
    ({"rackspread.ha.plan": {"bildable": True}}, "Unsupported parameters"),
])  # fmt: skip
def test_what_is_wrong_in_a_play_is_said(site: Path, tmp_path: Path, task: dict[str, Any], told: str) -> None:
    done = play(site, tmp_path, task)
    assert done.returncode == 2
    assert told in done.stdout + done.stderr


def test_a_run_without_a_spec(site: Path, tmp_path: Path) -> None:
    done = play(site / "hosts.yml", tmp_path, {"rackspread.ha.plan": {}})
    assert done.returncode == 2
    assert "RS-022: The inventory of this run has no rackspread spec." in done.stdout + done.stderr


def test_a_thousand_hosts_are_listed_while_one_waits(tmp_path: Path) -> None:
    """Measured at 1.4 s of a core, 0.9 s of it without the spec; the limit leaves room for a slow and busy machine."""
    racks = {
        f"rack{r}": {"hosts": {f"r{r}h{h}": {"ansible_host": f"10.0.{r}.{h}"} for h in range(1, 51)}}
        for r in range(1, 21)
    }
    (tmp_path / "hosts.yml").write_text(json.dumps(racks))
    (tmp_path / "services.rackspread.yml").write_text(
        "plugin: rackspread.ha.placement\nservices: {postgres: {shards: 300}, redis: {shards: 300}, edge: {}}\n"
    )
    before = os.times().children_user
    inventory = listed(tmp_path)
    assert os.times().children_user - before < 30
    assert sum("rackspread" in values for values in inventory["_meta"]["hostvars"].values()) == 1000
    assert inventory["_meta"]["hostvars"]["r1h1"]["rackspread"].startswith("{{ lookup('rackspread.ha.slice'")
