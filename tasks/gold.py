"""Gold: the score that training never sees. Named by `gold.json`, so that every reader can say what it was."""

import json
from collections.abc import Sequence
from pathlib import Path

from models.judges.oracle import OracleScorer
from tasks.common.errors import DataError
from tasks.common.rows import Row, read_jsonl
from tasks.config.gold import GoldConfig
from tasks.config.same_judge import GOLD_FILE, MODEL_FOLDER
from tasks.judging.splits import split_by_root
from tasks.judging.templates import template_of

HELDOUT_FRACTION = 0.1  # of the roots in gold_preferences: they measure how far gold itself can be trusted


def gold(cfg: GoldConfig, model: Path, gold_preferences: Path, out: Path, checkpoints: Path) -> dict[str, float]:
    """Writes `gold.json`, and for a reward model its directory `model/` beside it.

    `gold_preferences` are human comparisons that no other stage reads. Raises ConfigError for a judge's template
    that is not the one in params, DataError without comparisons, ValueError for weights that the oracle refuses and for
    a template that lacks a field.
    """
    out.mkdir(parents=True, exist_ok=True)
    if cfg.kind == "oracle":
        scorer = OracleScorer(cfg.weights)
        _write(cfg, cfg.weights, out)
        return {"axes": float(len(scorer.axes))}
    if cfg.kind == "judge":
        template_of(cfg.judge.model_dump())  # before anything is trained that it must score
        _write(cfg, dict(cfg.judge.weights), out)
        return {"axes": float(len(cfg.judge.weights))}
    numbers = _train_gold(cfg, model, gold_preferences, out / MODEL_FOLDER, checkpoints)
    _write(cfg, {}, out)
    return {"axes": 0.0, **numbers}


def training_pairs(preferences: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """(pairs that train the gold reward model, pairs that measure it). Raises DataError where none would train it."""
    train, heldout = split_by_root(preferences, HELDOUT_FRACTION)
    if not train:
        raise DataError("gold_preferences has comparisons of fewer than two roots; raise data.splits.gold")
    return train, heldout


def _write(cfg: GoldConfig, weights: dict[str, float], out: Path) -> None:
    document = {"kind": cfg.kind, "weights": weights, **cfg.model_dump(include={"rows_per_batch", "allow_same_judge"})}
    if cfg.judge is not None:
        document |= cfg.model_dump(include={"judge", "asking", "budget", "max_left_out"})
    if cfg.kind != "oracle":
        document["date"] = cfg.runtime.date
    (out / GOLD_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _train_gold(cfg: GoldConfig, model: Path, preferences: Path, out: Path, checkpoints: Path) -> dict[str, float]:
    train, heldout = training_pairs(read_jsonl(preferences))
    from tasks.training.reward_model import pair_scores, train_reward_model

    trained, tokenizer, _ = train_reward_model(
        cfg.training, cfg.runtime, model, model, train, heldout, out, checkpoints, stage="gold.training"
    )
    chosen, rejected = pair_scores(trained, tokenizer, heldout)
    wins = (chosen > rejected).double() + 0.5 * (chosen == rejected).double()
    return {"train_pairs": len(train), "heldout_pairs": len(heldout), "heldout_accuracy": float(wins.mean())}
