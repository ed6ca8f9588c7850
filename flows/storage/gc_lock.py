"""Runs and `plumb gc` keep out of each other's way, by a lock of PLUMB_STATE: runs share it, gc holds it alone.

What a run restores or makes may be what gc found unneeded a moment before, also in a clone that was not there then.
"""

from __future__ import annotations

import contextlib
import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path

FILE = "gc.lock"


@contextlib.contextmanager
def run_under_way(state: Path) -> Iterator[None]:
    """While inside, no gc begins; waits for one that is at work. A dead process holds nothing."""
    with (state / FILE).open("a", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            print("plumb gc is at work; waiting", file=sys.stderr)
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def no_run_under_way(state: Path) -> Iterator[None]:
    """While inside, runs wait. Raises ValueError where one is under way."""
    with (state / FILE).open("a", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"a run is under way that uses PLUMB_STATE={state}, so nothing is freed; run plumb gc when it has ended"
            ) from None
        yield
