"""What the benchmarks' tables and documents have in common."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

SIDES = ("ours", "theirs")


def terminal(width: int = 200) -> Console:
    """Where nobody looks on, wide enough for the tables."""
    return Console() if sys.stdout.isatty() else Console(width=width)


def table(repeats: int, *columns: str) -> Table:
    """An empty table of a race."""
    title = f"{repeats} repeats, in turn: median (least to most)"
    return Table(*columns, header_style="bold", show_lines=True, title=title)


def spread(values: Sequence[float], digits: int) -> str:
    """Median (least to most)."""
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, median, max))
    return f"{middle} ({low} to {high})"


def verdict(kept: bool) -> str:
    return "[green]kept[/]" if kept else "[red]missed[/]"


def machine() -> dict[str, Any]:
    """What the numbers were measured on; nothing that names a place."""
    return {"platform": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(),
            "processor": processor()}  # fmt: skip


def processor() -> str:
    """The processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def versions(packages: Iterable[str]) -> dict[str, str]:
    return {name: version(name) for name in packages}


def write(file: Path, document: dict[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
