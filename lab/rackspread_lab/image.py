# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts' root file systems: a base image, and on top of it a layer with the packages that a definition asks for.

Each lies in the cache under a digest of all that it is made of. It is made aside and renamed when it is whole, under a
lock, by processes in a control group of their own: who gets the lock ends whatever a killed builder left.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from . import network, packages
from .cgroup import Cgroup
from .definition import DEBIAN, USER
from .errors import LabError
from .process import run
from .state import Lab, locked

FILES = Path(__file__).parent.parent / "image"
"""Files that go into the base image as they are."""
PACKAGES = [
    "ca-certificates",
    "dbus",
    "iproute2",
    "iputils-ping",
    "linux-sysctl-defaults",
    "netbase",
    "nftables",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "sudo",
    "systemd",
    "systemd-sysv",
    "udev",
]
"""What a minimal server has, and what Ansible needs at once."""
MASKED = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "container-getty@.service",
    "dev-hugepages.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
]
"""Units that have nothing to do in a host of the lab."""


def _builder(cache: Path) -> Cgroup:
    """Return the control group of whoever builds images in a cache folder: whoever holds the lock of its images."""
    return Cgroup(f".images-{_digest(cache)}")


def _tree() -> Iterator[tuple[str, int, bytes]]:
    """Yield the files of the image folder: path, mode, content."""
    for path in sorted(FILES.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(FILES)), path.stat().st_mode & 0o777, path.read_bytes()


def _digest(*content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()[:12]


def _setup() -> str:
    """Return the script that makes an ordinary minimal server of the unpacked packages."""
    return f"""
        rm -f /etc/apt/apt.conf.d/99mmdebstrap /etc/dpkg/dpkg.cfg.d/99mmdebstrap /etc/machine-id /etc/resolv.conf
        rm -rf /etc/update-motd.d/* /etc/motd /var/lib/dbus/machine-id
        : >/etc/machine-id
        useradd --create-home --shell /bin/bash --gid operator {USER}
        echo '{USER} ALL=(ALL:ALL) NOPASSWD: ALL' >/etc/sudoers.d/{USER}
        chmod 0440 /etc/sudoers.d/{USER}
        rm -f /etc/ssh/ssh_host_*
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
        systemctl mask --quiet {" ".join(MASKED)}
        systemctl enable --quiet lab-devices.service ssh.service
        # Nobody logs in for long; `systemctl reboot` asks for it, and then it is started.
        rm /usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service
        mkdir -p /etc/systemd/system-generators
        ln -s /dev/null /etc/systemd/system-generators/systemd-ssh-generator
        apt-get -q update
        apt-cache gencaches
        apt-get clean
        echo LANG=C.UTF-8 >/etc/default/locale
        touch /etc/.updated /var/.updated
    """


def _layer_setup(names: list[str]) -> str:
    """Return the script that installs packages as if on a host, but starts, enables and forms nothing.

    Debian's etcd-server forms a cluster of one when it starts, postgresql-common makes a cluster when it is installed,
    and its Java wants a folder for its manual, though manuals are left out here.
    """
    return f"""
        enabled() {{ systemctl --root=/ list-unit-files --state=enabled --no-legend | cut -d' ' -f1 | sort; }}
        enabled >/tmp/enabled
        printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        mkdir -p /etc/postgresql-common/createcluster.d /usr/share/man/man1
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/lab.conf
        apt-get -q update
        DEBIAN_FRONTEND=noninteractive apt-get -q -y install {" ".join(names)}
        apt-get clean
        rm -f /usr/sbin/policy-rc.d /etc/postgresql-common/createcluster.d/lab.conf
        rmdir --ignore-fail-on-non-empty /etc/postgresql-common/createcluster.d
        [ ! -d /etc/postgresql-common ] || rmdir --ignore-fail-on-non-empty /etc/postgresql-common
        rm -rf /var/lib/etcd/*
        enabled | comm -13 /tmp/enabled - | xargs --no-run-if-empty systemctl --root=/ disable --quiet
        apt-cache gencaches
    """


def _chroot(lab: Lab, root: Path, script: str, overlay: str = "") -> None:
    """Run a script in a root file system, with the lab's way to packages, in namespaces that leave nothing behind."""
    outer = f"""
        set -e
        {f"mount -t overlay overlay -o {overlay} {root}" if overlay else ""}
        mount -t proc proc {root}/proc
        mount -t sysfs -o ro sysfs {root}/sys
        mount -t tmpfs tmpfs {root}/run
        mount -t tmpfs tmpfs {root}/tmp
        exec chroot {root} /bin/sh -ec "$0"
    """  # noqa: S108
    isolated = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
    environment = [
        "env",
        "-i",
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL=C.UTF-8",
        f"http_proxy={packages.door(lab)}",
    ]
    run(
        *_builder(lab.cache)
        .create()
        .wrap(*network.inside(lab), *isolated, *environment, "/bin/sh", "-c", outer, script)
    )


def _build_base(lab: Lab, target: Path) -> None:
    left_out = [line for line in (FILES / "etc/dpkg/dpkg.cfg.d/lab").read_text().splitlines() if "path-exclude" in line]
    command: list[object] = [
        *network.inside(lab), "env", f"http_proxy={packages.door(lab)}",
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
        f"--include={','.join(PACKAGES)}",
        '--aptopt=Acquire::Languages "none"',
        "--aptopt=Acquire::Retries 3",
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt={line}" for line in left_out),
        "--skip=cleanup/apt/lists",
        DEBIAN, target, *packages.sources().lines,
    ]  # fmt: skip
    run(*_builder(lab.cache).create().wrap(*command))
    for path, mode, content in _tree():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)
    _chroot(lab, target, _setup())


