"""What every stage run cost: one JSON line each in PLUMB_STATE/ledger.jsonl, read by `plumb plan` and the clock."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """The cost of one stage run: money in the currency of the judges' prices, `*_bytes` in bytes, latencies in seconds.

    `calls`, `money` and tokens are those of all answers used. `stored` of them were there before, and only `spent` was
    paid in this run. `failed`: it ended with an error.
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


class Ledger:
    """The ledger at `path`; a missing one is empty."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, entry: Entry) -> None:
        """Add one line; a single write, so that two flows never mix theirs."""
        line = json.dumps(asdict(entry), sort_keys=True) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def last(self) -> dict[str, Entry]:
        """The latest entry of every stage that did not fail. A line torn by a full disk is passed over."""
        latest: dict[str, Entry] = {}
        if not self.path.exists():
            return latest
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError):
                continue
            if not entry.failed:
                latest[entry.stage] = entry
        return latest
