"""How long a retraining took: in all, while stages were at work, and outside them; and which step took it.

Stages run side by side, so their time is the time in which at least one of them ran.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import psutil

from flows import command
from flows.costs.ledger import Ledger

OUTSIDE = "outside stages"
RUN_TAG, SECONDS = "plumb.run.", "cost/seconds"  # see flows/alignment/tracking.py and flows/costs/ledger.py


@dataclass(frozen=True)
class Elapsed:
    """Seconds: in all since `began` (since 1970), and while stages ran; `steps` are the parts in their order."""

    began: float
    total: float
    stages: float
    steps: tuple[tuple[str, float], ...]

    @property
    def outside(self) -> float:
        """What orchestration cost, on top of the stages."""
        return self.total - self.stages

    @property
    def line(self) -> str:
        return f"{self.total:.1f} s in all: {self.stages:.1f} s in stages, {self.outside:.1f} s outside them"

    @property
    def metrics(self) -> dict[str, float]:
        """By name, for MLflow."""
        return {
            "retrain/seconds": self.total, "retrain/seconds_in_stages": self.stages,
            "retrain/seconds_outside_stages": self.outside,
        }  # fmt: skip

    def as_markdown(self) -> str:
        """For the Prefect page."""
        rows = [(name, f"{seconds:.1f}") for name, seconds in self.steps]
        return "\n".join(["", self.line, "", *command.markdown_table(("step", "seconds"), rows), ""])


class Stopwatch:
    """Runs since this process began: what it imports and starts before the first step is part of the cost."""

    def __init__(self) -> None:
        self._began, self._turn = psutil.Process().create_time(), time.time()
        self._steps: list[tuple[str, float]] = [("start", self._turn - self._began)]

    def turn_came(self) -> None:
        """Whoever waited for another retraining did not work meanwhile."""
        waited = time.time() - self._turn
        self._began, self._turn = self._began + waited, self._turn + waited

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self._steps.append((name, time.monotonic() - begun))

    def elapsed(self, ledger: Ledger, client, elsewhere: str | None) -> Elapsed:
        """Until now. The ledger knows when stages ran here, the run `elsewhere` in MLflow when on other machines."""
        intervals = [(entry.started, entry.started + entry.seconds) for entry in ledger.since(self._turn)]
        if elsewhere:
            intervals += stage_times(client, elsewhere, self._turn)
        return Elapsed(self._began, time.time() - self._began, covered(intervals), tuple(self._steps))


def stage_times(client, align: str, since: float) -> list[tuple[float, float]]:
    """When the stages ran (begin, end) that a run of align in MLflow points to, of those that began after `since`."""
    tags = client.get_run(align).data.tags
    intervals = []
    for run in (client.get_run(run_id) for name, run_id in tags.items() if name.startswith(RUN_TAG)):
        begin, seconds = run.info.start_time / 1000, run.data.metrics.get(SECONDS)
        if seconds is not None and begin >= since:
            intervals.append((begin, begin + seconds))
    return intervals


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of what intervals (begin, end) cover together."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return total
