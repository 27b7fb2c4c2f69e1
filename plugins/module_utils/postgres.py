# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A member of a Postgres shard: Patroni with its Postgres.

Patroni decides who leads, who clones and who rewinds. It never decides that a cluster begins: its configuration has no
`bootstrap` section, so a member with a blank disk only ever waits for a leader. The one beginning is `Postgres.form`:
initdb aside, the cluster's own accounts in single-user mode, a rename. Killed anywhere, it is done again from there,
and etcd never holds the empty `initialize` key that a killed bootstrap of Patroni's would leave behind.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any

from . import host, patroni
from .driver import DATA, EMPTY, HALF_FORMED, LEFTOVERS, Driver, Found, Live
from .scram import verifier

USER = "postgres"
"""Of the operating system, and the superuser's name in the database."""

FORMING = "pgdata.forming"
"""Where initdb works, beside `pgdata`. No server ever runs on it, so it may be removed and begun again."""

OWN = {".rackspread.json", "lost+found", FORMING, "pgdata"}
ASIDE = "pgdata.unfinished-"
MOVED = (ASIDE, "pgdata.failed")
"""Beginnings of the names of what was moved out of the way, here or by Patroni."""

OWN_STATE = "/health"
"""It tells the same as /patroni, which asks a Postgres that is down again and again before it answers."""

UNDO = "rackspread_undo"
"""A key in the cluster's configuration that Patroni ignores: the patch that takes back what `settle` changed last."""

COMPLAINTS = ("FATAL:", "PANIC:", "HINT:", "CRITICAL:", "Exception")
"""What the lines have in them that tell why Postgres or Patroni ended."""

REWIND_FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)
"""What pg_rewind calls on its source (its manual page, Notes)."""


