"""Read the lines that a running stage reports: {"done", "total", "unit", "metrics", "time"} in live.jsonl."""

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """One report: `done` of `total` units at `time` (epoch seconds)."""

    done: int
    total: int
    unit: str = "step"
    metrics: dict[str, float] = field(default_factory=dict)
    time: float = 0.0


class Tail:
    """Follows a live.jsonl; every call of `read` returns the complete lines that are new since the last."""

    def __init__(self, path: Path, offset: int = 0):
        self.path, self._offset = path, offset

    @classmethod
    def at_end(cls, path: Path) -> "Tail":
        """A tail that passes over what an earlier attempt wrote."""
        return cls(path, path.stat().st_size if path.exists() else 0)

    def read(self) -> list[Progress]:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                block = file.read()
        except FileNotFoundError:
            return []
        complete = block[: block.rfind(b"\n") + 1]
        self._offset += len(complete)
        return [report for line in complete.split(b"\n") if (report := _parse(line))]


def _parse(line: bytes) -> Progress | None:
    try:
        row = json.loads(line)
        metrics = {str(k): float(v) for k, v in row.get("metrics", {}).items() if isinstance(v, int | float)}
        return Progress(int(row["done"]), int(row["total"]), row.get("unit", "step"), metrics, float(row["time"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
