# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages for hosts that have no way out: one cache for all labs, and a door to it in each lab.

The door is a plain HTTP proxy at the lab's gateway. It answers for the Debian sources that this machine's own apt is
configured with, and for nothing else. nginx keeps what it fetched; it stands outside the namespaces, at a unix socket.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from . import network
from .cgroup import Cgroup
from .definition import DEBIAN
from .errors import LabError
from .process import run, spawn
from .state import RUN, Lab

FOLDER = RUN / ".packages"
SOCKET = FOLDER / "socket"
START_SECONDS = 30
SUITES = "bullseye|bookworm|trixie|forky|sid|oldstable|stable|testing|unstable"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Sources:
    """Where this machine gets Debian: the addresses of the archive and of its security updates (which may be empty)."""

    archive: str
    security: str

    @property
    def lines(self) -> list[str]:
        """The lines of the hosts' sources.list. They say http, since they go through the proxy."""
        lines = [f"deb {_plain(self.archive)} {suite} main" for suite in (DEBIAN, f"{DEBIAN}-updates")]
        if self.security:
            lines.append(f"deb {_plain(self.security)} {DEBIAN}-security main")
        return lines

    @property
    def upstreams(self) -> dict[str, str]:
        """What the proxy answers for: host name to the address that it fetches from."""
        found = {}
        for address in filter(None, (self.archive, self.security)):
            parts = urlsplit(address)
            found[parts.netloc.partition(":")[0]] = f"{parts.scheme}://{parts.netloc}"
        return found


def _plain(address: str) -> str:
    return re.sub("^https:", "http:", address)


@cache
def sources() -> Sources:
    """Read this machine's own apt configuration.

    Raises:
        LabError: it names no Debian archive.
    """
    archive = security = ""
    wanted = ("--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    for line in run("apt-get", "indextargets", "--no-release-info", *wanted).splitlines():
        address, suite, component = line.split()[:3]
        address = address.rstrip("/")
        if component != "main" or not re.match("https?://", address):
            continue
        if re.fullmatch(f"({SUITES})-security", suite):
            security = security or address
        elif re.fullmatch(SUITES, suite):
            archive = archive or address
    if not archive:
        raise LabError("This machine's apt has no Debian archive reached by HTTP. Add one to /etc/apt/sources.list.d.")
    return Sources(archive, security)


def _configuration(folder: Path) -> str:
    """Return nginx's configuration. What is named by content or version is kept; the indexes are looked at again."""
    servers = "".join(
        f"""
  server {{
    listen unix:{SOCKET};
    server_name {name};
    location / {{ proxy_pass {upstream}; proxy_cache_valid 200 60d; }}
    location ~ /dists/ {{ proxy_pass {upstream}; proxy_cache_valid 200 10m; }}
    location ~ /by-hash/ {{ proxy_pass {upstream}; proxy_cache_valid 200 60d; }}
  }}"""
        for name, upstream in sources().upstreams.items()
    )
    return f"""daemon off;
user root;
worker_processes 1;
pid {FOLDER}/pid;
error_log {FOLDER}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  server_names_hash_bucket_size 128;
  client_body_temp_path {FOLDER}/body;
  proxy_cache_path {folder}/packages levels=1:2 keys_zone=packages:10m max_size=8g inactive=60d use_temp_path=off;
  proxy_cache packages;
  proxy_cache_key $host$uri;
  proxy_cache_lock on;
  proxy_cache_lock_age 5m;
  proxy_cache_lock_timeout 5m;
  proxy_cache_use_stale error timeout http_500 http_502 http_503 http_504;
  proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $proxy_host;
  proxy_ssl_server_name on;
  server {{ listen unix:{SOCKET} default_server; return 403; }}{servers}
}}
"""


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(address))
        except OSError:
            return False
    return True


def serve(lab: Lab) -> None:
    """Start the machine's cache unless it runs: one for all labs, since two nginx can't share a cache folder.

    The caller holds the machine's lock.
    """
    group = Cgroup(".packages")
    if group.populated and _answers(SOCKET):
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    (lab.cache / "packages").mkdir(parents=True, exist_ok=True)
    (FOLDER / "nginx.conf").write_text(_configuration(lab.cache))
    log = FOLDER / "error.log"
    deadline = time.monotonic() + START_SECONDS
    while not _start(group, log, deadline):  # nginx ends when a name can't be resolved; the next moment it may be
        if time.monotonic() > deadline:
            raise LabError(f"The package cache (nginx) doesn't start. It said: {log.read_text()[-1000:].strip()}")
        time.sleep(1)


def _start(group: Cgroup, log: Path, deadline: float) -> bool:
    """Start nginx anew; return whether it came to listen."""
    group.remove()
    SOCKET.unlink(missing_ok=True)
    log.write_text("")
    spawn(["nginx", "-p", FOLDER, "-e", log, "-c", FOLDER / "nginx.conf"], log, group.create().enter)
    while not _answers(SOCKET):
        time.sleep(0.02)
        if "[emerg]" in log.read_text() or time.monotonic() > deadline:
            return False
    return True


def stop() -> None:
    """End the machine's cache. The caller holds the machine's lock and knows that no lab is left."""
    Cgroup(".packages").remove()


def open_door(lab: Lab) -> None:
    """Let the lab's hosts reach the cache at their gateway; harmless where they do."""
    group = Cgroup(lab.name, "packages")
    if group.populated:
        return
    listen = f"TCP-LISTEN:80,bind={lab.definition.gateway},fork,reuseaddr,backlog=128"
    command = [*network.inside(lab), "socat", listen, f"UNIX-CONNECT:{SOCKET}"]
    spawn(command, lab.folder / "packages.log", group.create().enter)


def door(lab: Lab) -> str:
    """Return the proxy's address, as apt takes it."""
    return f"http://{lab.definition.gateway}:80"
