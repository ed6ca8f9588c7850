"""The policies that evaluation compares: how they are named and ranked, and which of their checkpoints take part."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.artifacts.snapshots import FINAL, SELECTION_FILE, checkpoints_of
from tasks.common.errors import DataError

MODELS = ("base", "sft", "dpo", "ppo", "best_of_n")
ORDER = (*MODELS, "champion")
NO_METHODS = ("base", "sft", "best_of_n", "champion")  # no candidates; every other model is trained by a method


def in_order(models: Iterable[str]) -> list[str]:
    """Models as they are made; methods that are not ours stand after PPO."""
    place = {name: float(index) for index, name in enumerate(ORDER)}
    return sorted(models, key=lambda name: (place.get(name, place["ppo"] + 0.5), name))


def is_method(model: str) -> bool:
    """Whether it is a method's, which keeps checkpoints and may become the candidate."""
    return model not in NO_METHODS


def entrants(scores: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Name -> (model, checkpoint) of the policies that are compared, in pipeline order.

    They are every model as training left it, and of DPO, PPO and other methods also the checkpoint that gold likes best, as `select`
    ranks them: what the verdict is about stands in every table, whichever of the methods it comes from.
    """
    compared: dict[str, tuple[str, str]] = {}
    present = {row["model"] for row in scores}
    for model in in_order(present):
        best = [ranked(scores, [model])[0]["checkpoint"]] if is_method(model) else []
        for checkpoint in dict.fromkeys((FINAL, *best)):
            compared[entrant(model, checkpoint)] = (model, checkpoint)
    return compared


def by_checkpoint(scores: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Any]]:
    """Score rows by (model, checkpoint), in the order of their first appearance."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for row in scores:
        groups.setdefault((row["model"], row["checkpoint"]), []).append(row)
    return groups


def selected(select: Path, policies: Mapping[str, Path]) -> tuple[str, str, Path]:
    """The candidate's method, its checkpoint, and the directory of its policy. Raises DataError where there is none."""
    selection = json.loads((select / SELECTION_FILE).read_text(encoding="utf-8"))
    method, checkpoint = selection["method"], selection["checkpoint"]
    path = checkpoints_of(policies[method]).get(checkpoint)
    if path is None:
        raise DataError(f"{method} has no checkpoint {checkpoint!r}; run select again")
    return method, checkpoint, path


def training_order(checkpoint: str) -> float:
    """`step-20` before `step-100` before `final`."""
    return math.inf if checkpoint == FINAL else float(checkpoint.removeprefix("step-"))


def entrant(model: str, checkpoint: str) -> str:
    """A policy's name among those compared: the model's own where training ended, else with the step: `dpo step-20`."""
    return model if checkpoint == FINAL else f"{model} {checkpoint}"


def ranked(scores: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Mean gold and KL of every (method, checkpoint): highest gold first, then lowest KL, then by name."""
    means = [
        {
            "method": method,
            "checkpoint": checkpoint,
            **{field: round(math.fsum(row[field] for row in rows) / len(rows), 9) for field in ("gold", "kl")},
        }
        for (method, checkpoint), rows in by_checkpoint(row for row in scores if row["model"] in methods).items()
    ]
    return sorted(means, key=lambda one: (-one["gold"], one["kl"], one["method"], one["checkpoint"]))
