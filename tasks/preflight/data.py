"""The rows of every split, as `prepare` would write them, and what it refuses. All that knows how `prepare` works."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.config.shared import PrepareConfig
from tasks.errors import DataError
from tasks.prepare import prepare
from tasks.rows import Row, read_jsonl


@dataclass(frozen=True)
class Prepared:
    """`rows`: by the stem of the file that prepare writes, e.g. `gate_prompts`; `problems`: lines with the way out."""

    rows: Mapping[str, list[Row]]
    problems: tuple[str, ...] = ()


def prepared(cfg: PrepareConfig) -> Prepared:
    """What prepare would write; where it refuses a row, what it would write without all such rows."""
    try:
        return Prepared(_written(cfg)[0])
    except DataError as error:
        first = str(error)
    if cfg.data.bad_rows == "skip":
        return Prepared({}, (first,))
    data = cfg.data.model_copy(update={"bad_rows": "skip"})
    try:
        rows, counts = _written(cfg.model_copy(update={"data": data}))
    except DataError as error:
        return Prepared({}, tuple(dict.fromkeys([first, str(error)])))
    skipped = {name.removeprefix("skipped_"): int(n) for name, n in counts.items() if name.startswith("skipped_") and n}
    in_all = ", ".join(f"{count} {kind}" for kind, count in skipped.items())
    fault, _, remedy = first.partition("; ")
    return Prepared(rows, (f"{fault} (refused in all: {in_all}); {remedy}" if sum(skipped.values()) > 1 else first,))


def _written(cfg: PrepareConfig) -> tuple[dict[str, list[Row]], dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        counts = prepare(cfg, Path(cfg.data.path), Path(folder))
        return {file.stem: read_jsonl(file) for file in Path(folder).glob("*.jsonl")}, counts
