# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One booted host: its disk, its life from power on to power off, and commands at its console.

A small loop, the supervisor, starts ``lab _boot`` again for as long as the host ends by rebooting. Each boot is a fresh
systemd-nspawn with a network namespace, a mount namespace and a control group of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import NoReturn

from . import network, packages, volumes
from .cgroup import Cgroup
from .definition import USER, Host
from .errors import LabError
from .process import run, spawn
from .state import Lab

PROGRAM = Path(__file__).parent.parent / "lab"
REBOOT_STATUS = 133
"""What systemd-nspawn --keep-unit ends with when its host asked for a reboot."""
SUPERVISOR = f'while "$@"; [ $? -eq {REBOOT_STATUS} ]; do :; done'
CONSOLE_LINES = 15
CONSOLE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def create(lab: Lab, host: Host) -> None:
    """Make a host's disk: an empty upper layer with what tells this host from the others, and its data volumes."""
    disk = lab.disks / host.name
    for part in ("upper", "work", "root"):
        (disk / part).mkdir(parents=True)
    key = (lab.folder / "id_ed25519.pub").read_text()
    files = {
        "etc/hostname": f"{host.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{host.address} {host.name}\n",
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/apt/apt.conf.d/95proxy": f'Acquire::http::Proxy "{packages.door(lab)}";\n',
        "etc/ssh/lab_authorized_keys": key,
    }
    for volume in lab.definition.volumes:
        files[f"etc/systemd/system/srv-{volume}.mount"] = volumes.mount_unit(volume)
    for name, content in files.items():
        file = disk / "upper" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o644)
    for volume in lab.definition.volumes:
        (disk / "upper/srv" / volume).mkdir(parents=True)
        wanted = disk / f"upper/etc/systemd/system/local-fs.target.wants/srv-{volume}.mount"
        wanted.parent.mkdir(parents=True, exist_ok=True)
        wanted.symlink_to(f"../srv-{volume}.mount")
        volumes.make(lab, host, volume)
    for folder, _, _ in os.walk(disk / "upper"):
        os.chmod(folder, 0o755)  # noqa: S103  (these are a host's /etc, /srv …)


def power_on(lab: Lab, host: Host) -> None:
    """Start a host; harmless where it runs."""
    supervisor = lab.host_cgroup(host)
    if supervisor.populated:
        return
    forget_connections(lab, host)
    lab.console(host).parent.mkdir(exist_ok=True)
    group = Cgroup(*supervisor.parts, "supervisor").create()
    boot = [sys.executable, PROGRAM, "_boot", lab.name, host.name]
    spawn(["/bin/sh", "-c", SUPERVISOR, "supervisor", *boot], lab.console(host), group.enter)


def power_off(lab: Lab, hosts: Collection[Host]) -> None:
    """End hosts at once, as by pulling their plugs: first the cables, so that no connection is closed in good order."""
    for host in hosts:
        network.unplug(lab, host)
    for host in hosts:
        lab.host_cgroup(host).remove()
        network.unplug(lab, host)  # again: it may just have been booting
        forget_connections(lab, host)


def boot(lab: Lab, host: Host) -> NoReturn:
    """Boot a host once. Doesn't return: this process becomes systemd-nspawn."""
    disk = lab.disks / host.name
    machine = Cgroup(*lab.host_cgroup(host).parts, "machine")
    machine.remove()  # what the last boot left, frozen units included
    machine.create()
    forget_connections(lab, host)
    network.plug(lab, host)
    names = volumes.connect(lab, host)
    # A volatile overlay (no fsync reaches the disk) leaves a mark, and with it isn't mounted again.
    shutil.rmtree(disk / "work/work/incompat", ignore_errors=True)
    options = f"lowerdir={':'.join(lab.image)},upperdir={disk}/upper,workdir={disk}/work,volatile"
    # systemd-nspawn wants a pure cgroup2, and leaves files in /run/systemd: it gets both in a mount namespace that ends
    # with it. When a network namespace is deleted outside, its mount must go here too, hence the propagation.
    prepare = f"""
        set -e
        umount --recursive --lazy /sys/fs/cgroup
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        mkdir -p /run/systemd
        mount -t tmpfs -o mode=755,size=1m tmpfs /run/systemd
        mount -t overlay overlay -o {options} {disk}/root
        echo $$ >/sys/fs/cgroup/{"/".join(("rackspread-lab", *machine.parts))}/cgroup.procs
        exec "$@"
    """
    namespace = network.NAMESPACES / lab.host_namespace(host)
    nspawn = [
        "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--directory={disk}/root",
        f"--machine={lab.name}-{host.name}", f"--hostname={host.name}", "--capability=all",
        f"--network-namespace-path={namespace}", "--console=pipe",
        "--link-journal=no", "--resolv-conf=off", "--timezone=off", f"--setenv=LAB_VOLUMES={' '.join(names)}",
    ]  # fmt: skip
    # The host's /sys shows the interfaces of the namespace that systemd-nspawn is started in.
    inside = ["nsenter", f"--net={namespace}", "unshare", "--mount", "--propagation=slave"]
    command = [*inside, "/bin/sh", "-c", prepare, "boot", *nspawn]
    os.execvp(command[0], command)  # noqa: S606


