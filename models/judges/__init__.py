"""Judges (they compare and rate) and scorers (gold), made from plain settings."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.judges.base import Judge, Scorer, Verdict

JUDGE_KINDS = ("simulated", "oracle")
SCORER_KINDS = ("oracle", "reward_model")

__all__ = ["JUDGE_KINDS", "SCORER_KINDS", "Judge", "Scorer", "Verdict", "make_judge", "make_pool", "make_scorer"]


def make_judge(spec: Mapping[str, Any], **shared: Any) -> Judge:
    """A judge from its settings: "name", "kind", and what the kind's class takes; `shared` goes to simulated judges.

    Raises ValueError for an unknown kind, and for settings that the kind refuses.
    """
    kind, settings = spec["kind"], {key: value for key, value in spec.items() if key != "kind"}
    if kind == "simulated":
        from models.judges.simulated import SimulatedJudge

        return SimulatedJudge(**settings, **shared)
    if kind == "oracle":
        from models.judges.oracle import OracleJudge

        return OracleJudge(settings["name"], settings["weights"], settings.get("tie_margin", 0.0))
    raise ValueError(f"judge {spec.get('name')!r} has kind {kind!r}; known kinds are {', '.join(JUDGE_KINDS)}")


def make_pool(specs: Sequence[Mapping[str, Any]]) -> list[Judge]:
    """The judges of `specs`; simulated ones read each answer once between them, told apart by the row's id.

    Raises ValueError for a name that stands twice.
    """
    names = [spec["name"] for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"judge {twice[0]!r} stands twice in the pool; give each judge its own name")
    shared = {"axes_of": _remembered_oracle()} if any(spec["kind"] == "simulated" for spec in specs) else {}
    return [make_judge(spec, **(shared if spec["kind"] == "simulated" else {})) for spec in specs]


def _remembered_oracle() -> Callable[[Mapping[str, Any], str], Mapping[str, float]]:
    from models.hearth import oracle

    known: dict[tuple[str, str], Mapping[str, float]] = {}

    def axes_of(row: Mapping[str, Any], response: str) -> Mapping[str, float]:
        key = (row["id"], response)
        if key not in known:
            known[key] = oracle.score(row, response)
        return known[key]

    return axes_of


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
