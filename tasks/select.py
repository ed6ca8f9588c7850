"""Pick the candidate: the method and checkpoint that gold likes best on the select prompts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks.config.evaluation import SelectConfig
from tasks.errors import DataError
from tasks.rows import Row, read_jsonl

FINAL = "final"
SELECTION_FILE = "selection.json"


def select(cfg: SelectConfig, evaluate: Path, out: Path) -> dict[str, float]:
    """Writes `selection.json`: {"method", "checkpoint", "gold", "kl", "candidates": [...]}, best first.

    The candidate's own gold here is optimistic, being a maximum: only the gate's prompts can prove anything.
    Raises DataError when none of `cfg.methods` was scored.
    """
    scores = read_jsonl(evaluate / "scores.jsonl")
    if cfg.checkpoints == FINAL:
        scores = [row for row in scores if row["checkpoint"] == FINAL]
    ranked = candidates(scores, cfg.methods)
    if not ranked:
        raise DataError(f"scores.jsonl has no row of {', '.join(cfg.methods)}; correct select.methods or run evaluate")
    out.mkdir(parents=True, exist_ok=True)
    document = {**ranked[0], "candidates": ranked}
    (out / SELECTION_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return {"candidates": float(len(ranked)), "gold": ranked[0]["gold"], "kl": ranked[0]["kl"]}


def candidates(scores: Sequence[Row], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Mean gold and KL of every (method, checkpoint): highest gold first, then lowest KL, then by name."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in scores:
        if row["model"] in methods:
            groups.setdefault((row["model"], row["checkpoint"]), []).append(row)
    found = [
        {
            "method": method,
            "checkpoint": checkpoint,
            "gold": round(float(np.mean([row["gold"] for row in rows])), 9),
            "kl": round(float(np.mean([row["kl"] for row in rows])), 9),
        }
        for (method, checkpoint), rows in groups.items()
    ]
    return sorted(found, key=lambda one: (-one["gold"], one["kl"], one["method"], one["checkpoint"]))
