"""Direct preference optimisation (TRL) on the judged comparisons, with SFT as the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import torch

from models.chat.template import load_tokenizer
from models.lm.loading import load_policy, policy_writer
from models.lm.precision import products_in
from models.ppo.losses import chosen_nll
from tasks.answering.sampling import response_sums
from tasks.artifacts.snapshots import collect_snapshots
from tasks.common.errors import DataError
from tasks.common.machine import device, prepare_torch
from tasks.common.numbers import finite_metrics
from tasks.common.rows import Row, read_jsonl
from tasks.config.dpo import DpoConfig
from tasks.training import trainers as training
from tasks.training.lora import check_targets, peft_config
from tasks.training.packed_rows import pack_rows
from tasks.training.sides import SIDES, encode_side

SCORING_ROWS = 64


def tokenise(rows: Sequence[Row], tokenizer: Any) -> list[Row]:
    """`prompt_ids`, `chosen_ids` and `rejected_ids` of each comparison, and their longest `length`."""
    tokenised = []
    for row in rows:
        prompt, chosen = encode_side(tokenizer, row, "chosen")
        _, rejected = encode_side(tokenizer, row, "rejected")
        tokenised.append({
            "prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected,
            "length": len(prompt) + max(len(chosen), len(rejected)),
        })
    return tokenised


def dpo(cfg: DpoConfig, model: Path, sft: Path, compare: Path, out: Path, checkpoints: Path) -> dict[str, float]:
    """Optimise the SFT policy on comparisons (Rafailov et al. 2023), keeping snapshots for `select`.

    Raises DataError without comparisons or with rows too long, ConfigError for a LoRA target that is no layer,
    DivergedError for non-finite numbers.
    """
    prepare_torch(cfg.runtime)
    rows = read_jsonl(compare / "train.jsonl")
    if not rows:
        raise DataError("dpo has no comparisons to train on; give preferences, or loosen the filters of compare")
    tokenizer = load_tokenizer(sft, cfg.runtime.date)
    tokenised = tokenise(rows, tokenizer)
    policy = load_policy(sft, model).to(device())
    check_targets(cfg.lora, policy, "dpo")
    lengths, names = [t["length"] for t in tokenised], [row["id"] for row in rows]
    training.check_lengths(lengths, names, cfg.max_length, "dpo.max_length", policy)
    write = policy_writer(policy, tokenizer, base=model, start=sft)
    with products_in(getattr(torch, cfg.runtime.dtype), device()):
        rows_with_reference = with_reference(policy, tokenised)
    trainer = make_trainer(cfg, policy, tokenizer, rows_with_reference, checkpoints)
    trainer.add_callback(training.Snapshots(cfg.snapshots, write))
    training.train(trainer, "dpo", checkpoints)
    write(trainer.model, out)
    collect_snapshots(checkpoints, out)
    training.write_curves(out / "curves.jsonl", trainer.state.log_history)
    return metrics(rows, trainer.state)


def with_reference(policy: Any, tokenised: Sequence[Row]) -> list[Row]:
    """Rows with the log-probs that the policy gives both responses before training: the reference's, in nats."""
    sums = {
        name: response_sums(
            policy, [t["prompt_ids"] for t in tokenised], [t[f"{name}_ids"] for t in tokenised], 1.0, SCORING_ROWS
        )
        for name in SIDES
    }
    return [
        {**row, **{f"ref_{name}_logps": sums[name][i] for name in SIDES}} for i, row in enumerate(tokenised)
    ]


def make_trainer(cfg: DpoConfig, policy: Any, tokenizer: Any, tokenised: Sequence[Row], folder: Path) -> Any:
    """TRL's DPOTrainer on comparisons that are tokenised already and carry the reference's log-probs.

    The loss `sft` is ours: TRL averages it over the tokens of a batch, so that it depends on what shares the batch.
    """
    from datasets import Dataset
    from trl import DPOConfig as Arguments
    from trl import DPOTrainer

    weights = dict(zip(cfg.loss_types, cfg.loss_weights, strict=True))
    nll_weight = weights.pop("sft", 0.0)

    class TokenisedDpoTrainer(training.PairTrainer, DPOTrainer):
        def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset

        def _precompute_ref_logps(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset  # ours took a fraction of the time: no padding, no prompt logits

        def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
            if not nll_weight:
                return super()._compute_loss(model, inputs, return_outputs)
            seen: list[Any] = []
            with model.register_forward_hook(lambda module, args, out: seen.append(out)):
                loss = super()._compute_loss(model, inputs, return_outputs)
            mask = inputs["completion_mask"][:, 1:].bool()
            chosen = len(mask) // 2
            return loss + nll_weight * chosen_nll(seen[0].log_probs[:chosen], mask[:chosen]).mean()

    arguments = training.trainer_arguments(
        Arguments, cfg, cfg.runtime, folder,
        beta=cfg.beta, loss_type=list(weights), loss_weights=list(weights.values()),
        label_smoothing=cfg.label_smoothing or 0.0, precompute_ref_log_probs=True,
    )
    trainer = TokenisedDpoTrainer(
        model=policy, args=arguments, train_dataset=Dataset.from_list(list(tokenised)), processing_class=tokenizer,
        peft_config=peft_config(cfg.lora, policy, "CAUSAL_LM"),
    )
    pack_rows(trainer)
    return trainer


def metrics(rows: Sequence[Row], state: Any) -> dict[str, float]:
    """First and last logged numbers; rewards are β times the log-ratio to the reference, in nats (Eq. 5)."""
    logged = [line for line in state.log_history if "loss" in line]
    last = logged[-1]
    return finite_metrics({
        "pairs": len(rows),
        "steps": state.global_step,
        "loss_first": logged[0]["loss"],
        "loss_last": last["loss"],
        "reward_chosen_last": last["rewards/chosen"],
        "reward_rejected_last": last["rewards/rejected"],
        "reward_margin_last": last["rewards/margins"],
        "reward_accuracy_last": last["rewards/accuracies"],
    })
