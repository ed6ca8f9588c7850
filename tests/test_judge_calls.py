"""Calls under way: the window, and a failure that ends every wait."""

import asyncio
import time

import pytest

from models.judges.calls import Calls


async def sleeps(seconds, log=None):
    await asyncio.sleep(seconds)
    if log is not None:
        log.append(seconds)


async def fails():
    raise ConnectionError("gone")


def test_the_window_waits_for_the_first_to_end():
    async def work():
        calls, done = Calls(), []
        for seconds in (0.2, 0.01):
            calls.start(sleeps(seconds, done))
        await calls.until_fewer_than(2)
        assert done == [0.01]
        await calls.until_fewer_than(1)
        assert done == [0.01, 0.2]

    asyncio.run(work())


@pytest.mark.parametrize("wait", ["window", "admission"])
def test_a_failure_ends_every_wait(wait):
    """The other call and what is waited for would take ten seconds."""
    async def work():
        calls = Calls()
        calls.start(sleeps(10))
        calls.start(fails())
        try:
            await (calls.until_fewer_than(1) if wait == "window" else calls.unless_one_fails(sleeps(10)))
        finally:
            await calls.stop()

    began = time.monotonic()
    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(work())
    assert time.monotonic() - began < 5


def test_a_failure_that_nobody_waited_for_is_raised_by_the_next_wait():
    async def work():
        calls = Calls()
        calls.start(fails())
        await asyncio.sleep(0.01)
        await calls.until_fewer_than(1)

    with pytest.raises(ConnectionError):
        asyncio.run(work())


def test_what_was_waited_for_comes_back():
    async def answer():
        await asyncio.sleep(0.01)
        return True

    async def work():
        return await Calls().unless_one_fails(answer())

    assert asyncio.run(work()) is True
