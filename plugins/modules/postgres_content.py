#!/usr/bin/python
# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make users and databases on a leader."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_content
short_description: Make users and databases of Postgres shards, on the hosts of their leaders
version_added: "0.1.0"
author: rackspread founders (@rackspread)
description:
  - Brings users and databases to what is asked for, in one connection a shard over its local socket. What is not
    named is left alone, and nothing is ever dropped.
  - A password goes to Postgres as a SCRAM verifier, so it stands in no statement and in no log. It is compared
    before it is set, so that a second run changes nothing.
  - A module of its own, since those of C(community.postgresql) are a task for each user and each database of each
    shard, and have to be told where the leader is.
options:
  instances:
    description: The instances to work on, those of this host that lead.
    type: list
    elements: dict
    required: true
    suboptions:
      group:
        description: Name of the shard.
        type: str
        required: true
      socket:
        description: Folder of its socket.
        type: path
        required: true
      port:
        description: Its port.
        type: int
        required: true
  users:
    description: Roles that may log in.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      password:
        description: Its password, of printable ASCII characters. Without one the role can't come in by password.
        type: str
      createdb:
        description: Whether it may make databases.
        type: bool
        default: false
      createrole:
        description: Whether it may make roles.
        type: bool
        default: false
  databases:
    description: Databases.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      owner:
        description: The role that owns it, and may do everything in it.
        type: str
        required: true
      groups:
        description: The shards that have it; all where not given.
        type: list
        elements: str
requirements: [python3-psycopg2, which Debian's patroni brings]
attributes:
  check_mode:
    support: full
    description: Tells what it would change.
  diff_mode:
    support: none
    description: Has nothing to show that the list of statements does not.
"""

EXAMPLES = r"""
- name: Make an application's user and database where this host leads
  rackspread.ha.postgres_content:
    instances:
      - {group: postgres_shard1, socket: /run/rackspread-postgres-shard1, port: 25432}
    users:
      - {name: app, password: "{{ app_password }}"}
    databases:
      - {name: app, owner: app}
  no_log: true
"""

RETURN = r"""
made:
  description: What was (or would be) changed, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["postgres_shard1: user app", "postgres_shard1: database app"]
"""

from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.rackspread.ha.plugins.module_utils.scram import matches, verifier

try:
    import psycopg2
    from psycopg2 import sql

    MISSING = None
except ImportError as error:
    MISSING = error

Change = tuple[str, Any]
"""What it is, for people, and the statement."""


def user_changes(cursor: Any, users: list[dict[str, Any]]) -> Iterator[Change]:
    """What brings the roles to what is asked for."""
    cursor.execute("SELECT rolname, rolcanlogin, rolcreatedb, rolcreaterole, rolpassword FROM pg_authid")
    there = {row[0]: row[1:] for row in cursor.fetchall()}
    for user in users:
        name, wanted = user["name"], (True, user["createdb"], user["createrole"])
        *has, stored = there.get(name, (None, None))
        if tuple(has) != wanted:
            options = sql.SQL(" ").join(
                sql.SQL(word if on else f"NO{word}")
                for word, on in zip(("LOGIN", "CREATEDB", "CREATEROLE"), wanted, strict=True)
            )
            verb = sql.SQL("ALTER" if name in there else "CREATE")
            yield f"user {name}", sql.SQL("{} ROLE {} WITH {}").format(verb, sql.Identifier(name), options)
        if user["password"] is not None and not matches(stored, user["password"]):
            statement = sql.SQL("ALTER ROLE {} WITH PASSWORD {}")
            yield (
                f"password of {name}",
                statement.format(sql.Identifier(name), sql.Literal(verifier(user["password"]))),
            )


def database_changes(cursor: Any, databases: list[dict[str, Any]], group: str) -> Iterator[Change]:
    """What brings the databases of a shard to what is asked for."""
    cursor.execute("SELECT datname, pg_get_userbyid(datdba) FROM pg_database")
    there = dict(cursor.fetchall())
    for database in databases:
        name, owner = database["name"], database["owner"]
        if database["groups"] is not None and group not in database["groups"]:
            continue
        if name not in there:
            statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        elif there[name] != owner:
            statement = sql.SQL("ALTER DATABASE {} OWNER TO {}")
        else:
            continue
        yield f"database {name}", statement.format(sql.Identifier(name), sql.Identifier(owner))


def converge(instance: dict[str, Any], parameters: dict[str, Any], check: bool) -> list[str]:
    """Bring one shard to what is asked for; what was changed. Raises psycopg2.Error and ValueError."""
    made = []
    connection = psycopg2.connect(
        host=instance["socket"], port=instance["port"], user="postgres", dbname="postgres", connect_timeout=5,
        application_name="rackspread", options="-c log_statement=none -c log_min_error_statement=panic",
    )
    try:
        connection.autocommit = True  # CREATE DATABASE takes no transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_is_in_recovery()")
            if cursor.fetchone()[0]:
                raise ValueError("it does not lead any more; run again")
            for changes in (
                user_changes(cursor, parameters["users"]),
                database_changes(cursor, parameters["databases"], instance["group"]),
            ):
                for what, statement in list(changes):
                    made.append(f"{instance['group']}: {what}")
                    if not check:
                        cursor.execute(statement)
    finally:
        connection.close()
    return made


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "instances": {
                "type": "list", "elements": "dict", "required": True,
                "options": {
                    "group": {"type": "str", "required": True},
                    "socket": {"type": "path", "required": True},
                    "port": {"type": "int", "required": True},
                },
            },
            "users": {
                "type": "list", "elements": "dict", "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "password": {"type": "str", "no_log": True},
                    "createdb": {"type": "bool", "default": False},
                    "createrole": {"type": "bool", "default": False},
                },
            },
            "databases": {
                "type": "list", "elements": "dict", "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "owner": {"type": "str", "required": True},
                    "groups": {"type": "list", "elements": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=str(MISSING))
    made: list[str] = []
    for instance in module.params["instances"]:
        try:
            made += converge(instance, module.params, module.check_mode)
        except (psycopg2.Error, ValueError) as error:
            module.fail_json(msg=f"{instance['group']}: {str(error).strip()}", made=made)
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
