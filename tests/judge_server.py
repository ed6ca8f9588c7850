"""A chat-completions server on a real socket, with the faults that real ones have; runs in a thread of the test."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]
Rule = Callable[[Body], str]


@dataclass
class Faults:
    """Shares of calls that fail, by kind; `latency` and `jitter` in seconds (uniform around the latency)."""

    latency: float = 0.0
    jitter: float = 0.0
    too_many: float = 0.0
    retry_after: float = 0.0
    dropped: float = 0.0
    malformed: float = 0.0
    seed: int = 0


@dataclass
class JudgeServer:
    """`rule` makes the content of a reply from the request. `formats`: the response formats that the server takes.

    `key`: what it asks for as a key; `model`: the only model it has. `calls` holds each request's user message and
    what became of it: answered, 429, dropped, malformed.
    """

    rule: Rule
    faults: Faults = field(default_factory=Faults)
    formats: tuple[str | None, ...] = ("json_schema", "json_object", None)
    key: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 10})
    calls: list[tuple[str, str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def __enter__(self) -> "JudgeServer":
        self._random = random.Random(self.faults.seed)
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def answered(self) -> list[str]:
        return [user for user, outcome in self.calls if outcome == "answered"]

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512))
        self._port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
                body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
                path = head.split(" ")[1]
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    reply = await self._reply(path, headers, body)
                finally:
                    self.in_flight -= 1
                if reply is None:
                    writer.transport.abort()
                    return
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _reply(self, path: str, headers: dict[str, str], body: Body) -> bytes | None:
        if path != "/v1/chat/completions":
            return _response(404, {"error": {"message": "Not Found"}})
        if self.key and headers.get("authorization") != f"bearer {self.key}".lower():
            return self._note(body, "401", _response(401, {"error": {"message": "Incorrect API key provided"}}))
        if self.model and body["model"] != self.model:
            message = f"The model `{body['model']}` does not exist"
            return self._note(body, "404", _response(404, {"error": {"message": message}}))
        if (body.get("response_format") or {}).get("type") not in self.formats:
            return self._note(body, "400", _response(400, {"error": {"message": "response_format is not supported"}}))
        draw = self._random.random()
        await asyncio.sleep(max(0.0, self.faults.latency + self.faults.jitter * (2 * self._random.random() - 1)))
        if (draw := draw - self.faults.too_many) < 0:
            wait = f"Retry-After: {self.faults.retry_after}\r\n"
            return self._note(body, "429", _response(429, {"error": {"message": "slow down"}}, wait))
        if (draw := draw - self.faults.dropped) < 0:
            return self._note(body, "dropped", None)
        if draw - self.faults.malformed < 0:
            return self._note(body, "malformed", _completion(body, "I would rather talk of the weather.", self.usage))
        return self._note(body, "answered", _completion(body, self.rule(body), self.usage))

    def _note(self, body: Body, outcome: str, reply: bytes | None) -> bytes | None:
        self.calls.append((body["messages"][-1]["content"], outcome))
        return reply


def _completion(body: Body, content: str, usage: dict[str, int] | None) -> bytes:
    message = {"role": "assistant", "content": content}
    document = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    return _response(200, document if usage is None else {**document, "usage": usage})


def _response(status: int, document: dict[str, Any], more: str = "") -> bytes:
    content = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{more}Content-Length: {len(content)}\r\n\r\n"
    return head.encode() + content
