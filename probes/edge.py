# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that knocks at the virtual addresses of balancers, and counts.

How it is called and what it writes stands in counting.py beside this file. The one operation is `knock`: a new TLS
connection and the first line of HAProxy's answer, for which its statistics page asks a password. So it is HAProxy
itself that answered: the kernel alone accepts connections for a daemon that is frozen, and servers behind may be down.

    {"targets": {"198.18.0.100": {"knock": {"host": "198.18.0.100", "port": 7000}}}, "ca": PATH,
     "rate": 25, "workers": 10, "timeout": 0.4}
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any

import counting


class Client:
    """Knocks at one address.

    Args:
        endpoint: `{host, port}`; the certificate must be for the host.
        settings: the probe's.
        run: its name, of no use here.
    """

    def __init__(self, endpoint: dict[str, Any], settings: dict[str, Any], run: str) -> None:
        self._where = endpoint["host"], endpoint["port"]
        self._timeout = float(settings.get("timeout", 0.4))
        self._context = ssl.create_default_context(cafile=settings["ca"])

    def prepare(self) -> None:
        """Be answered once."""
        self.knock(0)

    def knock(self, number: int) -> int:
        """Be answered by HAProxy."""
        with (
            contextlib.closing(socket.create_connection(self._where, self._timeout)) as wire,
            self._context.wrap_socket(wire, server_hostname=self._where[0]) as secured,
        ):
            secured.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            if not secured.recv(16).startswith(b"HTTP/1"):
                raise ConnectionError("no answer in HTTP")
        return number

    def close(self) -> None:
        """Nothing is kept open."""


if __name__ == "__main__":
    counting.run_as_program(Client, __doc__)
