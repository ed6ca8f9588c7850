"""Locks of files between processes. The kernel frees a lock with the process that holds it, however that ends."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def held(path: Path, shared: bool = False, busy: Callable[[TextIO], None] = lambda file: None) -> Iterator[TextIO]:
    """Hold the lock of a file, alone or together with others who share it, and give the file.

    busy: told the file when another holds it, before that is waited for; what it raises is raised instead.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not take(file, shared):
            busy(file)
            fcntl.flock(file, _mode(shared))
        yield file


def take(file: TextIO | int, shared: bool = False) -> bool:
    """Lock an open file now, until it is closed; False where another holds it."""
    try:
        fcntl.flock(file, _mode(shared) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock alone; False for a file that is not there or cannot be read."""
    try:
        with path.open("rb") as file:
            return not take(file.fileno(), shared=True)
    except OSError:
        return False


def _mode(shared: bool) -> int:
    return fcntl.LOCK_SH if shared else fcntl.LOCK_EX
