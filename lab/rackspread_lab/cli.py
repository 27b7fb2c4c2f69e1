# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from . import faults, host, lifecycle, machine, volumes
from .definition import Definition, check_name
from .errors import LabError, UsageError
from .state import Lab, existing, lab_names

DEMO = Path(__file__).parent.parent / "demo.toml"
DAY = 86400


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise the usage error."""
        raise UsageError(f"{message[:1].upper()}{message[1:].rstrip('.')}. See `lab --help`.")


def _say(name: str) -> Callable[[str], None]:
    start = time.monotonic()
    return lambda text: print(f"{name}: {time.monotonic() - start:5.1f} s  {text}", file=sys.stderr, flush=True)


def _up(args: argparse.Namespace) -> int:
    definition = Definition.read(args.definition)
    lab = lifecycle.up(definition, _say(definition.name))
    option = "" if lab.name == "demo" else f"-l {lab.name} "
    first = next(iter(lab.definition.hosts))
    print(f"{lab.name} is up. To look around:\n  lab/lab {option}status\n  lab/lab {option}ssh {first}")
    print(f"  ssh -F {lab.ssh_config} {first}")
    return 0


def _down(args: argparse.Namespace) -> int:
    for name in lab_names() if args.all else [args.lab]:
        print(f"{name} is down." if lifecycle.down(name, _say(name)) else f"{name} was not up.")
    return 0


def _status(args: argparse.Namespace) -> int:
    _table(lifecycle.status(existing(args.lab)))
    return 0


def _list(_args: argparse.Namespace) -> int:
    labs = [lab for name in lab_names() if (lab := Lab.load(name))]
    _table([
        {
            "lab": lab.name, "network": lab.definition.network, "hosts": str(len(lab.definition.hosts)),
            "state": "up" if lab.complete else "half built", "definition": lab.definition.path,
        }
        for lab in labs
    ])  # fmt: skip
    return 0


def _table(rows: list[dict[str, str]]) -> None:
    if rows:
        columns = list(rows[0])
        widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in columns}
        for row in [dict(zip(columns, columns, strict=True)), *rows]:
            print("  ".join(row[column].ljust(widths[column]) for column in columns).rstrip())


def _ssh(args: argparse.Namespace) -> NoReturn:
    lab = existing(args.lab)
    target = lab.definition.host(args.host)
    if not host.running(lab, target):
        raise host.is_off(lab, target)
    os.execvp("ssh", ["ssh", "-F", str(lab.ssh_config), target.name, *args.command])  # noqa: S606


def _console(args: argparse.Namespace) -> NoReturn:
    lab = existing(args.lab)
    command = host.console_command(lab, lab.definition.host(args.host), *(args.command or ["/bin/bash", "-l"]))
    os.execvp(command[0], command)  # noqa: S606


def _cut(args: argparse.Namespace) -> int:
    faults.cut(existing(args.lab), args.target, args.seconds)
    return 0


def _heal(args: argparse.Namespace) -> int:
    mended = faults.heal(existing(args.lab), args.target)
    print(f"mended: {', '.join(mended) or 'nothing was cut'}")
    return 0


def _unit(act: Callable[..., None], *more: str) -> Callable[[argparse.Namespace], int]:
    def command(args: argparse.Namespace) -> int:
        lab = existing(args.lab)
        act(lab, lab.definition.host(args.host), args.unit, *(getattr(args, name) for name in more))
        return 0

    return command


def _power_off(args: argparse.Namespace) -> int:
    lab = existing(args.lab)
    with lab.lock():
        faults.power_off(lab, args.target, args.seconds)
    return 0


def _power_on(args: argparse.Namespace) -> int:
    lab = existing(args.lab)
    with lab.lock():
        started = faults.power_on(lab, args.target)
    for target in started:
        cut = lab.flag("cut", target.name) or (target.rack and lab.flag("cut", target.rack))
        if not cut:
            host.await_ssh(lab, target, lifecycle.BOOT_SECONDS)
    return 0


def _seconds(text: str) -> float:
    if not text.isdigit() or not 1 <= int(text) <= DAY:
        raise argparse.ArgumentTypeError(f"1 to {DAY} seconds are possible, not {text!r}")
    return float(text)


def _volume(args: argparse.Namespace) -> int:
    lab = existing(args.lab)
    target = lab.definition.host(args.host)
    acts = {"detach": volumes.detach, "attach": volumes.attach, "empty": volumes.empty}
    with lab.lock():
        acts[args.act](lab, target, args.name)
    return 0


def _boot(args: argparse.Namespace) -> NoReturn:
    lab = Lab.load(args.name)
    if lab is None:
        raise LabError(f"The lab {args.name} is not there.")
    host.boot(lab, lab.definition.host(args.host))


def _parser() -> Parser:
    parser = Parser(prog="lab", description="Racks of booted Debian hosts on one machine.")
    parser.add_argument("-l", "--lab", metavar="NAME", default="demo", help="the lab that is meant (default: demo)")
    verbs = parser.add_subparsers(metavar="VERB", required=True, parser_class=Parser)

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str, *arguments: tuple[str, dict]) -> None:
        sub = verbs.add_parser(name, help=text, description=text)
        for argument, options in arguments:
            sub.add_argument(argument, **options)
        sub.set_defaults(run=run)

    a_host = ("host", {"metavar": "HOST"})
    a_unit = ("unit", {"metavar": "UNIT"})
    a_command = ("command", {"metavar": "CMD", "nargs": argparse.REMAINDER})
    definition = {"metavar": "DEFINITION.toml", "nargs": "?", "type": Path, "default": DEMO}
    verb("up", _up, "bring a lab up", ("definition", definition))
    every = ("--all", {"action": "store_true", "help": "every lab that is there"})
    verb("down", _down, "take the lab down; the last one puts the machine back as it was", every)
    verb("status", _status, "show the lab's hosts")
    verb("list", _list, "show the labs that are there")
    verb("ssh", _ssh, "a shell on a host, or one command", a_host, a_command)
    verb("console", _console, "the same as root at the host's console, with no network in between", a_host, a_command)
    a_target = ("target", {"metavar": "RACK|HOST"})
    a_while = (
        "--for",
        {"dest": "seconds", "metavar": "SECONDS", "type": _seconds, "help": "undone by the lab itself after that time"},
    )
    verb("cut", _cut, "cut a rack's uplink or a host's cable", a_target, a_while)
    verb("heal", _heal, "mend a cut, or all", ("target", {"metavar": "RACK|HOST", "nargs": "?"}))
    signal_ = ("signal", {"metavar": "SIGNAL", "nargs": "?", "default": "KILL"})
    verb("kill", _unit(faults.kill, "signal"), "kill all processes of a unit", a_host, a_unit, signal_)
    verb("freeze", _unit(faults.freeze), "stop all processes of a unit where they stand", a_host, a_unit)
    verb("thaw", _unit(faults.thaw), "let a frozen unit go on", a_host, a_unit)
    verb("power-off", _power_off, "end a host, or a whole rack, at once; it stays off", a_target, a_while)
    verb("power-on", _power_on, "start a host, or a rack, and wait until it answers", a_target)
    acts = ("act", {"choices": ["detach", "attach", "empty"]})
    a_volume = ("name", {"metavar": "NAME"})
    verb("volume", _volume, "take a data volume away, bring it back, or blank it", a_host, acts, a_volume)
    if sys.argv[1:2] == ["_boot"]:  # what a host's supervisor calls
        verb("_boot", _boot, "boot a host once", ("name", {}), a_host)
    return parser


def _interrupted(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def main() -> int:
    """Run the command line; return the exit code."""
    os.umask(0o022)
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/sbin:/bin"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born deaf to it
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGHUP, _interrupted)
    try:
        args = _parser().parse_args()
        check_name(args.lab)
        machine.require_root()
        return args.run(args)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
