"""A chat-completions server on a real socket, with the faults that real ones have, cheap enough to share two cores."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Body = dict[str, Any]
Rule = Callable[[Body], str]
PATH = "/v1/chat/completions"
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Faults:
    """Shares of calls that fail, by kind; `latency` and `jitter` in seconds (uniform around the latency)."""

    latency: float = 0.0
    jitter: float = 0.0
    too_many: float = 0.0
    retry_after: float = 0.0
    dropped: float = 0.0
    malformed: float = 0.0
    seed: int = 0


class Call(NamedTuple):
    """A request's user message, what became of it (answered, 429, dropped, malformed, 400, 401, 404), and the seconds
    that the server meant to take over it."""

    question: str
    outcome: str
    seconds: float


@dataclass
class Server:
    """`rule` makes the content of a reply from the request. `formats`: the response formats that the server takes.

    `key`: what it asks for as a key; `model`: the only model it has. `calls` in the order in which they ended.
    """

    rule: Rule
    faults: Faults = field(default_factory=Faults)
    formats: tuple[str | None, ...] = ("json_schema", "json_object", None)
    key: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10})
    calls: list[Call] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self.reset(self.faults)

    def reset(self, faults: Faults) -> None:
        """Forget the calls so far, and begin these faults from their seed."""
        self.faults, self._random = faults, random.Random(faults.seed)
        self.calls, self.most_in_flight = [], 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def answered(self) -> list[str]:
        return [call.question for call in self.calls if call.outcome == "answered"]

    async def listen(self) -> None:
        """Take connections on a free port, for as long as the loop runs."""
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]

    def plan(self, path: str, headers: dict[str, str], body: Body) -> tuple[float, str, bytes | None]:
        """(seconds to take, what becomes of the call, the reply); no reply closes the connection."""
        if path != PATH:
            return 0.0, "404", _error(404, "Not Found")
        if self.key and headers.get("authorization") != f"bearer {self.key}".lower():
            return 0.0, "401", _error(401, "Incorrect API key provided")
        if self.model and body["model"] != self.model:
            return 0.0, "404", _error(404, f"The model `{body['model']}` does not exist")
        if (body.get("response_format") or {}).get("type") not in self.formats:
            return 0.0, "400", _error(400, "response_format is not supported")
        draw = self._random.random()
        seconds = max(0.0, self.faults.latency + self.faults.jitter * (2 * self._random.random() - 1))
        return seconds, *self._outcome(draw, body)

    def _outcome(self, draw: float, body: Body) -> tuple[str, bytes | None]:
        if (draw := draw - self.faults.too_many) < 0:
            return "429", _error(429, "slow down", f"Retry-After: {self.faults.retry_after:g}\r\n")
        if (draw := draw - self.faults.dropped) < 0:
            return "dropped", None
        if draw - self.faults.malformed < 0:
            return "malformed", _completion(body, "I would rather talk of the weather.", self.usage)
        return "answered", _completion(body, self.rule(body), self.usage)

    def admin(self, path: str, body: Body) -> bytes | None:
        """The reply to a path that is no judge's, if this server knows it."""
        return None


class _Connection(asyncio.Protocol):
    """One connection; its requests come one after the other, as HTTP/1.1 has them without pipelining."""

    def __init__(self, server: Server) -> None:
        self.server, self.buffer = server, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, rest = self.buffer.partition(END_OF_HEAD)
        if not end:
            return
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self._request(lines[0].split(" ")[1], headers, json.loads(rest[:length] or b"{}"))

    def _request(self, path: str, headers: dict[str, str], body: Body) -> None:
        reply = self.server.admin(path, body)
        if reply is not None:
            self.transport.write(reply)
            return
        seconds, outcome, reply = self.server.plan(path, headers, body)
        self.server.in_flight += 1
        self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        call = Call(body["messages"][-1]["content"] if body.get("messages") else "", outcome, seconds)
        asyncio.get_running_loop().call_later(seconds, self._end, call, reply)

    def _end(self, call: Call, reply: bytes | None) -> None:
        self.server.in_flight -= 1
        self.server.calls.append(call)
        if reply is None:
            self.transport.abort()
        elif not self.transport.is_closing():
            self.transport.write(reply)


def _completion(body: Body, content: str, usage: dict[str, int] | None) -> bytes:
    message = {"role": "assistant", "content": content}
    document = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    return response(200, document if usage is None else {**document, "usage": usage})


def _error(status: int, message: str, more: str = "") -> bytes:
    return response(status, {"error": {"message": message}}, more)


def response(status: int, document: dict[str, Any], more: str = "") -> bytes:
    """An HTTP/1.1 response with a JSON body; `more` are further header lines."""
    content = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content
