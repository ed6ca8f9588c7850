"""Training a reward model: TRL, Bradley–Terry on comparisons; the whole network or the head alone; centred."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from models.chat.template import load_tokenizer
from models.lm.batching import backbone_of
from models.lm.loading import load_policy, policy_writer
from models.reward.model import reward_model_from_policy
from models.reward.scoring import pool_by_length, score
from tasks.common.errors import DataError
from tasks.common.machine import prepare_torch
from tasks.common.rows import Row
from tasks.config.shared import RuntimeConfig
from tasks.config.training import RewardTraining
from tasks.training import trainers as training
from tasks.training.lora import check_targets, peft_config
from tasks.training.packed_rows import say_if_padded
from tasks.training.sides import SIDES, encode_side

SCORING_ROWS = 64


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


def tokenise(rows: Sequence[Row], tokenizer: Any, use_margin: bool) -> list[Row]:
    """`chosen_ids` and `rejected_ids` (prompt and response) of each comparison, and `margin` if asked for."""
    tokenised = []
    for row in rows:
        pair = {f"{side}_ids": list(chain(*encode_side(tokenizer, row, side))) for side in SIDES}
        tokenised.append({**pair, "margin": float(row["score_gap"])} if use_margin else pair)
    return tokenised


def pair_lengths(tokenised: Sequence[Row]) -> list[int]:
    return [max(len(t["chosen_ids"]), len(t["rejected_ids"])) for t in tokenised]


def make_trainer(
    cfg: RewardTraining, runtime: RuntimeConfig, untrained: Any, tokenizer: Any, tokenised: Sequence[Row], folder: Path
) -> Any:
    """TRL's RewardTrainer on comparisons that are tokenised already."""
    from datasets import Dataset
    from trl import RewardConfig as Arguments, RewardTrainer

    class TokenisedRewardTrainer(training.PairTrainer, RewardTrainer):
        def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset

    if cfg.freeze_backbone:
        backbone_of(untrained).requires_grad_(False)
    arguments = training.trainer_arguments(
        Arguments, cfg, runtime, folder, center_rewards_coefficient=cfg.centre or None
    )
    say_if_padded(untrained)
    rows = [{**row, "length": length} for row, length in zip(tokenised, pair_lengths(tokenised))]
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
