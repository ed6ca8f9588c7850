"""The judges' server in a process of its own, and what its client's parent may ask it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.managers import BaseManager
from typing import NamedTuple

from benchmarks.judging.questions import number_of, rule
from benchmarks.judging.server import Call, Faults, Server


@dataclass(frozen=True)
class Log:
    """What the server saw: every call in the order in which they ended, questions by number and order."""

    calls: Sequence[Call]
    most_in_flight: int


class Count(NamedTuple):
    """Calls answered since the reset, and calls under way."""

    answered: int
    in_flight: int


class Endpoint:
    """A server that listens; its parent has a proxy of it."""

    def __init__(self) -> None:
        self._server, loop = Server(rule), asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._server.listen(), loop).result(60)

    def url(self) -> str:
        return self._server.url

    def reset(self, faults: Faults) -> None:
        self._server.reset(faults)

    def count(self) -> Count:
        return Count(len(self._server.answered()), self._server.in_flight)

    def log(self) -> Log:
        calls = [Call(number_of(call.question), call.outcome, call.seconds) for call in self._server.calls]
        return Log(calls, self._server.most_in_flight)


class _Manager(BaseManager):
    """Of the server's process."""


_Manager.register("endpoint", Endpoint)


@contextmanager
def serving() -> Iterator[Endpoint]:
    """A server for as long as the `with` lasts; it also ends with this process."""
    manager = _Manager(ctx=multiprocessing.get_context("spawn"))
    manager.start(_end_with_parent)
    with manager:
        yield manager.endpoint()


def _end_with_parent() -> None:
    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
