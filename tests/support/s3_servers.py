"""Real S3 servers on loopback, and a proxy between them and us that throttles and cuts connections as it is told."""

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import boto3
import pytest
from botocore.config import Config

from tests.import_closure import ROOT
from tests.support import needs
from tests.support.browser import chromium
from tests.support.ports import free_port

ENVIRONMENT = Path(os.environ.get("PLUMB_SERVICES", ROOT / ".services"))
START_SECONDS = 120


def program(name: str) -> str:
    path = ENVIRONMENT / "bin" / name
    if not path.exists():
        needs.absent(f"{path} is not there", "make .services/ready installs what these tests talk to")
    return str(path)


def browser() -> list[str]:
    """The command that opens a page: tests/support/browser.py, in the environment that has Playwright."""
    if chromium() is None:
        needs.absent("no Chromium", "apt-get install chromium, or name one in PLUMB_CHROMIUM")
    return [program("python"), str(Path(__file__).with_name("browser.py"))]


@dataclass(frozen=True)
class Server:
    """An S3 server: its address and the credentials that it takes."""

    url: str
    key: str
    secret: str

    def environment(self, **more: str) -> dict[str, str]:
        """What a program that talks to it needs."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url, "AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", **more,
        }  # fmt: skip

    def through(self, url: str) -> "Server":
        return Server(url, self.key, self.secret)

    def client(self):
        return boto3.client(
            "s3", endpoint_url=self.url, aws_access_key_id=self.key, aws_secret_access_key=self.secret,
            region_name="us-east-1", config=Config(s3={"addressing_style": "path"}),
        )  # fmt: skip

    def bucket(self) -> str:
        """A new, empty bucket."""
        name = f"box-{secrets.token_hex(4)}"
        self.client().create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, objects: dict[str, bytes]) -> None:
        for key, content in objects.items():
            self.client().put_object(Bucket=bucket, Key=key, Body=content)


@contextlib.contextmanager
def moto_server() -> Iterator[Server]:
    """Versions, multipart and conditional writes; does not look at credentials."""
    port = free_port()
    with _running([program("moto_server"), "-H", "127.0.0.1", "-p", str(port)], port):
        yield Server(f"http://127.0.0.1:{port}", "moto-key", "moto-secret-0123456789")


@pytest.fixture(scope="module")
def moto() -> Iterator[Server]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def rclone(tmp_path_factory) -> Iterator[Server]:
    """Objects as files in a folder, also with a newline in their key; checks credentials and signatures."""
    folder = tmp_path_factory.mktemp("rclone") / "objects"
    folder.mkdir()
    port, key, secret = free_port(), "rclone-key-" + secrets.token_hex(4), secrets.token_hex(20)
    command = [program("rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", f"{key},{secret}"]
    command += ["--vfs-cache-mode", "writes", "--cache-dir", str(folder.parent / "rclone-cache"), "--config", ""]
    with _running([*command, str(folder)], port):
        yield Server(f"http://127.0.0.1:{port}", key, secret)


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert process.poll() is None and time.monotonic() < deadline, f"{command[0]} does not start"
            time.sleep(0.05)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


# --- faults ---


@dataclass(frozen=True)
class Asked:
    """One request as the proxy sees it; `count` says how many of this method and path there were before."""

    method: str
    path: str
    count: int


def slow_down(request: Asked) -> str:
    return "slow down"


@dataclass
class Proxy:
    """Forwards to `upstream`; `fault` says what happens to a request: "slow down", "cut", "flip" a bit, or None."""

    upstream: Server
    fault: Callable[[Asked], str | None] = lambda request: None
    seen: list[Asked] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> "Proxy":
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def server(self) -> Server:
        return self.upstream.through(self.url)


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits 40 ms for an acknowledgement

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            before = sum((one.method, one.path) == (self.command, path) for one in proxy.seen)
            request = Asked(self.command, path, before)
            proxy.seen.append(request)
            fault = proxy.fault(request)
            length = int(self.headers.get("Content-Length") or 0)
            if self.headers.get("Expect"):
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(length // 2 if fault == "cut" else length)
            if fault == "cut" and length:
                self.close_connection = True
                return
            if fault == "slow down":
                text = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
                self.send_whole(503, {"Content-Type": "application/xml"}, text)
                return
            self.forward(body, fault)

        def forward(self, body: bytes, fault: str | None) -> None:
            link = http.client.HTTPConnection(proxy.upstream.url.removeprefix("http://"), timeout=60)
            # The Host header stays that of the client: it is part of the signature.
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "connection")}
            link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                link.putheader(name, value)
            link.endheaders(body or None)
            answer = link.getresponse()
            content = answer.read()
            kept = {
                k: v
                for k, v in answer.getheaders()
                if k.lower() not in ("connection", "transfer-encoding", "date", "server")
            }
            if self.command != "HEAD":
                kept["Content-Length"] = str(len(content))
            if fault == "flip":
                content = content[:-1] + bytes([content[-1] ^ 1])
            self.send_whole(answer.status, kept, content[: len(content) // 2] if fault == "cut" else content)
            self.close_connection = self.close_connection or fault == "cut"

        def send_whole(self, status: int, headers: dict[str, str], content: bytes) -> None:
            headers.setdefault("Content-Length", str(len(content)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer

        def log_message(self, *arguments) -> None:
            pass

    return Handler
