"""Judges (they compare and rate) and scorers (gold), made from plain settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.judges.base import Judge, Scorer, Verdict

JUDGE_KINDS = ("simulated", "oracle")
SCORER_KINDS = ("oracle", "reward_model")

__all__ = ["JUDGE_KINDS", "SCORER_KINDS", "Judge", "Scorer", "Verdict", "make_judge", "make_scorer"]


def make_judge(spec: Mapping[str, Any]) -> Judge:
    """A judge from its settings: "name", "kind", and what the kind's class takes.

    Raises ValueError for an unknown kind, and for settings that the kind refuses.
    """
    kind, settings = spec["kind"], {key: value for key, value in spec.items() if key != "kind"}
    if kind == "simulated":
        from models.judges.simulated import SimulatedJudge

        return SimulatedJudge(**settings)
    if kind == "oracle":
        from models.judges.oracle import OracleJudge

        return OracleJudge(settings["name"], settings["weights"], settings.get("tie_margin", 0.0))
    raise ValueError(f"judge {spec.get('name')!r} has kind {kind!r}; known kinds are {', '.join(JUDGE_KINDS)}")


def make_scorer(
    kind: str,
    *,
    weights: Mapping[str, float] | None = None,
    path: Path | None = None,
    base: Path | None = None,
    rows_per_batch: int = 64,
) -> Scorer:
    """Gold: "oracle" needs `weights` (axis -> weight), "reward_model" the model's `path` (and `base` under LoRA).

    Raises ValueError for an unknown kind, or when what the kind needs is missing.
    """
    if kind == "oracle":
        from models.judges.oracle import OracleScorer

        return OracleScorer(weights or {})
    if kind == "reward_model":
        if path is None:
            raise ValueError("gold of kind reward_model needs the folder of its model; train it with the gold stage")
        from models.judges.reward_model import RewardModelScorer

        return RewardModelScorer.load(path, base, rows_per_batch)
    raise ValueError(f"gold has kind {kind!r}; known kinds are {', '.join(SCORER_KINDS)}")
