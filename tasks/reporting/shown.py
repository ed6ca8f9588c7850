"""What a reader sees: of the policies in evaluate.json the finished ones and the candidate; numbers as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tasks.artifacts.entrants import entrant, in_order

Table = tuple[list[str], list[list[str]]]  # head, rows
ABSENT = "–"


def plain(name: str) -> str:
    return name.replace("_", " ")


def with_interval(form: str, value: float, low: float | None, high: float | None) -> str:
    """0.81 [0.79, 0.83]; the value alone where it has no interval."""
    bounds = "" if low is None else f" [{form.format(low)}, {form.format(high)}]"
    return form.format(value) + bounds


def share(rate: float | None) -> str:
    return ABSENT if rate is None else f"{rate:.1%}"


def of_verdict(evaluation: Mapping[str, Any], candidate: Mapping[str, str] | None) -> dict[str, Any]:
    """The document without checkpoints other than `candidate` ({"method", "checkpoint"}; None: not selected yet).

    Models stand in the order in which they were made; the one that the verdict is about is called `NAME, candidate`.
    """
    names = labels(evaluation["models"], candidate)

    def shown(by_model: Mapping[str, Any]) -> dict[str, Any]:
        return {label: by_model[name] for name, label in names.items() if name in by_model}

    versus = {name: shown(rows) for name, rows in evaluation.items() if name.startswith("versus_")}
    examples = [{**example, "answers": shown(example["answers"])} for example in evaluation.get("examples", ())]
    rated = dict(evaluation.get("ratings") or {})
    if rated:
        rated["models"] = [{**row, "model": names.get(row["model"], row["model"])} for row in rated["models"]]
    return {**evaluation, "models": shown(evaluation["models"]), **versus, "examples": examples, "ratings": rated}


def labels(names: Iterable[str], candidate: Mapping[str, str] | None) -> dict[str, str]:
    """Name -> what a reader is told, of those that are shown, in the order in which the policies were made."""
    chosen = entrant(candidate["method"], candidate["checkpoint"]) if candidate else None
    kept = [name for name in names if " " not in name or name == chosen]
    place = in_order({name.split()[0] for name in kept})
    ordered = sorted(kept, key=lambda name: (place.index(name.split()[0]), name))
    return {name: f"{name}, candidate" if name == chosen else name for name in ordered}
