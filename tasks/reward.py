"""The reward model, trained on comparisons and held against judging by length and by words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

from models.reward.preference_baselines import bag_of_words_accuracy, length_accuracy
from tasks.common.numbers import finite_metrics
from tasks.common.rows import Row, read_jsonl
from tasks.config.reward import RewardConfig
from tasks.training import trainers as training
from tasks.training.reward_model import pair_scores, train_reward_model


def reward(cfg: RewardConfig, model: Path, sft: Path, compare: Path, out: Path, checkpoints: Path) -> dict[str, float]:
    """Train the reward model, from SFT's backbone, on the judged comparisons.

    Raises DataError without comparisons or with rows too long, ConfigError for a LoRA target that is no layer,
    DivergedError for non-finite numbers.
    """
    train_rows = read_jsonl(compare / "train.jsonl")
    heldout = read_jsonl(compare / "heldout.jsonl")
    trained, tokenizer, history = train_reward_model(
        cfg, cfg.runtime, model, sft, train_rows, heldout, out, checkpoints, stage="reward"
    )
    training.write_curves(out / "curves.jsonl", history)
    agreeing = [row for row in heldout if row.get("agrees", True)]
    return finite_metrics({
        "train_pairs": len(train_rows),
        "heldout_pairs": len(heldout),
        "heldout_pairs_where_judge_agrees": len(agreeing),
        **_named_accuracy("accuracy", trained, tokenizer, heldout),
        **_baselines(train_rows, heldout),
        **_named_accuracy("accuracy_where_judge_agrees", trained, tokenizer, agreeing),
    })


def _baselines(train: Sequence[Row], heldout: Sequence[Row]) -> dict[str, float]:
    """Held-out accuracy of judging by length and by words alone. Empty without held-out pairs."""
    if not heldout:
        return {}
    ours, theirs = ([(row["chosen"][-1]["content"], row["rejected"][-1]["content"]) for row in rows]
                    for rows in (train, heldout))
    return {
        "accuracy_of_length": length_accuracy(ours, theirs),
        "accuracy_of_words": bag_of_words_accuracy(ours, theirs),
    }


def _named_accuracy(name: str, model: Any, tokenizer: Any, rows: Sequence[Row]) -> dict[str, float]:
    """Share of pairs whose chosen response scores higher; ties count half. Empty without pairs."""
    if not rows:
        return {}
    chosen, rejected = pair_scores(model, tokenizer, rows)
    wins = (chosen > rejected).double() + 0.5 * (chosen == rejected).double()
    return {name: float(wins.mean()), f"{name}_mean_difference": float((chosen - rejected).double().mean())}