class Postgres(Driver):
    """See Driver.

    `settings`: `{bin, initdb: [options], namespace, etcd: [{address, port}], etcd_pki, dynamic: {…}, rest_user,
    users: {replication, rewind}}`; `secrets`: `{rest, replication, rewind}`, and `other_rest` while it is changed. A
    look needs none of them, but only one that knows `dynamic` tells whether the cluster is settled.
    """

    service = "postgres"
    poll_seconds = 1.0
    reload_seconds = 20.0
    """How long Patroni may take to look at its files: its loop_wait, and a second for Postgres."""
    heir_seconds = 30.0
    """How long the others may take to elect a leader once this one is gone in peace."""

    @property
    def pgdata(self) -> str:
        """Postgres' own directory in the data folder."""
        return f"{self.instance.data}/pgdata"

    @property
    def rest(self) -> patroni.Rest:
        """This member's own Patroni."""
        return patroni.Rest(
            self.member["address"], self.member["ports"]["rest"], self.instance.pki,
            self.settings.get("rest_user", ""),
            [self.secrets.get("rest", ""), *filter(None, [self.secrets.get("other_rest")])],
        )

    @property
    def prefix(self) -> str:
        """Where Patroni keeps this cluster's keys in etcd."""
        return f"{self.settings['namespace']}/{self.group['name']}/"

    # What it tells

    def find(self) -> Found:
        """What lies in the data folder; pg_control is what tells a database from a piece of one."""
        data = self.instance.data or ""
        entries = set(os.listdir(data)) if os.path.isdir(data) else set()
        strange = sorted(entry for entry in entries - OWN if not entry.startswith(MOVED))
        if strange:
            return Found(LEFTOVERS, detail=f"{data} holds {', '.join(strange[:3])}")
        if "pgdata" in entries and os.listdir(self.pgdata):
            if not os.path.exists(f"{self.pgdata}/global/pg_control"):
                return Found(HALF_FORMED, detail=f"{self.pgdata} holds a copy that is not complete")
            return Found(DATA, self.system_identifier())
        if FORMING in entries:
            return Found(HALF_FORMED, detail=f"initdb was cut short in {data}/{FORMING}")
        return Found(EMPTY)

    def system_identifier(self) -> str:
        """The cluster's id, as it stands on the disk. Raises Failed."""
        with open(f"{self.pgdata}/PG_VERSION", encoding="ascii") as file:
            program = f"/usr/lib/postgresql/{file.read().strip()}/bin/pg_controldata"
        program = f"{self.settings['bin']}/pg_controldata" if "bin" in self.settings else program
        for line in host.run([program, "--pgdata", self.pgdata], env={"LC_ALL": "C"}).stdout.splitlines():
            name, _colon, value = line.partition(":")
            if name == "Database system identifier":
                return value.strip()
        raise host.Failed(f"{program} tells no system identifier of {self.pgdata}")

    def ask(self) -> Live:
        """What the own Patroni says of itself and of the cluster."""
        try:
            own = self.rest.get(OWN_STATE)
            config = self.rest.get("/config")
            seen = patroni.view(self.rest.get("/cluster"), self.group["members"], patroni.synchronous(config))
        except patroni.NoAnswer as error:
            return Live(detail=str(error))
        running, me = own.get("state") == "running", self.member["id"]
        return Live(
            cluster_id=own.get("database_system_identifier"),
            role="leader" if seen.leader == me else "follower" if running else "none",
            healthy=running and me in seen.counted,
            members=seen.counted,
            in_sync=seen.in_sync,
            pending_restart=bool(own.get("pending_restart")),
            leader_first=seen.leader == me and patroni.lowered(own.get("pending_restart_reason") or {}),
            unsettled=bool(self._wanted(config)),
            paused=seen.paused,
            lag=seen.lag.get(me),
            detail="; ".join(filter(None, ("" if running else f"Postgres is {own.get('state')}", seen.detail))),
        )

    def _wanted(self, config: dict[str, Any]) -> dict[str, Any]:
        """The patch from the cluster's configuration to the one that is asked for."""
        return patroni.difference(config, self.settings.get("dynamic") or {})

    # What it does

    def form(self, intent: dict[str, Any]) -> None:
        """Make a new database cluster here, and start it under Patroni. etcd must know no other by this name."""
        self._own_data()
        found = self.find()
        keys = self._keys()
        begun = keys.get("initialize")
        if begun is not None and begun != found.cluster_id:
            raise host.Failed(
                f"etcd knows the cluster {begun or '(just beginning)'} under {self.prefix} and this disk holds"
                f" {found.cluster_id or 'none'}: another formation was here, and nothing is formed over it"
            )
        if found.cluster_id is None:
            if keys.keys() & {"config", "history", "leader", "sync"}:
                raise host.Failed(f"etcd holds the keys of a cluster under {self.prefix} and this disk holds none")
            self._initialise()
        self.start()

    def join(self, peer: dict[str, Any]) -> None:
        """Have Patroni clone this member from the cluster that the group was formed as."""
        self._own_data()
        begun = self._keys().get("initialize")
        if not begun or begun != (self.group.get("formed") or begun):
            raise host.Failed(
                f"etcd knows the cluster {begun or '(none)'} under {self.prefix}, and {self.group['name']} was"
                f" formed as {self.group.get('formed')}: no member is cloned from another cluster"
            )
        self._set_aside()
        super().start()  # Patroni clones from the leader, however long that takes

    def start(self) -> None:
        """Start Patroni, and wait until Postgres runs or says why it does not."""
        self._set_aside()
        super().start()
        self._await_postgres()

    def restart(self) -> None:
        """Restart Patroni with its Postgres, and wait likewise."""
        super().restart()
        self._await_postgres()

    def reload(self) -> None:
        """Have Patroni read its files, and wait until it has written Postgres' own from them."""
        written = self._written()
        super().reload()
        deadline = time.monotonic() + self.reload_seconds
        while self._written() == written and time.monotonic() < deadline:
            time.sleep(self.poll_seconds)

    def activate(self) -> None:
        """Take what is staged, or, where Postgres waits for a restart without that, what `settle` gave the cluster."""
        need = self.instance.need(host.unit(self.instance.unit).running)
        if need == "nothing" and self.ask().pending_restart:
            host.write_atomic(self._restarted, "")
            self._restart_postgres()
            self._forget_undo()
        else:
            host.remove(self._restarted)
            super().activate()

    def revert(self) -> None:
        """Take back what the last activation took: this member's version, or what the whole cluster was given."""
        if not os.path.exists(self._restarted):
            try:
                super().revert()
                return
            except host.Failed:
                if UNDO not in self._config():  # else both were new, and the version was not to blame
                    raise
        undo = self._config().get(UNDO)
        if undo is not None:
            self._patch({**undo, UNDO: None})
        self.restart()

    @property
    def _restarted(self) -> str:
        """A file that says that the last activation restarted Postgres without a new version."""
        return self.instance.path(f"run/rackspread/{self.instance.name}.restarted")

    def step_down(self, target: dict[str, Any] | None) -> None:
        """Have another member lead, unless a parameter is lowered: that the leader must meet first, and as the leader.

        With a target by a switchover. Without one this member is stopped until somebody else leads, and writes are out
        for a second less: in a switchover all but the named heir wait two seconds before they follow it (Patroni 4.0,
        ha.py, process_unhealthy_cluster), and the heir alone can't acknowledge a commit.
        """
        me = self.member["id"]
        live = self.ask()
        if live.role != "leader" or live.leader_first:
            return
        others = [each for each in self.group["members"] if each["id"] in live.in_sync and each["id"] != me]
        candidates = [each for each in others if target is None or each["id"] == target["id"]]
        if not candidates:
            raise host.Failed(f"{self.member['host']} can't hand over {self.group['name']}: nobody else is in sync")
        if target is None:
            self._stop_until_another_leads(candidates)
        else:
            self._switch_over(target["host"])
        self._await_postgres()

    def _switch_over(self, heir: str) -> None:
        order = {"leader": self.member["host"], "candidate": heir}
        status, said = self._call("POST", "/switchover", order, timeout=90)
        if status != 200:
            raise host.Failed(f"{self.member['host']} could not hand over {self.group['name']} to {heir}: {said}")

    def _stop_until_another_leads(self, heirs: list[dict[str, Any]]) -> None:
        """Started before somebody else leads, Patroni would come in between the others' election, and win it."""
        host.systemctl("stop", f"{self.instance.unit}.service", timeout=self.stop_seconds)
        try:
            deadline = time.monotonic() + self.heir_seconds
            while not any(self.overlook(heir).role == "leader" for heir in heirs):
                if time.monotonic() > deadline:
                    who = f"{self.group['name']} from {self.member['host']}"
                    raise host.Failed(f"nobody took over {who} within {self.heir_seconds:g} s; it was started again")
                time.sleep(self.poll_seconds / 5)
        finally:
            super().start()

    def settle(self) -> None:
        """Give the cluster the configuration that is asked for, and remember there how to take it back."""
        self._forget_undo()
        config = self._config()
        patch = self._wanted(config)
        if not patch:
            return
        self._patch({**patch, UNDO: patroni.merged(patroni.inverse(config, patch), config.get(UNDO) or {})})
        changed = (patch.get("postgresql") or {}).get("parameters") or {}
        if changed.keys() & set(patroni.CLUSTER_PARAMETERS) - {"wal_keep_size"}:
            self._await_pending(3 * int(config.get("loop_wait", 10)) + 5)

    # How

    def _initialise(self) -> None:
        """Make a whole new database cluster aside, and put it in place in one step."""
        forming = f"{self.instance.data}/{FORMING}"
        shutil.rmtree(forming, ignore_errors=True)
        if os.path.isdir(self.pgdata):
            os.rmdir(self.pgdata)  # an empty one: rmdir takes no other
        programs = self.settings["bin"]
        self._as_postgres(
            f"{programs}/initdb", "--pgdata", forming, "--username", USER, "--data-checksums", "--encoding=UTF8",
            "--auth-local=peer", "--auth-host=scram-sha-256", *self.settings.get("initdb", []),
        )
        strict = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic")
        statements = "".join(f"{each};\n\n" for each in self._accounts())
        self._as_postgres(f"{programs}/postgres", "--single", "-j", "-D", forming, *strict, USER, stdin=statements)
        # Patroni's own copy of the cluster's configuration: its first leader puts it into etcd.
        content = json.dumps(self.settings["dynamic"], sort_keys=True)
        host.write_atomic(f"{forming}/patroni.dynamic.json", content, mode=0o600, owner=USER, group=USER)
        os.rename(forming, self.pgdata)

    def _accounts(self) -> list[str]:
        """The statements that make the cluster's own accounts. The superuser has none: it comes by the socket alone."""
        names = {role: '"' + name.replace('"', '""') + '"' for role, name in self.settings["users"].items()}
        passwords = {role: verifier(self.secrets[role]) for role in names}
        return [
            f"CREATE ROLE {names['replication']} WITH LOGIN REPLICATION PASSWORD '{passwords['replication']}'",
            f"CREATE ROLE {names['rewind']} WITH LOGIN PASSWORD '{passwords['rewind']}'",
            *(f"GRANT EXECUTE ON FUNCTION pg_catalog.{each} TO {names['rewind']}" for each in REWIND_FUNCTIONS),
        ]

    def _own_data(self) -> None:
        """The data folder is Postgres'. The marker in it stays root's."""
        os.chmod(self.instance.data or "", 0o700)
        host.own(self.instance.data or "", USER, USER)

    def _set_aside(self) -> None:
        """Move a copy that was cut short out of the way of the next one.

        Nothing ever started from it, since it lacks pg_control, which pg_basebackup writes last. It is kept all the
        same: a run removes no data.
        """
        if host.unit(self.instance.unit).running or self.find().state != HALF_FORMED or not os.path.isdir(self.pgdata):
            return
        os.rename(self.pgdata, f"{self.instance.data}/{ASIDE}{int(time.time())}")

    def _restart_postgres(self) -> None:
        """Restart Postgres alone, under its Patroni: the leader stays the leader."""
        patience = int(self.start_seconds)
        status, said = self._call("POST", "/restart", {"timeout": str(patience)}, timeout=patience + 30)
        if status != 200:
            raise host.Failed(f"Postgres did not restart on {self.member['host']}: {self._why() or said}")

    def _await_postgres(self) -> None:
        """Wait until Postgres runs, or begins to clone. Raises Failed, in its own words, once it surely does not start.

        One that is only slow is left to whoever looks next.
        """
        failures = 0
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline:
            try:
                state = self.rest.get(OWN_STATE).get("state")
            except patroni.NoAnswer:
                state = None
            if state in ("running", "creating replica"):
                return
            failures += state == "start failed"
            if failures >= 3 or host.unit(self.instance.unit).broken:
                who = f"{self.group['name']} on {self.member['host']}"
                raise host.Failed(f"Postgres of {who} does not start: {self._why()}")
            time.sleep(self.poll_seconds)

    def _written(self) -> int | None:
        """When Patroni last wrote Postgres' configuration, None where it never did."""
        try:
            return os.stat(f"{self.pgdata}/postgresql.conf").st_mtime_ns
        except FileNotFoundError:
            return None

    def _forget_undo(self) -> None:
        """Once nobody else waits for a restart, what was settled has come to stay."""
        if UNDO in self._config() and not set(self._view().pending) - {self.member["id"]}:
            self._patch({UNDO: None})

    def _await_pending(self, seconds: float) -> None:
        """Wait until every member says that it waits for a restart; each looks into etcd at its own pace."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            seen = self._view()
            if seen.counted and set(seen.counted) <= set(seen.pending):
                return
            time.sleep(self.poll_seconds)

    def _why(self) -> str:
        """The last complaints of Postgres and Patroni in the journal."""
        lines = host.journal(self.instance.unit, 300).split(" | ")  # each try of Patroni's to start it writes 50
        return " ".join([line for line in lines if any(word in line for word in COMPLAINTS)][-2:])

    def _config(self) -> dict[str, Any]:
        try:
            return self.rest.get("/config")
        except patroni.NoAnswer as error:
            raise host.Failed(str(error)) from error

    def _keys(self) -> dict[str, str]:
        try:
            return patroni.keys(self.settings["etcd"], self.settings["etcd_pki"], self.prefix)
        except patroni.NoAnswer as error:
            raise host.Failed(str(error)) from error

    def _view(self) -> patroni.View:
        try:
            return patroni.view(self.rest.get("/cluster"), self.group["members"])
        except patroni.NoAnswer:
            return patroni.View()

    def _patch(self, patch: dict[str, Any]) -> None:
        status, said = self._call("PATCH", "/config", patch)
        if status != 200:
            raise host.Failed(f"Patroni did not take the configuration of {self.group['name']}: {status} {said}")

    def _call(self, method: str, path: str, body: dict[str, Any], timeout: float = 15) -> tuple[int, str]:
        try:
            return self.rest.call(method, path, body, timeout)
        except patroni.NoAnswer as error:
            raise host.Failed(str(error)) from error

    def _as_postgres(self, *command: str, stdin: str | None = None) -> None:
        host.run(["runuser", "-u", USER, "--", "env", "--chdir=/", *command], stdin=stdin, timeout=300)
