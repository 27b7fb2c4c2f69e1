# Copyright: the rackspread founders
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of etcd that counts: it puts numbered keys, reads the last one back by quorum, and counts the versions.

How it is called and what it writes stands in counting.py beside this file. It speaks to the JSON gateway of one voter,
and goes to the next where that one does not answer in time, as etcd's own clients do:

    {"targets": {"etcd_voter1": {"write": {"endpoints": ["https://198.18.0.13:2379", …]}, "read": {…}}},
     "timeout": 1, "ca": PATH, "certificate": PATH, "key": PATH}

The client's certificate must be of etcd's authority. A key's version above 1 is a number that was written twice.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlsplit

import counting

DIGITS = 12
"""Of the number in a key, so that keys sort as numbers do."""


class Client:
    """A kept connection to one of the voters.

    Args:
        endpoint: `{endpoints: [URL]}`.
        settings: the probe's.
        run: its name, part of the keys.
    """

    def __init__(self, endpoint: dict[str, Any], settings: dict[str, Any], run: str) -> None:
        self._urls = [urlsplit(url) for url in endpoint["endpoints"]]
        self._timeout = float(settings.get("timeout", 1))
        self._prefix = f"rackspread_probe/{run}/"
        self._context = ssl.create_default_context(cafile=settings["ca"])
        self._context.load_cert_chain(settings["certificate"], settings["key"])
        self._connection: http.client.HTTPSConnection | None = None

    def prepare(self) -> None:
        """See that it answers."""
        self.read(0)

    def write(self, number: int) -> int:
        """Put the number's key."""
        self._call("put", key=_text(f"{self._prefix}{number:0{DIGITS}d}"), value=_text(str(number)))
        return number

    def read(self, number: int) -> int:
        """The highest number that is there, by the word of a majority."""
        found = self._range(limit=1, sort_order="DESCEND", sort_target="KEY", keys_only=True)
        return max(map(_number, found), default=0)

    def stored(self) -> dict[int, int]:
        """Of each number that is there how often it was written."""
        return {_number(pair): int(pair["version"]) for pair in self._range(keys_only=True, seconds=60)}

    def forget(self) -> None:
        """Remove the run's keys."""
        self._call("deleterange", 60, **self._span())

    def close(self) -> None:
        """Throw the connection away."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _range(self, seconds: float | None = None, **how: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("range", seconds, **self._span(), **how).get("kvs", [])
        return found

    def _span(self) -> dict[str, str]:
        return {"key": _text(self._prefix), "range_end": _text(f"{self._prefix[:-1]}0")}  # "0" comes after "/"

    def _call(self, what: str, seconds: float | None = None, **body: Any) -> dict[str, Any]:
        """Send one request, once. Where it fails the next one goes to the next voter."""
        try:
            if self._connection is None:
                where = self._urls[0]
                self._connection = http.client.HTTPSConnection(
                    where.hostname or "", where.port, timeout=self._timeout, context=self._context
                )
                self._connection.connect()
            if self._connection.sock:
                self._connection.sock.settimeout(seconds or self._timeout)
            self._connection.request("POST", f"/v3/kv/{what}", json.dumps(body))
            response = self._connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read() or b"{}")
            if response.status != http.client.OK:
                raise ConnectionError(str(answer.get("message") or answer.get("error") or response.status))
        except Exception:
            self.close()
            self._urls.append(self._urls.pop(0))
            raise
        return answer


def _text(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _number(pair: dict[str, Any]) -> int:
    return int(base64.b64decode(pair["key"]).decode().rpartition("/")[2])


if __name__ == "__main__":
    counting.run_as_program(Client, __doc__)
