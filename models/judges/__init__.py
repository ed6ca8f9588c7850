"""Judges (they compare and rate; `making` makes them) and scorers (gold), made from plain settings."""

from collections.abc import Mapping
from pathlib import Path

from models.judges.base import Judge, Scorer, Verdict

SCORER_KINDS = ("oracle", "reward_model")

__all__ = ["SCORER_KINDS", "Judge", "Scorer", "Verdict", "make_scorer"]


def make_scorer(
    kind: str,
    *,
    weights: Mapping[str, float] | None = None,
    path: Path | None = None,
    base: Path | None = None,
    rows_per_batch: int = 64,
    date: str | None = None,
) -> Scorer:
    """Gold: "oracle" needs `weights` (axis -> weight), "reward_model" the model's `path` (and `base` under LoRA).

    date: what the chat template of a reward model takes for today.

    Raises ValueError for an unknown kind, or when what the kind needs is missing.
    """
    if kind == "oracle":
        from models.judges.oracle import OracleScorer

        return OracleScorer(weights or {})
    if kind == "reward_model":
        if path is None:
            raise ValueError("gold of kind reward_model needs the folder of its model; train it with the gold stage")
        from models.judges.reward_model import RewardModelScorer

        return RewardModelScorer.load(path, base, rows_per_batch, date)
    raise ValueError(f"gold has kind {kind!r}; known kinds are {', '.join(SCORER_KINDS)}")
