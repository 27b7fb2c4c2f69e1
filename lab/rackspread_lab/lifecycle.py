# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab's life: up, down, and what is there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from . import archives, image, machine, network, packages, volumes
from . import host as hosts
from .cgroup import Cgroup, drop_own_mount, own_cgroup
from .definition import Definition, Host
from .errors import LabError
from .state import RUN, Lab, boot_id, cache_folder, lab_names, locked, machine_lock, remove_tree

BOOT_SECONDS = 150
Say = Callable[[str], None]


def up(definition: Definition, say: Say) -> Lab:
    """Bring a lab up; return it. Harmless where it is up; one that is half built is cleared away first.

    Raises:
        LabError: the machine can't host it, it is up with another definition, or a host doesn't come up.
            Nothing of it is left then.
    """
    cache = cache_folder()
    try:
        machine.check(cache / "disks")
    except LabError:
        _leave_machine()
        raise
    lab = Lab(definition, cache, boot=boot_id())
    with _waited(lab, say):
        there = Lab.load(definition.name)
        if there and there.complete and there.boot == lab.boot:
            return _again(there, definition, say)
        if there:
            say("clearing what an unfinished `up` left")
            _tear_down(there)
        before = own_cgroup()
        try:
            _register(lab)
            _build(lab, say)
        except BaseException:
            (before / "cgroup.procs").write_text("0")  # or tearing down would end this process with the rest
            _tear_down(lab)
            _leave_machine()
            raise
    return lab


def down(name: str, say: Say) -> bool:
    """Take a lab down, whatever state it is in, and with the last one put the machine back as it was.

    Returns: whether there was one.
    """
    lab = Lab.load(name)
    if lab:
        Cgroup(name).kill()  # a running `up` of it as well, which holds the lock
        with _waited(lab, say):
            lab = Lab.load(name)
            if lab:
                _tear_down(lab)
    _leave_machine()
    return lab is not None


def _waited(lab: Lab, say: Say) -> contextlib.AbstractContextManager[bool]:
    """Return the lab's lock, having said so if it has to be waited for."""
    with lab.lock(wait=False) as free:
        if not free:
            say("waiting for another command that works on this lab")
    return lab.lock()


def _again(lab: Lab, definition: Definition, say: Say) -> Lab:
    wanted, is_ = definition.as_dict() | {"path": ""}, lab.definition.as_dict() | {"path": ""}
    if wanted != is_:
        raise LabError(
            f"The lab {lab.name} is up with another definition ({lab.definition.path}). "
            f"`lab -l {lab.name} down` removes it."
        )
    with machine_lock():
        packages.serve(lab)
    packages.open_door(lab)
    archives.serve(lab)
    off = [host.name for host in lab.definition.hosts.values() if not hosts.running(lab, host)]
    say("is up already" + (f"; off: {', '.join(off)}" if off else ""))
    return lab


def _register(lab: Lab) -> None:
    """Write the lab down before anything is changed, and make this process part of it."""
    with machine_lock():
        lab.save()
        machine.save_settings()
        Cgroup(lab.name, "up").create().enter()


def _build(lab: Lab, say: Say) -> None:
    definition = lab.definition
    everybody = list(definition.hosts.values())
    racks = len(definition.racks)
    say(f"{len(everybody)} hosts, {racks} rack{'s' * (racks > 1)}, {definition.network}")
    remove_tree(lab.disks)
    network.build(lab)
    with machine_lock():
        packages.serve(lab)
    packages.open_door(lab)
    archives.provide(lab, say)
    archives.serve(lab)
    lab.image = image.layers(lab, say)
    lab.save()
    hosts.write_ssh_config(lab)
    start = time.monotonic()
    _each(lab, lambda host: hosts.create(lab, host))
    for host in everybody:
        hosts.power_on(lab, host)
    _each(lab, lambda host: hosts.await_ssh(lab, host, BOOT_SECONDS))
    say(f"booted in {time.monotonic() - start:.1f} s")
    lab.complete = True
    lab.save()


def _each(lab: Lab, act: Callable[[Host], None]) -> None:
    """Do something for every host, side by side. A failure, or an interruption, ends all hosts and is raised."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        try:
            for result in wait(
                [pool.submit(act, host) for host in lab.definition.hosts.values()], None, FIRST_EXCEPTION
            ).done:
                result.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            Cgroup(lab.name, "hosts").kill()  # so that nobody waits for them any longer
            raise


def _tear_down(lab: Lab) -> None:
    """Remove everything of a lab. Each step works on whatever of it is there; what says that it exists goes last."""
    lab.cgroup.remove()
    volumes.release(lab.disks)
    network.remove(lab.name)
    remove_tree(lab.disks)
    image.clear_if_idle(lab.cache)
    if lab.definition.inventory:
        remove_tree(Path(lab.definition.inventory) / ".rackspread")
    lab.forget()


def _leave_machine() -> None:
    """Put the machine back as it was before the first lab, if none is left."""
    with machine_lock():
        if lab_names():
            return
        packages.stop()
        machine.restore_settings()
        Cgroup().remove()
        drop_own_mount()
        for folder in RUN.iterdir():
            if folder.is_dir():
                remove_tree(folder)
        for lock in RUN.glob(".*.lock"):
            with locked(lock, wait=False) as free:
                if free:
                    lock.unlink()
        (RUN / ".lock").unlink()
        with contextlib.suppress(OSError):  # another command waits in it
            RUN.rmdir()


def status(lab: Lab) -> list[dict[str, str]]:
    """Return a row a host: name, rack, address, power, link and boot state."""
    links = network.links(lab)
    rows = []
    for host in lab.definition.hosts.values():
        boot = hosts.boot_state(lab, host)
        link = "cut" if lab.flag("cut", host.name) else "up" if links.get(host.name) else "down"
        if link == "up" and host.rack and lab.flag("cut", host.rack):
            link = "rack cut"
        rows.append({
            "host": host.name, "rack": host.rack or "-", "address": host.address,
            "power": "off" if boot == "off" else "on", "link": link, "state": boot,
        })  # fmt: skip
    return rows
