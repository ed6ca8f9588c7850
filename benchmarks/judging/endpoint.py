"""`python -m benchmarks.judging.endpoint`: the judges' server in a process of its own, told and asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.judging.questions import number_of, rule
from benchmarks.judging.server import Body, Call, Faults, Server, response

ROOT = Path(__file__).parents[2]


class LoggedServer(Server):
    """Tells its calls under /log and begins anew, with the faults it is given, under /reset."""

    def admin(self, path: str, body: Body) -> bytes | None:
        if path == "/log":
            calls = [[number_of(call.question), call.outcome, call.seconds] for call in self.calls]
            return response(200, {"calls": calls, "most_in_flight": self.most_in_flight})
        if path == "/count":
            answered = sum(call.outcome == "answered" for call in self.calls)
            return response(200, {"answered": answered, "in_flight": self.in_flight})
        if path == "/reset":
            self.reset(Faults(**body))
            return response(200, {})
        return None


@dataclass(frozen=True)
class Log:
    """What the server saw: every call in the order in which they ended, questions by number and order."""

    calls: Sequence[Call]
    most_in_flight: int


class Count(NamedTuple):
    """Calls answered since the reset, and calls under way."""

    answered: int
    in_flight: int


@dataclass(frozen=True)
class Endpoint:
    """A running server, as its client's parent knows it."""

    address: str

    @property
    def url(self) -> str:
        return f"{self.address}/v1"

    def reset(self, faults: Faults) -> None:
        self._ask("/reset", asdict(faults))

    def count(self) -> Count:
        return Count(**self._ask("/count"))

    def log(self) -> Log:
        told = self._ask("/log")
        return Log([Call(*call) for call in told["calls"]], told["most_in_flight"])

    def _ask(self, path: str, body: Any = None) -> Any:
        with urllib.request.urlopen(self.address + path, json.dumps(body or {}).encode(), timeout=60) as reply:
            return json.load(reply)


@contextmanager
def serving() -> Iterator[Endpoint]:
    """A server for as long as the `with` lasts; it also ends with this process, whose pipe it reads.

    Raises RuntimeError when it does not start.
    """
    command = [sys.executable, "-m", "benchmarks.judging.endpoint"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the judges' server ended with {process.wait()} before it listened")
        yield Endpoint(f"http://127.0.0.1:{port}")
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


async def _serve_until_stdin_ends() -> None:
    server = LoggedServer(rule)
    await server.listen()
    print(server.port, flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(ended), sys.stdin)
    await ended.read()


if __name__ == "__main__":
    asyncio.run(_serve_until_stdin_ends())
