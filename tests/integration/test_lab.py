# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab on this machine: real hosts are booted, broken, and must leave nothing behind. Needs root."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "lab/lab"
RUN = Path("/run/rackspread-lab")


def lab(*words: str, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([LAB, *words], capture_output=True, text=True, check=False, **options)
    if check:
        assert done.returncode == 0, f"lab {' '.join(words)}: {done.stdout}{done.stderr}"
    return done


class Running:
    """A lab that is up: its verbs, and commands on its hosts."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return lab("-l", self.name, *words, check=check)

    def ssh(self, host: str, command: str) -> str:
        return self("ssh", host, command).stdout.strip()

    def root(self, host: str, command: str, check: bool = True) -> str:
        """Run something at the console, which no cut and no reboot takes away."""
        return self("console", host, "sh", "-c", command, check=check).stdout.strip()

    def python(self, host: str, code: str) -> subprocess.CompletedProcess[str]:
        return self("console", host, "python3", "-c", code, check=False)

    def boot(self, host: str) -> str:
        return self.root(host, "cat /proc/sys/kernel/random/boot_id", check=False)

    def reach(self, host: str, address: str, port: int = 22) -> bool:
        code = f"import socket; socket.create_connection(('{address}', {port}), 3)"
        return self.python(host, code).returncode == 0

    def status(self, host: str) -> list[str]:
        return next(line.split() for line in self("status").stdout.splitlines() if line.startswith(f"{host} "))

    def wait_for_unit(self, host: str, unit: str, state: str) -> None:
        until(lambda: self.root(host, f"systemctl is-active {unit}", check=False) == state, f"{unit} {state} on {host}")


def define(folder: Path, name: str, network: int, **keys: object) -> Path:
    """Write a definition of a lab with one host, or as ``keys`` have it."""
    content = {"name": f"{name}", "network": f"198.18.{network}.0/24", "racks": {"rack1": 1}, "client": False} | keys
    path = folder / f"{name}.toml"
    racks = ", ".join(f"{rack} = {hosts}" for rack, hosts in content.pop("racks").items())
    path.write_text(
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items()) + f"racks = {{{racks}}}\n"
    )
    return path


def other_labs() -> list[str]:
    return [line.split()[0] for line in lab("list").stdout.splitlines()[1:]]


def groups(*parts: str) -> list[Path]:
    """Where a control group of a lab is, depending on how the machine mounts them."""
    return [
        root.joinpath("rackspread-lab", *parts) for root in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
    ]


def leftovers(name: str, cache: Path | None = None) -> list[str]:
    """What a lab left on the machine. Processes are found by their words too: one might have escaped its group."""
    words = (f"rackspread.{name}", f"/{name}/", f"rackspread-lab/{name}")
    found = [str(path) for path in [*RUN.glob(name), *Path("/run/netns").glob(f"rackspread.{name}*")]]
    found += [str(group) for group in groups(name) if group.exists()]
    found += [
        line for line in Path("/proc/self/mountinfo").read_text().splitlines() if any(word in line for word in words)
    ]
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found += [text for text in [backing.read_text()] if f"/{name}/" in text]
        except OSError:  # another lab released it this moment
            continue
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if path.parent.name != str(os.getpid()) and any(word in command for word in words):
            found.append(command)
    if cache:
        found += map(str, [*cache.glob(f"lab/disks/{name}"), *cache.glob("lab/images/.making*")])
    return found


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="session")
def racks(folder: Path) -> Iterator[Running]:
    """Two racks, a client, a volume on each host, and packages that start daemons where nobody stops them."""
    site = folder / "site/.rackspread"
    site.mkdir(parents=True)
    definition = define(
        folder, "t-racks", 30, racks={"rack1": 2, "rack2": 1}, client=True, volumes=["data"],
        layer=["etcd-server", "postgresql-17"], inventory="site",
    )  # fmt: skip
    try:
        lab("up", str(definition))
        yield Running("t-racks")
    finally:
        lab("-l", "t-racks", "down")
    until(lambda: not leftovers("t-racks"), f"nothing left: {leftovers('t-racks')}")
    assert not site.exists()


@pytest.fixture
def healed(racks: Running) -> Iterator[Running]:
    yield racks
    racks("heal")


# What a host is


def test_hosts_are_reached_as_an_ordinary_user_with_sudo(racks: Running) -> None:
    for host, address in {"r1h1": 11, "r1h2": 12, "r2h1": 21, "client": 200}.items():
        said = racks.ssh(
            host,
            "hostname; id -un; sudo id -un; getent hosts $(hostname) | tr -s ' '; systemctl is-system-running --wait",
        )
        assert said.split("\n") == [host, "operator", "root", f"198.18.30.{address} {host}", "running"]


def test_hosts_are_told_apart(racks: Running) -> None:
    ids = {racks.ssh(host, "cat /etc/machine-id; findmnt -no SOURCE /srv/data") for host in ("r1h1", "r1h2", "r2h1")}
    assert len(ids) == 3


def test_a_host_sees_its_own_network_and_no_other(racks: Running) -> None:
    assert racks.ssh("r1h1", "ls /sys/class/net; cat /sys/class/net/eth0/address").split() == [
        "eth0", "lo", "02:00:c6:12:1e:0b",
    ]  # fmt: skip


def test_a_second_up_changes_nothing(racks: Running, folder: Path) -> None:
    before = racks.boot("r1h1")
    assert "is up already" in lab("up", str(folder / "t-racks.toml")).stderr
    assert racks.boot("r1h1") == before


def test_another_definition_of_a_lab_that_is_up_is_refused(racks: Running, tmp_path: Path) -> None:
    done = lab("up", str(define(tmp_path, "t-racks", 30)), check=False)
    assert done.returncode == 1
    assert "is up with another definition" in done.stderr
    assert racks.status("r1h2")[3:] == ["on", "up", "running"]


def test_a_lab_that_another_checkout_made_is_understood(racks: Running) -> None:
    file = RUN / racks.name / "lab.json"
    before = file.read_text()
    content = json.loads(before)
    try:
        file.write_text(json.dumps({**content, "definition": {**content["definition"], "to_come": 1}, "to_come": 2}))
        assert racks.name in other_labs()
    finally:
        file.write_text(before)


def test_the_gateway_is_the_spine_and_not_the_bridge_of_the_rack(racks: Running) -> None:
    for host in ("r1h1", "r1h2", "r2h1"):
        racks.ssh(host, "sudo ip neigh flush all")
        assert racks.reach(host, "198.18.30.1", 80)
        assert "lladdr 02:00:c6:12:1e:01" in racks.root(host, "ip neigh show 198.18.30.1")


def test_no_way_leads_out(racks: Running) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 20)"
    assert "Network is unreachable" in racks.python("r1h1", code).stderr


def test_packages_come_through_the_cache_and_nothing_else_does(racks: Running) -> None:
    racks.ssh("r2h1", "sudo apt-get -q update && sudo apt-get -q -y install tree")
    assert racks.ssh("r2h1", "tree --version").startswith("tree v")
    ask = "GET http://example.org/ HTTP/1.0\\r\\n\\r\\n"
    code = f"import socket; c = socket.create_connection(('198.18.30.1', 80)); c.send(b'{ask}'); print(c.recv(40))"
    assert "403 Forbidden" in racks.python("r2h1", code).stdout


def test_a_layer_is_installed_and_nothing_of_it_was_formed_or_started(racks: Running) -> None:
    packages = racks.ssh("r1h1", "dpkg-query --show --showformat '${db:Status-Status} ' etcd-server postgresql-17")
    assert packages.split() == ["installed", "installed"]
    assert racks.ssh("r1h1", "pg_lsclusters --no-header; sudo find /var/lib/etcd /var/lib/postgresql -mindepth 2") == ""
    units = "etcd.service postgresql.service"
    states = racks.ssh("r1h1", f"systemctl is-active {units}; systemctl is-enabled {units}; true")
    assert states.split() == ["inactive", "inactive", "disabled", "disabled"]
    helpers = "/usr/sbin/policy-rc.d /etc/postgresql-common/createcluster.d/lab.conf"
    assert racks.ssh("r1h1", f"ls {helpers} 2>/dev/null; true") == ""


# Faults


def test_a_cut_rack_is_alone_and_whole_in_itself(healed: Running) -> None:
    healed("cut", "rack1")
    assert healed.reach("r1h1", "198.18.30.12")
    assert not healed.reach("r1h1", "198.18.30.21")
    assert not healed.reach("client", "198.18.30.11")
    assert not healed.reach("r1h1", "198.18.30.1", 80)
    assert healed.reach("client", "198.18.30.21")
    assert healed.status("r1h1")[4:6] == ["rack", "cut"]
    healed("heal", "rack1")
    assert healed.reach("r1h1", "198.18.30.21")


def test_a_cut_host_is_alone_even_after_a_reboot(healed: Running) -> None:
    healed("cut", "r1h1")
    assert not healed.reach("r1h2", "198.18.30.11")
    before = healed.boot("r1h1")
    healed.root("r1h1", "systemctl reboot", check=False)
    until(lambda: healed.boot("r1h1") not in ("", before), "r1h1 boots again")
    healed.wait_for_unit("r1h1", "ssh", "active")
    assert not healed.reach("r1h2", "198.18.30.11")
    assert healed.status("r1h1")[4] == "cut"
    assert healed("heal").stdout == "mended: r1h1\n"
    assert healed.reach("r1h2", "198.18.30.11")


def test_a_command_at_the_console_that_is_stopped_and_killed_holds_nothing_up(racks: Running) -> None:
    # As a shutdown does to whoever is there: one that never saw its command end kept the host from going down.
    command = [LAB, "-l", "t-racks", "console", "r1h1", "sh", "-c", "echo $$ >/run/stopped; kill -STOP $$"]
    state = "cut -d ' ' -f 3 /proc/$(cat /run/stopped)/stat"
    with subprocess.Popen(command) as console:
        try:
            until(lambda: racks.root("r1h1", state, check=False) == "T", "the command is stopped")
            racks.root("r1h1", "kill -KILL $(cat /run/stopped)")
            assert console.wait(timeout=30) == 128 + signal.SIGKILL
        finally:
            console.send_signal(signal.SIGCONT)
            console.kill()


def test_a_cut_for_a_while_heals_by_itself(healed: Running) -> None:
    healed("cut", "rack1", "--for", "2")
    assert healed.status("r1h1")[4:6] == ["rack", "cut"]
    until(lambda: healed.status("r1h1")[4] == "up", "the lab heals rack1")
    assert healed.reach("client", "198.18.30.11")


def test_who_heals_ends_what_would_have_healed(healed: Running) -> None:
    watches = groups("t-racks", "undo", "heal.rack1")
    healed("cut", "rack1", "--for", "600")
    assert any(group.exists() for group in watches)
    assert healed("heal").stdout == "mended: rack1\n"
    assert not any(group.exists() for group in watches)
    healed("cut", "rack1", "--for", "600")
    healed("cut", "rack1")
    assert not any(group.exists() for group in watches)


def test_a_rack_that_is_off_for_a_while_comes_back_by_itself(racks: Running) -> None:
    before = {host: racks.boot(host) for host in ("r1h1", "r1h2")}
    racks("power-off", "rack1", "--for", "2")
    assert [racks.status(host)[3] for host in before] == ["off", "off"]
    assert racks.status("r2h1")[3] == "on"
    for host, boot in before.items():
        until(lambda host=host, boot=boot: racks.boot(host) not in ("", boot), f"the lab starts {host}")
        racks.wait_for_unit(host, "ssh", "active")
    racks("power-on", "rack1")
    assert [racks.ssh(host, "hostname") for host in before] == ["r1h1", "r1h2"]


def test_a_killed_unit_goes_on_running_on_the_neighbour(racks: Running) -> None:
    for host in ("r1h1", "r1h2"):
        racks.root(host, "systemd-run --collect --unit=victim sleep 1000")
    neighbour = racks.root("r1h2", "systemctl show --property=MainPID victim")
    racks("kill", "r1h1", "victim")
    racks.wait_for_unit("r1h1", "victim", "inactive")
    assert racks.root("r1h2", "systemctl is-active victim") == "active"
    assert racks.root("r1h2", "systemctl show --property=MainPID victim") == neighbour
    racks("kill", "r1h2", "victim", "TERM")
    racks.wait_for_unit("r1h2", "victim", "inactive")


def test_a_frozen_unit_goes_on_running_on_the_neighbour(racks: Running) -> None:
    def count(host: str) -> int:
        return int(racks.root(host, "stat --format=%s /tmp/beats"))

    def goes_on(host: str) -> None:
        before = count(host)
        until(lambda: count(host) > before, f"the unit of {host} goes on")

    for host in ("r1h1", "r1h2"):
        racks.root(
            host,
            "echo >/tmp/beats; systemd-run --collect --unit=beat sh -c 'while sleep 0.05; do echo >>/tmp/beats; done'",
        )
    racks("freeze", "r1h1", "beat")
    frozen = count("r1h1")
    goes_on("r1h2")
    assert count("r1h1") == frozen
    racks("thaw", "r1h1", "beat")
    goes_on("r1h1")
    for host in ("r1h1", "r1h2"):
        racks("kill", host, "beat")


def test_a_reboot_gives_a_fresh_network_and_the_same_disk(racks: Running) -> None:
    racks.ssh(
        "r1h2",
        "echo kept | sudo tee /etc/kept; sudo ip address add 198.18.30.100/24 dev eth0; sudo nft add table inet left",
    )
    assert racks.reach("client", "198.18.30.100")
    before = racks.boot("r1h2")
    racks("ssh", "r1h2", "sudo systemctl reboot", check=False)
    until(lambda: racks.boot("r1h2") not in ("", before), "r1h2 boots again")
    until(lambda: racks("ssh", "r1h2", "true", check=False).returncode == 0, "r1h2 lets us in")
    assert not racks.reach("client", "198.18.30.100")
    assert racks.ssh("r1h2", "cat /etc/kept; sudo nft list tables; findmnt -no TARGET /srv/data") == "kept\n/srv/data"


def test_power_off_is_silent_and_lasts_until_power_on(racks: Running) -> None:
    listen = (
        "import socket, time; s = socket.create_server(('', 7000)); c = s.accept()[0]; c.send(b'x'); time.sleep(1000)"
    )
    racks("console", "r1h1", "systemd-run", "--unit=listen", "--collect", "python3", "-c", listen)
    talk = (
        "import socket; c = socket.create_connection(('198.18.30.11', 7000)); c.recv(1); c.settimeout(4); "
        "print('connected', flush=True)\ntry: print(c.recv(1))\nexcept TimeoutError: print('silence')"
    )
    with subprocess.Popen(
        [LAB, "-l", "t-racks", "console", "client", "python3", "-c", talk], stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdout
        assert peer.stdout.readline() == "connected\n"
        racks("power-off", "r1h1")
        assert peer.stdout.read() == "silence\n"
    assert racks.status("r1h1")[3:] == ["off", "down", "off"]
    refused = racks("ssh", "r1h1", "true", check=False)
    assert (refused.returncode, "r1h1 is off" in refused.stderr) == (1, True)
    assert racks.boot("r1h2")
    racks("power-on", "r1h1")
    assert racks.ssh("r1h1", "hostname; systemctl is-active listen; true") == "r1h1\ninactive"
    racks("power-on", "r1h1")


def test_a_command_that_worked_before_power_off_works_after_power_on(racks: Running) -> None:
    racks.ssh("r2h1", "true")  # a master connection stays behind
    racks("power-off", "r2h1")
    racks("power-on", "r2h1")
    assert racks.ssh("r2h1", "hostname") == "r2h1"


# Volumes


def uuid(racks: Running, host: str) -> str:
    return racks.root(host, "findmnt --noheadings --output UUID /srv/data", check=False)


def test_a_daemon_does_not_start_without_its_volume(racks: Running) -> None:
    install = "[Install]\\nWantedBy=multi-user.target\\n"
    unit = f"[Unit]\\nRequiresMountsFor=/srv/data\\n[Service]\\nExecStart=sleep 1000\\n{install}"
    racks.root("r2h1", f"printf '{unit}' >/etc/systemd/system/needy.service; systemctl enable --now needy")
    first = uuid(racks, "r2h1")
    by_label, by_uuid = "/dev/disk/by-label/data", f"/dev/disk/by-uuid/{first}"
    assert racks.root("r2h1", f"readlink -f {by_label}") == racks.root("r2h1", f"readlink -f {by_uuid}")
    assert racks.root("r2h1", "lsblk --noheadings --output UUID $(findmnt -no SOURCE /srv/data)") == first
    racks("volume", "r2h1", "detach", "data")
    assert uuid(racks, "r2h1") == ""
    racks("power-off", "r2h1")
    racks("power-on", "r2h1")
    assert uuid(racks, "r2h1") == ""
    assert racks.root("r2h1", "systemctl is-active needy", check=False) == "inactive"
    racks("volume", "r2h1", "attach", "data")
    assert uuid(racks, "r2h1") == first
    racks.root("r2h1", "systemctl start needy; systemctl disable --now needy; rm /etc/systemd/system/needy.service")


@pytest.mark.parametrize("power", ["on", "off"])
def test_an_emptied_volume_is_another_file_system(racks: Running, power: str) -> None:
    first = uuid(racks, "r1h2")
    racks.root("r1h2", "touch /srv/data/treasure")
    if power == "off":
        racks("power-off", "r1h2")
    racks("volume", "r1h2", "empty", "data")
    if power == "off":
        racks("power-on", "r1h2")
    assert re.fullmatch("[0-9a-f-]{36}", uuid(racks, "r1h2"))
    assert uuid(racks, "r1h2") != first
    assert racks.root("r1h2", "ls -A /srv/data") == "lost+found"


def test_a_volume_in_use_is_not_taken_away(racks: Running) -> None:
    racks.root("r1h2", "systemd-run --collect --unit=user --working-directory=/srv/data sleep 1000")
    done = racks("volume", "r1h2", "detach", "data", check=False)
    assert done.returncode == 1
    assert re.search(r"The volume data of r1h2 is in use by sleep \(\d+\)", done.stderr)
    racks.root("r1h2", "systemctl stop user; touch /srv/data/still-mounted")
    assert racks.status("r1h2")[-1] == "running"


# Refusals


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["frobnicate"], "invalid choice: 'frobnicate' (choose from"),
        (["ssh", "r7h1"], "There is no host 'r7h1' here. Known: r1h1, r1h2, r2h1, client."),
        (["cut", "rack7"], "There is no rack or host 'rack7' here. Known: rack1, rack2, r1h1"),
        (["cut", "rack1", "--for", "0"], "1 to 86400 seconds are possible, not '0'."),
        (["volume", "r1h1", "empty", "wal"], "There is no volume 'wal' here. Known: data."),
        (["kill", "r1h1", "ssh", "SIGNONE"], "There is no signal 'SIGNONE'. Known: HUP, INT"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are(
    racks: Running, words: list[str], sentence: str
) -> None:
    done = racks(*words, check=False)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_lab_that_is_not_there_is_answered_with_those_that_are(racks: Running) -> None:
    done = lab("-l", "t-none", "status", check=False)
    assert done.returncode == 1
    assert re.search("The lab t-none is not up: `lab up` starts it. These are: .*t-racks", done.stderr)


def test_a_unit_that_is_not_there_is_named(racks: Running) -> None:
    assert racks("freeze", "r1h1", "nosuch", check=False).stderr == "lab: r1h1 has no unit nosuch.\n"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('name = "Loud"', "a lab's name is 1 to 24 small letters"),
        ('network = "10.0.0.0/24"', "network must be a /24 of 198.18.0.0/15"),
        ("racks = {row = 1}", "a rack is called rack1 … rack9, not 'row'"),
        ("racks = {rack1 = 10}", "rack1 has 10 hosts; 1 to 9 are possible"),
        ('volumes = ["/data"]', "a volume's name is 1 to 12 small letters"),
        ('layer = ["--purge"]', "layer names Debian packages"),
        ('archives = ["emacs"]', "There is no archive 'emacs' here. Known: envoy"),
        ('colour = "red"', "There is no key 'colour' here. Known: archives, client"),
        ("client = 1", "client must be a bool"),
        ("= 3", "is not TOML"),
    ],
)
def test_a_definition_that_can_not_be_is_refused(tmp_path: Path, line: str, sentence: str) -> None:
    good = {"name": 'name = "t-bad"', "network": 'network = "198.18.31.0/24"', "racks": "racks = {rack1 = 1}"}
    good[line.split()[0]] = line
    definition = tmp_path / "bad.toml"
    definition.write_text("\n".join(good.values()) + "\n")
    done = lab("up", str(definition), check=False)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("before", "sentence"),
    [
        (
            "mount --bind /dev/null /usr/bin/socat",
            "Commands are missing: socat. Install them: apt-get install --no-install-recommends socat",
        ),
        (
            "grep -v overlay /proc/filesystems >fs; mount --bind fs /proc/filesystems",
            "This kernel has no overlay. Load the module",
        ),
        (
            "mkdir d; mount -t tmpfs -o size=1m tmpfs d; export RACKSPREAD_CACHE=$PWD/d",
            "Make room, or name another folder in RACKSPREAD_CACHE",
        ),
    ],
)
def test_a_machine_that_can_not_host_a_lab_is_told_why(tmp_path: Path, before: str, sentence: str) -> None:
    definition = define(tmp_path, "t-refused", 32)
    script = f"{before}; exec {LAB} up {definition}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr
    assert not leftovers("t-refused")


def test_root_is_asked_for() -> None:
    done = subprocess.run(["unshare", "--user", LAB, "list"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "lab: The lab boots hosts and needs root. Run it as root or with sudo.\n",
    )


# A lab's beginning and end


def test_two_labs_do_not_touch_each_other(racks: Running, folder: Path) -> None:
    before = [racks.boot("r1h1"), uuid(racks, "r1h1")]
    second = Running("t-second")
    try:
        lab("up", str(define(folder, "t-second", 33, volumes=["data"])))
        assert second.ssh("r1h1", "cat /etc/machine-id") != racks.ssh("r1h1", "cat /etc/machine-id")
        for running in (second, racks):
            running.root("r1h1", "systemd-run --collect --unit=same sleep 1000")
        second("kill", "r1h1", "same")
        second("cut", "rack1")
        assert racks.root("r1h1", "systemctl is-active same") == "active"
        assert racks.reach("r2h1", "198.18.30.11")
    finally:
        second("down")
    until(lambda: not leftovers("t-second"), "nothing of t-second is left")
    assert [racks.boot("r1h1"), uuid(racks, "r1h1")] == before
    racks("kill", "r1h1", "same")
    racks.ssh("r1h1", "sudo apt-get -q update")


@pytest.mark.parametrize("moment", ["network", "image", "disks", "boot"])
def test_what_a_killed_up_leaves_is_taken_down(racks: Running, tmp_path: Path, moment: str) -> None:
    """The other lab keeps the package cache alive, so that an image has to be built, but little has to be fetched."""
    moments: dict[str, Callable[[], object]] = {
        "network": lambda: Path("/run/netns/rackspread.t-killed").exists(),
        "image": lambda: list(tmp_path.glob("lab/images/.making-*/usr")),
        "disks": lambda: list(Path("/run/rackspread-lab/t-killed").glob("id_ed25519.pub")),
        "boot": lambda: list(Path("/run/rackspread-lab/t-killed").glob("console/*")),
    }
    definition = define(tmp_path, "t-killed", 34, racks={"rack1": 1, "rack2": 1}, volumes=["data", "wal"])
    environment = dict(os.environ)
    if moment == "image":
        environment["RACKSPREAD_CACHE"] = str(tmp_path)
    log = tmp_path / "log"
    with log.open("w") as said, subprocess.Popen([LAB, "up", definition], env=environment, stderr=said) as up:
        try:
            until(lambda: moments[moment]() or up.poll() is not None, f"`up` reaches its {moment}")
        finally:
            up.send_signal(signal.SIGKILL)
    assert up.returncode == -signal.SIGKILL, log.read_text()
    status = lab("-l", "t-killed", "status", check=False)
    assert "The lab t-killed is half built" in status.stderr
    lab("-l", "t-killed", "down")
    until(lambda: not leftovers("t-killed", tmp_path), f"nothing is left: {leftovers('t-killed', tmp_path)}")


def test_the_next_up_clears_what_a_killed_one_left(racks: Running, tmp_path: Path) -> None:
    definition = define(tmp_path, "t-killed", 34, volumes=["data"])
    try:
        with subprocess.Popen([LAB, "up", definition], stderr=subprocess.DEVNULL) as up:
            until(lambda: list(RUN.glob("t-killed/console/*")) or up.poll() is not None, "`up` boots its host")
            up.send_signal(signal.SIGKILL)
        assert "clearing what an unfinished `up` left" in lab("up", str(definition)).stderr
        assert Running("t-killed").ssh("r1h1", "systemctl is-system-running --wait") == "running"
    finally:
        lab("-l", "t-killed", "down")
    until(lambda: not leftovers("t-killed"), f"nothing is left: {leftovers('t-killed')}")


@pytest.mark.parametrize(
    ("layout", "before"),
    [
        ("cgroup2 alone", "umount --recursive --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"),
        ("cgroup2 nowhere", "umount --recursive --lazy /sys/fs/cgroup && mount -t tmpfs tmpfs /sys/fs/cgroup"),
    ],
)
def test_other_layouts_of_control_groups_will_do(racks: Running, tmp_path: Path, layout: str, before: str) -> None:
    definition = define(tmp_path, "t-layout", 37, volumes=["data"])
    script = f"""
        {before} || exit 9
        trap '{LAB} -l t-layout down' EXIT
        {LAB} up {definition} &&
        {LAB} -l t-layout ssh r1h1 sudo systemd-run --unit=victim --property=MemoryMax=64M sleep 1000 &&
        {LAB} -l t-layout kill r1h1 victim &&
        {LAB} -l t-layout ssh r1h1 systemctl is-failed victim
    """
    command = ["unshare", "--mount", "--propagation=slave", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "failed\nt-layout is down." in done.stdout) == (0, True), (
        f"{layout}: {done.stdout}{done.stderr}"
    )
    until(lambda: not leftovers("t-layout"), f"nothing is left: {leftovers('t-layout')}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_clears_up_itself(racks: Running, tmp_path: Path, number: signal.Signals) -> None:
    definition = define(tmp_path, "t-killed", 34, volumes=["data"])
    with subprocess.Popen([LAB, "up", definition], stderr=subprocess.DEVNULL) as up:
        until(lambda: list(RUN.glob("t-killed/console/*")) or up.poll() is not None, "`up` boots its host")
        up.send_signal(number)
    assert up.returncode == 128 + number
    assert not leftovers("t-killed")


def test_a_host_that_does_not_boot_is_named_with_its_last_words(racks: Running, tmp_path: Path) -> None:
    definition = define(tmp_path, "t-broken", 35, racks={"rack1": 2})
    with subprocess.Popen([LAB, "up", definition], stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr
        inits = groups("t-broken", "hosts", "r1h2", "machine", "payload")
        until(lambda: any(group.exists() for group in inits) or up.poll() is not None, "r1h2 boots")
        host = next(group for group in groups("t-broken", "hosts", "r1h2") if group.exists())
        (host / "cgroup.kill").write_text("1")
        said = up.stderr.read()
    assert up.returncode == 1
    assert "r1h2 ended while it booted. Its console's last lines:" in said
    assert not leftovers("t-broken")


def test_down_of_what_is_not_up_is_harmless() -> None:
    assert lab("-l", "t-none", "down").stdout == "t-none was not up.\n"


def test_the_last_down_puts_the_machine_back(folder: Path) -> None:
    """Runs last, when the session's lab is down; with other people's labs on the machine there is nothing to see."""
    keys = [
        "vm/swappiness",
        "vm/overcommit_memory",
        "vm/max_map_count",
        "fs/inotify/max_user_instances",
        "kernel/pid_max",
    ]
    others = [name for name in other_labs() if name != "t-racks"]
    if others:
        pytest.skip(f"other labs are up: {', '.join(others)}")
    lab("-l", "t-racks", "down")
    assert not RUN.exists()
    before = {key: Path("/proc/sys", key).read_text() for key in keys}
    try:
        lab("up", str(define(folder, "t-last", 36)))
        Running("t-last").ssh("r1h1", "sudo sysctl vm.swappiness=7 vm.overcommit_memory=1 vm.max_map_count=262144")
        assert Path("/proc/sys/vm/swappiness").read_text() == "7\n"
        assert int(Path("/proc/sys/fs/inotify/max_user_instances").read_text()) >= 8192
    finally:
        lab("-l", "t-last", "down")
    assert {key: Path("/proc/sys", key).read_text() for key in keys} == before
    assert not RUN.exists()
    assert not any(group.exists() for group in groups())
    assert not leftovers("t-last")
