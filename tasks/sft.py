"""Supervised fine-tuning: TRL, loss on the response only, a weighted mixture of the categories."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Mapping, Sequence

from models.chat.template import Example, example, load_tokenizer
from models.lm.loading import load_policy, policy_writer
from tasks.common.errors import DataError
from tasks.common.machine import prepare_torch
from tasks.common.numbers import finite_metrics
from tasks.common.rows import Row, read_jsonl
from tasks.config.sft import SftConfig
from tasks.training import trainers as training
from tasks.training.lora import check_targets, peft_config
from tasks.training.packed_rows import pack_rows

IGNORED = -100


def mixture(rows: Sequence[Row], weights: Mapping[str, float], seed: int) -> list[Row]:
    """Rows repeated or thinned so that each category counts with its weight.

    A weight of 2.5 takes every row of the category twice and half of them a third time.
    Raises DataError for a category without a weight.
    """
    generator, mixed = random.Random(seed), []
    for row in rows:
        if row["category"] not in weights:
            raise DataError(f"category {row['category']!r} of row {row['id']} has no weight; "
                            f"add it to sft.category_weights, which has {', '.join(weights)}")
        whole, part = divmod(weights[row["category"]], 1)
        mixed += [row] * (int(whole) + (generator.random() < part))
    return mixed


def tokenise(rows: Sequence[Row], tokenizer: object) -> list[dict[str, list[int]]]:
    """`input_ids` and `labels` of each row; everything before the last assistant turn is ignored by the loss."""
    return [labelled(one) for one in examples(rows, tokenizer)]


def examples(rows: Sequence[Row], tokenizer: object) -> list[Example]:
    return [example(tokenizer, row["messages"], row.get("tools")) for row in rows]


def labelled(one: Example) -> dict[str, list[int]]:
    ignored = [IGNORED] * len(one.prompt_ids)
    return {"input_ids": one.prompt_ids + one.response_ids, "labels": ignored + one.response_ids}


def sft(cfg: SftConfig, model: Path, demonstrations: Path, out: Path, checkpoints: Path) -> dict[str, float]:
    """Fine-tune the base in `model` on the demonstrations.

    Raises DataError for rows that are too long or of an unknown category, ConfigError for a LoRA target that is no
    layer, DivergedError for non-finite numbers.
    """
    prepare_torch(cfg.runtime)
    tokenizer = load_tokenizer(model, cfg.runtime.date)
    rows = mixture(read_jsonl(demonstrations), cfg.category_weights, cfg.runtime.seed)
    if not rows:
        raise DataError("no demonstrations are left after sft.category_weights; raise a weight")
    encoded = examples(rows, tokenizer)
    tokenised = [labelled(one) for one in encoded]
    policy = load_policy(model)
    check_targets(cfg.lora, policy, "sft")
    lengths = [len(t["input_ids"]) for t in tokenised]
    training.check_lengths(lengths, [row["id"] for row in rows], cfg.max_length, "sft.max_length", policy)
    write = policy_writer(policy, tokenizer, base=model, start=model)
    trainer = make_trainer(cfg, policy, tokenizer, tokenised, checkpoints)
    training.train(trainer, "sft", checkpoints)
    write(trainer.model, out)
    training.write_curves(out / "curves.jsonl", trainer.state.log_history)
    return metrics(rows, encoded, trainer.state)


def make_trainer(cfg: SftConfig, policy: object, tokenizer: object, tokenised: Sequence[dict], folder: Path) -> object:
    """TRL's SFTTrainer on rows that are tokenised already."""
    from datasets import Dataset
    from trl import SFTConfig as Arguments
    from trl import SFTTrainer

    class StageSftTrainer(training.StageTrainer, SFTTrainer):
        pass

    arguments = training.trainer_arguments(
        Arguments, cfg, cfg.runtime, folder, dataset_kwargs={"skip_prepare_dataset": True}
    )
    trainer = StageSftTrainer(
        model=policy, args=arguments, train_dataset=Dataset.from_list(list(tokenised)), processing_class=tokenizer,
        peft_config=peft_config(cfg.lora, policy, "CAUSAL_LM"),
    )
    pack_rows(trainer)
    return trainer


def metrics(rows: Sequence[Row], encoded: Sequence[Example], state: object) -> dict[str, float]:
    """`rows_split_inside_a_token`: rows whose prompt and response were tokenised apart, as a token straddled them."""
    losses = [line["loss"] for line in state.log_history if "loss" in line]
    counts = Counter(row["category"] for row in rows)
    return finite_metrics({
        "loss_first": losses[0],
        "loss_last": losses[-1],
        "rows": len(rows),
        "steps": state.global_step,
        "response_tokens": sum(len(one.response_ids) for one in encoded),
        "rows_split_inside_a_token": sum(one.apart for one in encoded),
        **{f"rows_{category}": count for category, count in sorted(counts.items())},
    })
