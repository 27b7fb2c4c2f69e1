# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules on many hosts from within one action, each over the host's own connection, many at a time.

An action that decides over a whole group must see every member in one moment, also those that `--limit` or an earlier
failure took out of the play. `delegate_to` in a loop can't: it goes one by one, and ends the play at a dead host. So
this makes connections as ansible-core's TaskExecutor does (connection, become and shell plugin, from the host's
variables) and runs ActionBase._execute_module on each. Plugins and templates are prepared in the calling thread, since
templating is not made for threads; only the module calls run in threads.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.playbook.play_context import PlayContext
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import become_loader, connection_loader
from ansible.template import Templar

CONNECT_SECONDS = 10
"""How long a host may take to accept a connection."""
ALIVE = "-o ServerAliveInterval=5 -o ServerAliveCountMax=3"
"""Lets ssh end by itself when its host vanishes in the middle of a call."""

_BUILDING = threading.Lock()
"""One module is built at a time. Python 3.11 counts the depth of a syntax tree for all threads together, so two that
parse at once end with `SystemError: AST constructor recursion depth mismatch` now and then (CPython's issue 106905)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One module on one host; `seconds` is the most it may take, the connection included."""

    host: str
    module: str
    arguments: Mapping[str, Any]
    seconds: float = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Args:
        result: the module's own.
        unreachable: there is no connection, or no answer in time.
        failed: the module said that it failed, or could not run.
        message: a sentence on why, where it did not succeed.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    unreachable: bool = False
    failed: bool = False
    message: str = ""


class Remote:
    """The connections of one action.

    Args:
        action: the plugin that the task runs; its task gives become, no_log and the timeout.
        task_vars: as handed to its `run`.
    """

    def __init__(self, action: ActionBase, task_vars: Mapping[str, Any]) -> None:
        self._action = action
        self._hostvars = task_vars["hostvars"]
        self._variables: dict[str, dict[str, Any]] = {}
        self._lanes: dict[str, list[_Lane]] = defaultdict(list)
        self._slots = threading.BoundedSemaphore(max(1, context.CLIARGS.get("forks") or 5))
        self._parent = os.getppid()

    def variables(self, host: str) -> dict[str, Any]:
        """The variables of a host, as a task of this play has them there, not templated."""
        if host not in self._variables:
            # What delegation does in ansible-core: role defaults and play variables count, which hostvars leaves out.
            found = self._hostvars._inventory.get_host(host)
            if found is None:
                raise AnsibleError(f"{host} is not in the inventory")
            task = self._action._task
            self._variables[host] = self._hostvars._variable_manager.get_vars(
                play=task.get_play(),
                host=found,
                task=task,
                include_hostvars=False,
            )
        return self._variables[host]

    def template(self, host: str, value: Any) -> Any:
        """A value templated with a host's variables."""
        return Templar(loader=self._action._loader, variables=self.variables(host)).template(value)

    def stay(self) -> None:
        """End here (AnsibleActionFail) where ansible-playbook was killed: its worker would go on without anybody who
        sees or stops it.
        """
        if os.getppid() != self._parent:
            raise AnsibleActionFail("The run was ended; nothing more is done.")

    def run(self, calls: Sequence[Call]) -> list[Answer]:
        """Make all calls at once; their answers in the same order. Never raises for what a host does or fails to do."""
        self.stay()
        taken: dict[str, int] = defaultdict(int)
        jobs = []
        for call in calls:
            jobs.append(_Job(call, self._prepare(call.host, taken[call.host])))
            taken[call.host] += 1
        for job in jobs:
            job.begin(self._slots)
        return [job.answer() for job in jobs]

    def _prepare(self, host: str, number: int) -> _Lane | Answer:
        """The connection for the n-th call to a host at a time, or what keeps us from making one."""
        lanes = self._lanes[host]
        try:
            while len(lanes) <= number:
                lanes.append(_open(self._action, self.variables(host)))
        except AnsibleError as error:
            return Answer(failed=True, message=str(error))
        return lanes[number]


