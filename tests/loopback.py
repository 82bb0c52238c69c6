"""A server on this machine in the place of a publisher's, which misbehaves as it is told."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server(ThreadingHTTPServer):
    """Serves `files`; the switches make it misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True  # whether Range is honoured
        self.etag: str | None = '"one"'
        self.cuts: list[int] = []  # the next answers break off after so many bytes
        self.failures: list[int] = []  # the next answers are these errors
        self.moved: dict[str, str] = {}  # path → where it is instead
        self.stated = ""  # SHA-256 that redirections state
        self.says_length = True
        self.gate: threading.Event | None = None  # answers wait for it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        if self.server.failures:
            self.send_error(self.server.failures.pop(0))
            return
        if self.server.gate is not None:
            self.server.gate.wait(10)
        if self.path in self.server.moved:
            self.send_response(302)
            self.send_header("Location", self.server.moved[self.path])
            if self.server.stated:
                self.send_header("X-Linked-Etag", f'"{self.server.stated}"')
            self.end_headers()
            return
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        start = 0
        if wanted and self.server.ranges and self.headers.get("If-Range") in (None, self.server.etag):
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: self.server.cuts.pop(0) if self.server.cuts else None])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server while the block runs."""
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    # The default poll of half a second would be the length of every test.
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
