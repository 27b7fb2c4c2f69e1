#!/usr/bin/python3
"""A server behind the balancers: over TCP it says who it is, over HTTPS its role (in /run/server/role)."""

import http.server
import pathlib
import socketserver
import ssl
import sys
import threading

ADDRESS, NAME = sys.argv[1:3]
PKI = pathlib.Path("/etc/rackspread/pki/postgres")
ROLE = pathlib.Path("/run/server/role")


class Rest(http.server.BaseHTTPRequestHandler):
    """Answers OPTIONS as Patroni does: 200 where the role asked for is its own, 503 where it is not."""

    def do_OPTIONS(self) -> None:
        self.send_response(200 if self.path == f"/{ROLE.read_text().strip()}" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the balancers ask often."""


class Echo(socketserver.StreamRequestHandler):
    """Says its name, then everything that it is told."""

    def handle(self) -> None:
        self.wfile.write(f"{NAME}\n".encode())
        for line in self.rfile:
            self.wfile.write(line)


socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer.daemon_threads = True
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(PKI / "tls.crt", PKI / "tls.key")
context.load_verify_locations(PKI / "ca.crt")
context.verify_mode = ssl.CERT_REQUIRED
rest = http.server.ThreadingHTTPServer((ADDRESS, 8008), Rest)
rest.socket = context.wrap_socket(rest.socket, server_side=True)
threading.Thread(target=rest.serve_forever, daemon=True).start()
socketserver.ThreadingTCPServer((ADDRESS, 25432), Echo).serve_forever()