class _Lane(ActionBase):
    """Runs modules over one connection to one host, one after another."""

    def __init__(self, variables: dict[str, Any], **parts: Any) -> None:
        super().__init__(**parts)
        self._host_variables = variables

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Not a task of its own: see `call`."""
        raise NotImplementedError

    def _configure_module(self, *given: Any, **named: Any) -> Any:
        """Build a module, as ActionBase does it."""
        with _BUILDING:
            return super()._configure_module(*given, **named)

    def call(self, module: str, arguments: Mapping[str, Any]) -> Answer:
        """Run a module; in a thread."""
        try:
            result = self._execute_module(module, module_args=dict(arguments), task_vars=self._host_variables)
        except AnsibleConnectionFailure as error:
            return Answer(unreachable=True, message=_line(error))
        except Exception as error:  # whatever a plugin raises belongs to this host's answer, not to the run
            return Answer(failed=True, message=_line(error))
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        result.pop("invocation", None)
        if result.get("unreachable"):
            return Answer(result, unreachable=True, message=_line(result.get("msg", "")))
        if result.get("failed"):
            return Answer(result, failed=True, message=_line(result.get("msg") or result.get("module_stderr", "")))
        return Answer(result)


class _Job:
    """One call on its way. Its thread is a daemon: one that hangs is left behind, and ends with its ssh."""

    def __init__(self, call: Call, lane: _Lane | Answer) -> None:
        self._call = call
        self._lane = lane
        self._answer: Answer | None = None
        self._begun = threading.Event()
        self._done = threading.Event()

    def begin(self, slots: threading.BoundedSemaphore) -> None:
        """Start the call as soon as there is a slot."""
        if isinstance(self._lane, _Lane):
            ambient = contextvars.copy_context()  # ansible-core keeps its task in context variables
            threading.Thread(target=ambient.run, args=(self._work, self._lane, slots), daemon=True).start()

    def answer(self) -> Answer:
        """Wait for the end of the call, for as long as it may take."""
        if isinstance(self._lane, Answer):
            return self._lane
        self._begun.wait()
        self._done.wait(self._call.seconds)
        return self._answer or Answer(unreachable=True, message=f"no answer within {self._call.seconds:g} s")

    def _work(self, lane: _Lane, slots: threading.BoundedSemaphore) -> None:
        with slots:
            self._begun.set()
            self._answer = lane.call(self._call.module, self._call.arguments)
        self._done.set()


def _open(action: ActionBase, variables: dict[str, Any]) -> _Lane:
    """A connection of its own for a host, set up as TaskExecutor does it."""
    task, loader = action._task, action._loader
    templar = Templar(loader=loader, variables=variables)

    def setting(name: str, default: Any) -> Any:
        return default if variables.get(name) is None else templar.template(variables[name])

    given = action._play_context
    play_context = PlayContext(passwords={"conn_pass": given.password, "become_pass": given.become_pass})
    play_context = play_context.set_task_and_variable_override(task=task, variables=variables, templar=templar)
    play_context.post_validate(templar=templar)

    # `connection: local` of a play is meant for the play's own host: never take another one for this machine.
    kind = setting("ansible_connection", constants.DEFAULT_TRANSPORT if task.connection == "local" else task.connection)
    connection = connection_loader.get(
        kind, play_context, new_stdin=None, task_uuid=task._uuid, ansible_playbook_pid=str(os.getppid())
    )
    if connection is None:
        raise AnsibleError(f"the connection plugin {kind!r} was not found")
    keys = {key: value for key, value in task.dump_attrs().items() if key != "retries"}
    keys["timeout"] = min(int(play_context.timeout or CONNECT_SECONDS), CONNECT_SECONDS)
    if play_context.password:
        keys["password"] = play_context.password

    become = None
    if boolean(setting("ansible_become", task.become) or False):
        method = setting("ansible_become_method", task.become_method)
        become = become_loader.get(method)
        if become is None:
            raise AnsibleError(f"the become plugin {method!r} was not found")
    connection.set_become_plugin(become)

    options = connection._resolve_option_variables(variables, templar)
    connection.set_options(task_keys=keys, var_options=options)
    if kind.rpartition(".")[2] == "ssh":
        connection.set_option("ssh_extra_args", f"{connection.get_option('ssh_extra_args') or ''} {ALIVE}".strip())
    _set_options(connection._shell, "shell", variables, templar, keys)
    if become is not None:
        if play_context.become_pass:
            keys["become_pass"] = play_context.become_pass
        _set_options(become, "become", variables, templar, keys)

    variables.setdefault("ansible_facts", {})  # where a discovered interpreter is noted
    return _Lane(
        variables,
        task=task,
        connection=connection,
        play_context=play_context,
        loader=loader,
        templar=templar,
    )


def _set_options(
    plugin: Any, kind: str, variables: Mapping[str, Any], templar: Templar, keys: Mapping[str, Any]
) -> None:
    """Give a shell or become plugin the host's values of the variables that it listens to."""
    names = constants.config.get_plugin_vars(kind, plugin._load_name)
    options = {name: templar.template(variables[name]) for name in names if name in variables}
    plugin.set_options(task_keys=keys, var_options=options)


def _line(error: object) -> str:
    """An error as one line."""
    return " ".join(str(error).split())
