"""What an attempt at a stage took whose flow was killed or stopped: nobody was left to enter it in the ledger.

Each attempt leaves a note in its stage's folder, which goes when it is entered. A note that is found when the run goes
on is that of a dead one, which lived until it last wrote into that folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from flows.costs.calls import read_calls
from flows.costs.gpu_use import read_use
from flows.costs.ledger import Entry
from flows.documents import read_json, write_json

FILE = "attempt.json"


def note(place: Path, run: str, stage: str) -> None:
    """An attempt of a run at a stage begins."""
    write_json(place / FILE, {"run": run, "stage": stage, "started": time.time()})


def forget(place: Path) -> None:
    """It is about to be entered. In this order: killed between the two, it is lost and never counted twice."""
    (place / FILE).unlink(missing_ok=True)


def lost(state: Path, run: str) -> Iterator[Entry]:
    """The entries that dead attempts of this run still owe the ledger; each is told once."""
    for path in sorted((state / "runs").glob(f"*/{FILE}")):
        noted = read_json(path)
        if noted and noted["run"] == run:
            ended = max(noted["started"], *(file.stat().st_mtime for file in path.parent.iterdir()))
            entry = cost_in_vain(path.parent, run, noted["stage"], noted["started"], ended)
            forget(path.parent)
            yield entry


def cost_in_vain(place: Path, run: str, stage: str, started: float, ended: float) -> Entry:
    """What an attempt took that made nothing. Its answers are in the store, so nobody pays them again."""
    now, gpu = read_calls(place).totals, read_use(place)
    seconds = ended - started
    return Entry(
        stage, "", round(started, 3), round(seconds, 3), failed=True, run=run,
        **{name: int(now.get(name, 0)) for name in ("calls", "input_tokens", "output_tokens", "stored")},
        money=now.get("cost", 0.0), spent=now.get("cost", 0.0), asked=int(now.get("calls", 0)),
        gpus=gpu.gpus, gpu_seconds=round(gpu.seconds(seconds), 3), peak_gpu_bytes=gpu.peak_bytes,
    )  # fmt: skip
