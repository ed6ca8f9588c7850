"""A judge's answers to anchors against its first ones: how far it moved, and the file that keeps the first ones."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

Answers = Mapping[str, float | None]  # question -> preference for the response shown first; None for an invalid answer


@dataclass(frozen=True)
class Drift:
    """How far a judge's answers are from its baseline's.

    `moved`: mean absolute change of the preference for the response shown first, in [0, 1]; an answer that became
    invalid, or was, has moved by 1. `changed`: how many of the `answers` name another winner.
    """

    moved: float
    changed: int
    answers: int


@dataclass(frozen=True)
class Baseline:
    """The first answers of one judge to one set of anchors, and the day on which they were given."""

    answers: Answers
    recorded: str


def drift_between(first: Answers, now: Answers) -> Drift:
    """`now` against `first`, which answer the same questions."""
    assert first.keys() == now.keys(), "a baseline is named after its anchors"
    pairs = [(first[question], now[question]) for question in first]
    moved = [_distance(before, after) for before, after in pairs]
    changed = sum(_winner(before) != _winner(after) for before, after in pairs)
    return Drift(sum(moved) / len(moved), changed, len(moved))


def _distance(before: float | None, after: float | None) -> float:
    if before is None or after is None:
        return 0.0 if before is after else 1.0
    return abs(after - before)


def _winner(preference: float | None) -> int | None:
    return None if preference is None else (preference > 0.5) - (preference < 0.5)


def baseline_file(folder: Path, name: str, determined_by: Mapping[str, Any]) -> Path:
    """Where a judge's baseline is kept; `determined_by` holds all that makes it another judge, or other anchors."""
    key = hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()
    return folder / f"{name}-{key[:16]}.json"


def read_baseline(file: Path) -> Baseline | None:
    """None where there is none yet."""
    if not file.is_file():
        return None
    document = json.loads(file.read_text(encoding="utf-8"))
    return Baseline(document["answers"], document["recorded"])


def write_baseline(file: Path, answers: Answers, determined_by: Mapping[str, Any]) -> None:
    """Keep `answers` as the ones that later answers are compared with; the file appears whole."""
    document = {"recorded": date.today().isoformat(), "determined_by": determined_by, "answers": answers}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, file)
