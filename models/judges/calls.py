"""Calls under way side by side: a window onto them, and an end to every wait as soon as one of them fails."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Calls:
    """To be made inside the loop that runs the calls."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()

    def start(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(call)
        self._under_way.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        failure = None if task.cancelled() else task.exception()  # asyncio complains of one that nobody has asked for
        self._failure = self._failure or failure
        self._changed.set()

    async def until_fewer_than(self, limit: int) -> None:
        """Wait until fewer than `limit` are under way. Raises what the first call that failed raised."""
        while len(self._under_way) >= limit:
            await self._change()
        self._check()

    async def unless_one_fails(self, wanted: Coroutine[Any, Any, bool]) -> bool:
        """What `wanted` returns. Raises what a call that fails meanwhile raises."""
        task = asyncio.ensure_future(wanted)
        task.add_done_callback(lambda _: self._changed.set())
        while not task.done():
            await self._change()
        return task.result()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Cancel what is under way, and wait for its end."""
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
