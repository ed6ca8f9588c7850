"""How far a stage has come, for whoever watches it; never an input to any result.

A stage calls `report`; when the environment names a folder in PLUMB_LIVE, each call appends one JSON
line to `live.jsonl` there, which the flow tails for its display and for MLflow's live curves.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tasks.common.rows import append_jsonl

LIVE_VARIABLE = "PLUMB_LIVE"
LIVE_FILE = "live.jsonl"


def live_folder() -> Path | None:
    """Where whoever watches this process looks; None where nobody does."""
    folder = os.environ.get(LIVE_VARIABLE)
    return Path(folder) if folder else None


def report(done: int, total: int, unit: str = "step", **metrics: float) -> None:
    """Say that `done` of `total` units are finished, with the numbers known at this point."""
    folder = live_folder()
    if folder is None:
        return
    line = {"done": done, "total": total, "unit": unit, "metrics": metrics, "time": time.time()}
    append_jsonl(folder / LIVE_FILE, [line])
