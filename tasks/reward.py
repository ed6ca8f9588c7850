"""The reward model: TRL, Bradley–Terry on comparisons; the whole network or the head alone; centred."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any, Sequence

import torch

from models.chat.template import load_tokenizer
from models.lm.batching import backbone_of
from models.lm.loading import load_policy, policy_writer
from models.reward.model import reward_model_from_policy
from models.reward.preference_baselines import bag_of_words_accuracy, length_accuracy
from models.reward.scoring import pool_by_length, score
from tasks.common.errors import DataError
from tasks.common.machine import prepare_torch
from tasks.common.numbers import finite_metrics
from tasks.common.rows import Row, read_jsonl
from tasks.config.shared import RuntimeConfig
from tasks.config.training import RewardConfig, RewardTraining
from tasks.training import trainers as training
from tasks.training.lora import check_targets, peft_config
from tasks.training.sides import SIDES, encode_side

SCORING_ROWS = 64


def tokenise(rows: Sequence[Row], tokenizer: Any, use_margin: bool) -> list[Row]:
    """`chosen_ids` and `rejected_ids` (prompt and response) of each comparison, and `margin` if asked for."""
    tokenised = []
    for row in rows:
        pair = {f"{side}_ids": list(chain(*encode_side(tokenizer, row, side))) for side in SIDES}
        tokenised.append({**pair, "margin": float(row["score_gap"])} if use_margin else pair)
    return tokenised


def pair_lengths(tokenised: Sequence[Row]) -> list[int]:
    return [max(len(t["chosen_ids"]), len(t["rejected_ids"])) for t in tokenised]


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


def train_reward_model(
    cfg: RewardTraining, runtime: RuntimeConfig, model: Path, start: Path, rows: Sequence[Row],
    heldout: Sequence[Row], out: Path, checkpoints: Path, stage: str,
) -> tuple[Any, Any, list[dict[str, Any]]]:
    """Train on comparison rows from the backbone of the policy in `start`, and write the model to `out`.

    `heldout` rows train nothing; only their lengths are checked before time is spent on training.
    Returns the model, its tokenizer and the trainer's log. `stage` names the params section in error messages.
    """
    prepare_torch(runtime)
    if not rows:
        raise DataError(f"{stage} has no comparisons to train on; give preferences, or loosen the filters of compare")
    tokenizer = load_tokenizer(start, runtime.date)
    tokenised = tokenise(rows, tokenizer, cfg.use_margin)
    untrained = pool_by_length(reward_model_from_policy(load_policy(start, model), runtime.seed))
    check_targets(cfg.lora, untrained, stage)
    lengths = pair_lengths(tokenised + tokenise(heldout, tokenizer, use_margin=False))
    names = [row["id"] for row in [*rows, *heldout]]
    training.check_lengths(lengths, names, cfg.max_length, f"{stage}.max_length", untrained)
    write = policy_writer(untrained, tokenizer, base=model, start=start)
    trainer = make_trainer(cfg, runtime, untrained, tokenizer, tokenised, checkpoints)
    training.train(trainer, stage, checkpoints)
    write(trainer.model, out)
    return trainer.model.eval(), tokenizer, trainer.state.log_history


def make_trainer(
    cfg: RewardTraining, runtime: RuntimeConfig, untrained: Any, tokenizer: Any, tokenised: Sequence[Row], folder: Path
) -> Any:
    """TRL's RewardTrainer on comparisons that are tokenised already."""
    from datasets import Dataset
    from trl import RewardConfig as Arguments
    from trl import RewardTrainer

    class TokenisedRewardTrainer(training.PairTrainer, RewardTrainer):
        def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset

    if cfg.freeze_backbone:
        backbone_of(untrained).requires_grad_(False)
    arguments = training.trainer_arguments(
        Arguments, cfg, runtime, folder, center_rewards_coefficient=cfg.centre or None
    )
    lengths = pair_lengths(tokenised)
    rows = [{**row, "length": length} for row, length in zip(tokenised, lengths)]
    return TokenisedRewardTrainer(
        model=untrained, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
        peft_config=peft_config(cfg.lora, untrained, "SEQ_CLS", head=["score"]),
    )


def pair_scores(model: Any, tokenizer: Any, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards of chosen and of rejected responses, each (pairs,)."""
    tokenised = tokenise(rows, tokenizer, use_margin=False)
    sequences = [t["chosen_ids"] for t in tokenised] + [t["rejected_ids"] for t in tokenised]
    scores = score(model, sequences, SCORING_ROWS)
    return scores[: len(rows)], scores[len(rows):]


def _named_accuracy(name: str, model: Any, tokenizer: Any, rows: Sequence[Row]) -> dict[str, float]:
    """Share of pairs whose chosen response scores higher; ties count half. Empty without pairs."""
    if not rows:
        return {}
    chosen, rejected = pair_scores(model, tokenizer, rows)
    wins = (chosen > rejected).double() + 0.5 * (chosen == rejected).double()
    return {name: float(wins.mean()), f"{name}_mean_difference": float((chosen - rejected).double().mean())}
