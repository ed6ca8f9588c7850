"""The judges' server in a thread of the test, which sees its calls as they end."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass

from benchmarks.judging.server import Faults, Server

__all__ = ["Faults", "JudgeServer"]


@dataclass
class JudgeServer(Server):
    """Listens inside a `with`."""

    def __enter__(self) -> "JudgeServer":
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.listen())
        started.set()
        self._loop.run_forever()
