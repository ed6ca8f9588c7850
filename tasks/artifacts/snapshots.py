"""Policies kept on the way, for `select`; first beside the resume checkpoints, because outs do not survive a kill."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Callable

from tasks.common.rows import appears_whole

SELECTION_FILE = "selection.json"  # which of them select chose
FINAL = "final"  # the name of the policy that training ended with, beside those of its snapshots
SNAPSHOTS_FOLDER = "snapshots"


def snapshot_steps(steps: int, count: int) -> set[int]:
    """`count` steps evenly spaced strictly inside a run of `steps`; fewer where the run is too short."""
    return {round(steps * k / (count + 1)) for k in range(1, count + 1)} - {0, steps}


def keep_snapshot(checkpoints: Path, step: int, write: Callable[[Path], None]) -> None:
    """Write one policy snapshot whole or not at all."""
    with appears_whole(checkpoints / SNAPSHOTS_FOLDER / f"step-{step}") as partial:
        write(partial)


def collect_snapshots(checkpoints: Path, out: Path) -> None:
    """Copy the kept policies to `out/checkpoints/step-N`."""
    for snapshot in sorted((checkpoints / SNAPSHOTS_FOLDER).glob("step-*")):
        shutil.copytree(snapshot, out / "checkpoints" / snapshot.name)


def checkpoints_of(policy: Path) -> dict[str, Path]:
    """The policies in an artifact, by name: the final one, and the snapshots kept on the way."""
    snapshots = sorted((policy / "checkpoints").glob("step-*"), key=lambda path: int(path.name.split("-")[1]))
    return {FINAL: policy, **{path.name: path for path in snapshots}}
