"""What a stage had of the machine's GPUs, as its process left it in the stage's folder."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

FILE = "gpus.json"  # written by tasks/runner/gpus.py


@dataclass(frozen=True)
class GpuUse:
    """`gpus` that were held, after `waited` seconds; the most memory that torch took on them, in bytes."""

    gpus: int = 0
    waited: float = 0.0
    peak_bytes: int = 0

    def seconds(self, stage_seconds: float) -> float:
        """GPU-seconds of a stage that took so long in all: a GPU is held from when it was got until the end."""
        return self.gpus * max(0.0, stage_seconds - self.waited)


def read_use(place: Path) -> GpuUse:
    """What lies in a stage's folder; nothing where it had no GPU. While it waits, `waited` is the time so far."""
    try:
        noted = json.loads((place / FILE).read_text(encoding="utf-8"))
        if "since" in noted:
            return GpuUse(waited=max(0.0, time.time() - noted["since"]))
        return GpuUse(len(noted["gpus"]), noted["waited"], noted.get("peak_bytes", 0))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return GpuUse()


def forget_use(place: Path) -> None:
    """Take away what an earlier attempt left."""
    (place / FILE).unlink(missing_ok=True)
