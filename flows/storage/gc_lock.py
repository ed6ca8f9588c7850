"""Runs and `plumb gc` keep out of each other's way, by a lock of PLUMB_STATE: runs share it, gc holds it alone.

What a run restores or makes may be what gc found unneeded a moment before, also in a clone that was not there then.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from tasks.common import file_lock

FILE = "gc.lock"


def run_under_way(state: Path) -> AbstractContextManager:
    """While inside, no gc begins; waits for one that is at work."""
    return file_lock.held(
        state / FILE, shared=True, busy=lambda _: print("plumb gc is at work; waiting", file=sys.stderr)
    )


def no_run_under_way(state: Path) -> AbstractContextManager:
    """While inside, runs wait. Raises ValueError where one is under way."""

    def refuse(_) -> None:
        raise ValueError(
            f"a run is under way that uses PLUMB_STATE={state}, so nothing is freed; run plumb gc when it has ended"
        )

    return file_lock.held(state / FILE, busy=refuse)
