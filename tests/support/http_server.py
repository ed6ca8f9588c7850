"""A small HTTP server on loopback, in a thread of the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Request(NamedTuple):
    path: str
    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    status: int
    content: bytes = b""
    headers: Mapping[str, str] = {}


@contextlib.contextmanager
def serving(answer: Callable[[Request], Reply | None]) -> Iterator[str]:
    """The address of a server that gives to each GET and POST what `answer` says; None cuts the connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply = answer(Request(self.path, self.headers, body))
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for header in reply.headers.items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(reply.content)

        do_POST = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
