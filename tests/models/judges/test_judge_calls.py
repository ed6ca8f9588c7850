"""Calls under way: the window, and a failure that ends every wait."""

import asyncio
import gc

import pytest

from models.judges.calls import Calls

PATIENCE = 60  # seconds; only a wait that never ends takes them


async def waits_for(event, log):
    await event.wait()
    log.append(event)


async def never_ends():
    await asyncio.Event().wait()


async def fails():
    raise ConnectionError("gone")


def test_the_window_waits_for_the_first_to_end():
    async def work():
        calls, done, slow, quick = Calls(), [], asyncio.Event(), asyncio.Event()
        for event in (slow, quick):
            calls.start(waits_for(event, done))
        quick.set()
        await calls.until_fewer_than(2)
        assert done == [quick]
        slow.set()
        await calls.until_fewer_than(1)
        assert done == [quick, slow]

    asyncio.run(asyncio.wait_for(work(), PATIENCE))


@pytest.mark.parametrize("wait", ["window", "admission"])
def test_a_failure_ends_every_wait(wait):
    """The other call and what is waited for would never end."""
    async def work():
        calls = Calls()
        calls.start(never_ends())
        calls.start(fails())
        try:
            await (calls.until_fewer_than(1) if wait == "window" else calls.unless_one_fails(never_ends()))
        finally:
            await calls.stop()

    with pytest.raises(ConnectionError, match="gone"):
        asyncio.run(asyncio.wait_for(work(), PATIENCE))


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


def test_two_calls_that_fail_at_once_are_one_error_and_no_complaint():
    """asyncio says "Task exception was never retrieved" of a failure that nobody asked for, with its traceback."""
    complaints = []

    async def fails(number):
        raise ValueError(f"call {number}")

    async def both():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
        calls = Calls()
        for number in (1, 2):
            calls.start(fails(number))
        with pytest.raises(ValueError, match="call 1"):
            await calls.until_fewer_than(1)
        await calls.stop()

    asyncio.run(both())
    gc.collect()
    assert complaints == []
