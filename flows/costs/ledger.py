"""What every stage run cost: one JSON line each in PLUMB_STATE/ledger.jsonl, read by `plumb plan` and the clock."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.common.rows import append_jsonl


@dataclass(frozen=True)
class Entry:
    """The cost of one stage run: money in the currency of the judges' prices, `*_bytes` in bytes, latencies in seconds.

    `gpu_seconds`: seconds times the GPUs held, without waiting for them. `calls`, `money` and tokens are those of all
    answers used. `stored` of them were there before: only `asked` calls were made and `spent` was paid in this run.
    `failed`: it ended with an error. `run`: the run that it belongs to. A retraining adds a line of its own, with the
    seconds outside stages (flows/costs/elapsed.py) and its flow run.
    """

    stage: str
    version: str
    started: float
    seconds: float
    peak_bytes: int = 0
    disk_bytes: int = 0
    calls: int = 0
    money: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    stored: int = 0
    spent: float = 0.0
    latency_p50: float = 0.0
    latency_p95: float = 0.0
    failed: bool = False
    gpus: int = 0
    gpu_seconds: float = 0.0
    peak_gpu_bytes: int = 0
    asked: int = 0
    run: str = ""

    @property
    def metrics(self) -> dict[str, float]:
        """By name, for MLflow."""
        metrics = {
            "seconds": self.seconds, "gpu_seconds": self.gpu_seconds, "peak_memory_mb": self.peak_bytes / 1e6,
            "peak_gpu_memory_mb": self.peak_gpu_bytes / 1e6, "disk_mb": self.disk_bytes / 1e6, "calls": self.calls,
            "calls_paid_now": self.asked, "input_tokens": self.input_tokens, "output_tokens": self.output_tokens,
            "money": self.money, "money_paid_now": self.spent,
        }  # fmt: skip
        return {f"cost/{name}": float(value) for name, value in metrics.items()}


class Ledger:
    """The ledger of PLUMB_STATE; a missing one is empty."""

    def __init__(self, state: Path):
        self.path = state / "ledger.jsonl"

    def append(self, entry: Entry) -> None:
        """Add one line."""
        append_jsonl(self.path, [asdict(entry)])

    def last(self) -> dict[str, Entry]:
        """The latest entry of every stage that did not fail."""
        return {entry.stage: entry for entry in self._entries() if not entry.failed}

    def of_run(self, run: str) -> list[Entry]:
        """All entries of one run, failed attempts included, in their order."""
        return [entry for entry in self._entries() if entry.run == run]

    def since(self, moment: float) -> list[Entry]:
        """All entries of what was begun at `moment` (seconds since 1970) or later."""
        return [entry for entry in self._entries() if entry.started >= moment]

    def _entries(self) -> Iterator[Entry]:
        """A line torn by a full disk is passed over."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                with contextlib.suppress(ValueError, TypeError):
                    yield Entry(**json.loads(line))


HEADS = (
    "stage", "seconds", "GPU-seconds", "peak MB", "peak GPU MB", "disk MB", "calls", "calls paid now", "tokens in",
    "tokens out", "money", "money paid now",
)  # fmt: skip


def as_rows(entries: Iterable[Entry]) -> list[dict[str, str]]:
    """One row a stage run, in the order of time, and their sum (of peaks the highest), for Prefect's pages."""
    entries = list(entries)
    rows = [_row(entry.stage + (" (failed)" if entry.failed else ""), entry.metrics) for entry in entries]
    return [*rows, _row("all", totals(entries))] if rows else []


def totals(entries: Iterable[Entry]) -> dict[str, float]:
    """The sum of the entries' metrics, by the same names; of peaks the highest."""
    total: dict[str, float] = {}
    for entry in entries:
        for name, value in entry.metrics.items():
            total[name] = max(total.get(name, 0.0), value) if "/peak" in name else total.get(name, 0.0) + value
    return total


def _row(name: str, metrics: dict[str, float]) -> dict[str, str]:
    return dict(zip(HEADS, [name, *(f"{value:,.6g}" for value in metrics.values())], strict=True))