def leader(lab: Lab, host: Host) -> int | None:
    """Return the process id, on the machine, of a host's init; None while it has none."""
    for pid in Cgroup(*lab.host_cgroup(host).parts, "machine", "payload").pids():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("NSpid:") and line.split()[-1] == "1":
                    return pid
    return None


def running(lab: Lab, host: Host) -> bool:
    """Whether a host is on."""
    return leader(lab, host) is not None


def execute(lab: Lab, host: Host, *command: object, check: bool = True) -> str:
    """Run a command at a host's console, as root, with no network in between; return its output.

    Raises:
        LabError: the host is off, or the command failed and ``check`` is set.
    """
    return run(*console_command(lab, host, *command), check=check)


def is_off(lab: Lab, host: Host) -> LabError:
    """Return the error for a host that would have to be on."""
    return LabError(f"{host.name} is off. `lab -l {lab.name} power-on {host.name}` starts it.")


def console_command(lab: Lab, host: Host, *command: object) -> list[str]:
    """Return the command of the machine that runs ``command`` at a host's console.

    Raises:
        LabError: the host is off.
    """
    pid = leader(lab, host)
    if pid is None:
        raise is_off(lab, host)
    namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
    environment = [f"PATH={CONSOLE_PATH}", "LC_ALL=C.UTF-8", "HOME=/root", f"TERM={os.environ.get('TERM', 'dumb')}"]
    # A shell in between, outside of the host's processes, waits for the command. nsenter itself stops together with its
    # command, as a shutdown has all stop before it kills: it would never see that end, and the host would wait for it.
    waiting = ["--no-fork", "sh", "-c", '"$@"; exit "$?"', "sh"]
    return ["nsenter", f"--target={pid}", *namespaces, *waiting, "env", "-i", *environment, *map(str, command)]


def boot_state(lab: Lab, host: Host) -> str:
    """Return what a host's systemd says of itself (running, starting, degraded …), or off."""
    try:
        return execute(lab, host, "systemctl", "is-system-running", check=False).strip() or "starting"
    except LabError:
        return "off"


def write_ssh_config(lab: Lab) -> None:
    """Write the key, the way in and the ssh configuration by which the lab's hosts are reached."""
    key = lab.folder / "id_ed25519"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{USER}@{lab.name}", "-f", key)
    (lab.folder / "connections").mkdir(mode=0o700)
    hosts = lab.definition.hosts.values()
    for host in hosts:
        Cgroup(lab.name, "connections", host.address).create()
    way_in = lab.folder / "connect"
    way_in.write_text(
        "#!/bin/sh\n"
        "# connect ADDRESS PORT: joins the control group of that host's connections, and becomes the connection.\n"
        f'echo $$ >"{Cgroup(lab.name, "connections").path}/$1/cgroup.procs"\n'
        f'exec {" ".join(network.inside(lab))} socat - "TCP:$1:$2"\n'
    )
    way_in.chmod(0o755)
    names = "".join(f"Host {host.name} {host.address}\n    HostName {host.address}\n" for host in hosts)
    lab.ssh_config.write_text(
        f"""# The hosts of the lab {lab.name}: ssh -F {lab.ssh_config} HOST
{names}Host *
    User {USER}
    IdentityFile {key}
    IdentitiesOnly yes
    ProxyCommand {way_in} %h %p
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
    ConnectTimeout 10
    ServerAliveInterval 4
    ServerAliveCountMax 3
    ControlMaster auto
    ControlPath {lab.folder}/connections/%h
    ControlPersist 15m
"""
    )


def forget_connections(lab: Lab, host: Host) -> None:
    """End the ssh connections to a host that is gone and remove their sockets: the next one mustn't meet a dead one."""
    for socket in (lab.folder / "connections").glob(f"{host.address}*"):
        if socket.name == host.address or socket.name.startswith(f"{host.address}."):
            socket.unlink(missing_ok=True)
    Cgroup(lab.name, "connections", host.address).kill()


def await_ssh(lab: Lab, host: Host, seconds: float) -> None:
    """Wait until the host answers ssh as the ordinary user, with sudo.

    Raises:
        LabError: it ended, or didn't answer in time; with its console's last lines.
    """
    deadline = time.monotonic() + seconds
    with network.entered(lab):
        while not network.speaks(host.address, 22, b"SSH-"):
            if not lab.host_cgroup(host).populated:
                raise LabError(f"{host.name} ended while it booted. {_last_words(lab, host)}")
            if time.monotonic() > deadline:
                raise LabError(f"{host.name} doesn't answer ssh after {seconds:.0f} s. {_last_words(lab, host)}")
            time.sleep(0.1)
    while True:
        try:
            run("ssh", "-F", lab.ssh_config, host.name, "sudo", "-n", "true")
        except LabError as error:
            if time.monotonic() > deadline or not lab.host_cgroup(host).populated:
                words = _last_words(lab, host)
                raise LabError(f"{host.name} lets nobody in after {seconds:.0f} s: {error} {words}") from error
            time.sleep(0.2)
        else:
            return


def _last_words(lab: Lab, host: Host) -> str:
    try:
        lines = lab.console(host).read_text(errors="replace").splitlines()[-CONSOLE_LINES:]
    except OSError:
        lines = []
    return "Its console's last lines:\n" + "\n".join(f"    {line}" for line in lines)