def _build_layer(lab: Lab, base: Path, names: list[str], target: Path) -> None:
    parts = {part: target.with_name(f"{target.name}.{part}") for part in ("work", "root")}
    for folder in (target, *parts.values()):
        folder.mkdir(parents=True)
    overlay = f"lowerdir={base},upperdir={target},workdir={parts['work']},volatile"
    _chroot(lab, parts["root"], _layer_setup(names), overlay)
    for folder in parts.values():
        shutil.rmtree(folder)


def _cached(lab: Lab, name: str, say: Callable[[str], None], what: str, build: Callable[[Path], None]) -> Path:
    """Return the image of that name; build it first if it isn't there."""
    folder = lab.cache / "images"
    image = folder / name
    if image.is_dir():
        return image
    with locked(folder / ".lock", wait=False) as free:
        if not free:
            say("waiting for another lab that builds an image")
    with locked(folder / ".lock"):
        if image.is_dir():  # another lab built it while we waited
            return image
        _clear_unfinished(lab.cache)
        say(f"building {what}, for the first time")
        aside = folder / f".making-{name}"
        try:
            try:
                build(aside)
            except LabError as error:  # a mirror that stumbles once must not end the run
                say(f"building it once more: {error}")
                _clear_unfinished(lab.cache)
                build(aside)
            aside.rename(image)
        finally:
            _clear_unfinished(lab.cache)
    return image


def _clear_unfinished(cache: Path) -> None:
    """End a killed builder's processes and remove what it made. The caller holds the images' lock."""
    _builder(cache).remove()
    for aside in (cache / "images").glob(".making-*"):
        shutil.rmtree(aside)


def clear_if_idle(cache: Path) -> None:
    """Do that unless somebody is building."""
    with locked(cache / "images/.lock", wait=False) as free:
        if free:
            _clear_unfinished(cache)


def layers(lab: Lab, say: Callable[[str], None]) -> list[str]:
    """Return the folders that the hosts' root file systems are made of, topmost first; build what is missing.

    Args:
        lab: a lab whose network and package cache are there.
        say: takes a progress line.
    """
    definition = lab.definition
    content = [packages.sources(), PACKAGES, MASKED, DEBIAN, list(_tree()), _setup()]
    base = _cached(lab, f"base-{_digest(*content)}", say, "the base image", lambda target: _build_base(lab, target))
    if not definition.layer:
        return [str(base)]
    names = sorted(set(definition.layer))
    layer = _cached(
        lab, f"layer-{_digest(base.name, names, _layer_setup(names))}", say, f"the image layer with {', '.join(names)}",
        lambda target: _build_layer(lab, base, names, target),
    )  # fmt: skip
    return [str(layer), str(base)]
