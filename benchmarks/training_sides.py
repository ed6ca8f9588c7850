"""One run of SFT, reward model or DPO in a process of its own: our stage's trainer, or TRL's with its own defaults.

What both train on is made from the same rows. TRL's draws its batches at random, as it does where nobody asks for more;
`grouped` asks it for rows of similar length.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, set_seed
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

from benchmarks.child import ROOT
from benchmarks.material import comparisons, config
from benchmarks.measure import timed
from benchmarks.ppo.preparation import THIRTY_MILLION
from benchmarks.ppo.world import memory_mib, shape
from models.chat.template import load_tokenizer
from models.lm.loading import load_policy
from models.reward.model import reward_model_from_policy
from models.reward.scoring import pool_by_length
from tasks import dpo, sft
from tasks.common.machine import prepare_torch
from tasks.common.rows import Row, read_jsonl
from tasks.config.shared import RuntimeConfig
from tasks.runner.params import read_params
from tasks.training import reward_model, trainers as training

# Tokens of prompts and of responses of the 30 M model's rows: lognormal, and kept between two lengths.
MEDIAN, DEVIATION, SHORTEST, LONGEST = 40, 0.7, 4, 120


def measure(stage: str, side: str, size: str, base: str, rows: int, grouped: bool = False) -> dict[str, Any]:
    """Seconds, optimizer steps, memory, and tokens of each row trained on, once an epoch.

    The trainer is made, and the reference's log-probs are computed, on the clock; the weights are there before.
    """
    cfg = config(read_params(ROOT / "params.yaml"), stage, {"epochs": 1.0, "lora": None})
    prepare_torch(cfg.runtime)
    tokenizer = load_tokenizer(Path(base))
    policy = load_policy(Path(base)) if size == "hearth" else _thirty_million(tokenizer)
    tokenised = _hearth(stage, tokenizer, rows) if size == "hearth" else _mixed(stage, len(tokenizer), rows)
    baseline, made = memory_mib("cpu"), []
    with tempfile.TemporaryDirectory() as folder:
        way = _ours if side == "ours" else _theirs

        def run() -> None:
            made.append(way(stage, cfg, policy, tokenizer, tokenised, Path(folder), grouped))
            set_seed(cfg.runtime.seed)
            made[0].train() if side == "theirs" else training.train(made[0], stage, Path(folder))

        cost = timed(run)
    state = made[0].state
    return {"stage": stage, "wall": cost.wall, "cpu": cost.cpu, "steps": state.global_step,
            "shape": vars(shape(policy)), "losses": [line["loss"] for line in state.log_history if "loss" in line],
            "baseline_mib": baseline, "peak_mib": memory_mib("cpu"), "lengths": _lengths(stage, tokenised)}


def _thirty_million(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id,
                                        eos_token_id=tokenizer.eos_token_id, **THIRTY_MILLION)).eval()


def _hearth(stage: str, tokenizer: Any, rows: int) -> list[Row]:
    params = read_params(ROOT / "params.yaml")
    demonstrations = read_jsonl(ROOT / params["data"]["path"] / params["data"]["demonstrations"])[:rows]
    if stage == "sft":
        return sft.tokenise(demonstrations, tokenizer)
    if stage == "dpo":
        return dpo.tokenise(comparisons(demonstrations), tokenizer)
    return reward_model.tokenise(comparisons(demonstrations), tokenizer, use_margin=False)


def _mixed(stage: str, vocabulary: int, rows: int) -> list[Row]:
    """Rows of random tokens, lengths as MEDIAN and the others say."""
    generator = random.Random(0)

    def tokens() -> list[int]:
        length = round(min(max(generator.lognormvariate(0, DEVIATION) * MEDIAN, SHORTEST), LONGEST))
        return [generator.randrange(4, vocabulary) for _ in range(length)]

    drawn = [(tokens(), tokens(), tokens()) for _ in range(rows)]
    if stage == "sft":
        return [{"input_ids": p + r, "labels": [-100] * len(p) + r} for p, r, _ in drawn]
    if stage == "dpo":
        return [{"prompt_ids": p, "chosen_ids": c, "rejected_ids": r, "length": len(p) + max(len(c), len(r))}
                for p, c, r in drawn]
    return [{"chosen_ids": p + c, "rejected_ids": p + r} for p, c, r in drawn]


def _lengths(stage: str, tokenised: Sequence[Row]) -> list[tuple[int, int]]:
    """(tokens without a head, tokens with one) that must be run of each row; a comparison's prompt is run once."""
    if stage == "sft":
        responses = [sum(label != -100 for label in row["labels"]) for row in tokenised]
        return [(len(row["input_ids"]) - length, length) for row, length in zip(tokenised, responses)]
    if stage == "dpo":
        return [(len(row["prompt_ids"]), len(row["chosen_ids"]) + len(row["rejected_ids"])) for row in tokenised]
    pairs = [(row["chosen_ids"], row["rejected_ids"]) for row in tokenised]
    return [(len(chosen) + len(rejected) - len(os.path.commonprefix([chosen, rejected])), 0)
            for chosen, rejected in pairs]


def _ours(stage: str, cfg: Any, policy: Any, tokenizer: Any, rows: list[Row], folder: Path, _: bool) -> Any:
    if stage == "sft":
        return sft.make_trainer(cfg, policy, tokenizer, rows, folder)
    if stage == "dpo":
        return dpo.make_trainer(cfg, policy, tokenizer, dpo.with_reference(policy, rows), folder)
    untrained = pool_by_length(reward_model_from_policy(policy, cfg.runtime.seed))
    return reward_model.make_trainer(cfg, cfg.runtime, untrained, tokenizer, rows, folder)


class _OnTokenisedRows:
    """TRL's DPO and reward trainers have no setting for rows that are tokenised already."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
        return dataset


class _BareDpo(_OnTokenisedRows, DPOTrainer):
    pass


class _BareReward(_OnTokenisedRows, RewardTrainer):
    pass


def _theirs(stage: str, cfg: Any, policy: Any, tokenizer: Any, rows: list[Row], folder: Path, grouped: bool) -> Any:
    """Our batch size, rate, precision and checkpoints; the rest as TRL has it, but for what it would print."""
    kind, bare, extra = {
        "sft": (SFTConfig, SFTTrainer, {"dataset_kwargs": {"skip_prepare_dataset": True}}),
        "dpo": (DPOConfig, _BareDpo, {"precompute_ref_log_probs": True, "beta": getattr(cfg, "beta", None)}),
        "reward": (RewardConfig, _BareReward, {}),
    }[stage]
    runtime: RuntimeConfig = cfg.runtime
    arguments = training.trainer_arguments(kind, cfg, runtime, folder, **extra)
    arguments.train_sampling_strategy = "group_by_length" if grouped else "random"
    if stage == "reward":
        policy = reward_model_from_policy(policy, runtime.seed)
        policy.config.pad_token_id = tokenizer.pad_token_id
        rows = [{**row, "length": length} for row, length in zip(rows, reward_model.pair_lengths(rows))]
    trainer = bare(model=policy, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer
