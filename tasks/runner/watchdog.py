"""A stage's process dies with those who started it.

Killing dvc leaves the stage's process running, and a rerun would start a second writer. So the stage
asks the kernel to be killed with its parent (Linux), and watches its parent's parent as well, because
dvc starts commands through a shell.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
WATCHED_GENERATIONS = 3
STARTED_BY_DVC = "DVC_STAGE"  # dvc sets this variable for the commands that it starts
POLL_SECONDS = 0.2


def _status(pid: int) -> tuple[int, str] | None:
    """(parent's pid, start time) of a live process; None when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    state, parent, started = fields[0], int(fields[1]), fields[19]
    return None if state in "ZX" else (parent, started)


def _ancestors() -> list[tuple[int, str]]:
    """(pid, start time) of the stage's parent, grandparent and so on, up to dvc's own parent."""
    ancestors, pid = [], os.getppid()
    while pid > 1 and len(ancestors) < WATCHED_GENERATIONS:
        status = _status(pid)
        if status is None:
            break
        ancestors.append((pid, status[1]))
        pid = status[0]
    return ancestors


def _is_dvc(pid: int) -> bool:
    try:
        return b"dvc" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _watch(ancestors: list[tuple[int, str]]) -> None:
    while True:
        for pid, started in ancestors:
            status = _status(pid)
            if status is None or status[1] != started:
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def die_with_parents() -> None:
    """Kill this process as soon as its parent, or its parent's parent up to the third generation, is gone.

    Started without dvc (a notebook, a test, a shell), the ancestors are the terminal's, and the same holds. A dvc that
    died before this was called is missed by neither: its command line is then no ancestor's.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    ancestors = _ancestors()
    orphaned = STARTED_BY_DVC in os.environ and not any(_is_dvc(pid) for pid, _ in ancestors)
    if os.getppid() != parent or orphaned:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=_watch, args=(ancestors,), daemon=True).start()
