"""Their side: TRL 1.12.0's `PPOTrainer`, as it is, on the same workload; runs with that TRL first on the path."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import trl
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import GenerationConfig, PrinterCallback, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from benchmarks.ppo import world
from benchmarks.ppo.workload import Workload
from models.chat.template import load_tokenizer

VERSION = "1.12.0"
assert trl.__version__ == VERSION, f"TRL is {trl.__version__}; the comparison is with {VERSION}"


def arguments(work: Workload, folder: Path) -> PPOConfig:
    """The workload in TRL's words: no checkpoint, no log, no gradient checkpointing, one micro-batch per minibatch."""
    return PPOConfig(
        output_dir=str(folder), total_episodes=work.episodes, per_device_train_batch_size=work.batch_size,
        gradient_accumulation_steps=1, num_mini_batches=work.batch_size // work.minibatch_size,
        num_ppo_epochs=work.epochs, local_rollout_forward_batch_size=work.rows_per_batch,
        response_length=work.max_new_tokens, stop_token="eos" if work.stops else None, temperature=work.temperature,
        missing_eos_penalty=work.missing_eos_penalty, learning_rate=work.learning_rate, adam_epsilon=work.adam_eps,
        lr_scheduler_type="linear", warmup_steps=0, weight_decay=0.0, kl_coef=work.kl_coefficient, kl_estimator="k1",
        cliprange=work.clip_range, cliprange_value=work.value_clip_range, vf_coef=work.value_coefficient,
        gamma=work.gamma, lam=work.lam, whiten_rewards=False, seed=work.seed, num_sample_generations=0,
        gradient_checkpointing=False, bf16=False, use_cpu=work.device == "cpu", save_strategy="no", report_to="none",
        disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip


def trainer(work: Workload, folder: Path, callback: TrainerCallback) -> PPOTrainer:
    """TRL's trainer on the workload's models, with the prompts in the order in which our engine visits them."""
    tokenizer = load_tokenizer(Path(work.base))
    tokenizer.padding_side = "left"
    policy = world.policy(work)
    rows = Dataset.from_dict({"input_ids": world.in_order(work, world.prompts(work, tokenizer))})
    made = PPOTrainer(
        args=arguments(work, folder), processing_class=tokenizer, model=policy, ref_model=world.policy(work),
        reward_model=world.reward_model(work, policy), value_model=world.critic(policy), train_dataset=rows,
        eval_dataset=rows, callbacks=[callback],
    )  # fmt: skip
    made.remove_callback(PrinterCallback)
    ordered = DataLoader(rows, batch_size=work.batch_size, shuffle=False, collate_fn=made.data_collator)
    made.dataloader = made.accelerator.prepare(ordered)
    return made


def response_lengths(responses: torch.Tensor, eos: int | None) -> list[int]:
    """Tokens (batch, width) up to and with the first EOS, or all of them."""
    if eos is None:
        return [responses.shape[1]] * len(responses)
    return [(row.index(eos) + 1) if eos in row else len(row) for row in responses.tolist()]


class _Watch(TrainerCallback):
    """Notes the clock and the rewards."""

    def __init__(self, notes: world.Notes):
        self.notes = notes
        self.logs: list[dict[str, float]] = []

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        self.logs.append(logs)
        self.notes.scores.append(logs["objective/scores"])

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.notes.rollout_done()


def _noting(notes: world.Notes, eos: int | None, pad: int) -> Callable[..., Any]:
    """TRL's `batch_generation`, which also notes lengths and its seconds; a rollout begins with it."""
    original = ppo_trainer.batch_generation

    def batch_generation(model: Any, queries: torch.Tensor, *rest: Any) -> Any:
        world.finish(notes.device)
        started = time.perf_counter()
        sequences, logits = original(model, queries, *rest)
        world.finish(notes.device)
        notes.phases.append({"sample": time.perf_counter() - started})
        prompt_lengths = (queries != pad).sum(1).tolist()
        lengths = response_lengths(sequences[:, queries.shape[1] :], eos)
        notes.lengths.append(list(zip(prompt_lengths, lengths, strict=True)))
        return sequences, logits

    return batch_generation


def train(work: Workload) -> dict[str, Any]:
    """Trains through the workload; what was noted on the way."""
    notes = world.Notes(work.device)
    watch = _Watch(notes)
    with tempfile.TemporaryDirectory() as folder:
        made = trainer(work, Path(folder), watch)
        tokens = made.processing_class
        eos = tokens.eos_token_id if work.stops else None
        with patch.object(ppo_trainer, "batch_generation", _noting(notes, eos, tokens.pad_token_id)):
            made.train()
    assert len(notes.clock) == work.steps, f"TRL did {len(notes.clock)} of {work.steps} rollouts"
    return {**notes.result(), "logs": watch.logs}


def sampler(work: Workload) -> dict[str, float]:
    """`model.generate` as TRL's trainer calls it, on the same prompts as `ours.sampler`."""
    tokenizer, policy = load_tokenizer(Path(work.base)), world.policy(work)
    tokenizer.padding_side = "left"
    rows = [ids for _, ids in world.prompts(work, tokenizer)[: work.episodes]]
    policy.generation_config.eos_token_id = tokenizer.eos_token_id
    how = GenerationConfig(max_new_tokens=work.max_new_tokens, temperature=work.temperature + 1e-7, top_k=0, top_p=1.0,
                           do_sample=True)
    torch.manual_seed(work.seed)

    def draw(ids: list[list[int]]) -> list[int]:
        queries = tokenizer.pad({"input_ids": ids}, return_tensors="pt")["input_ids"].to(work.device)
        sequences, _ = ppo_trainer.batch_generation(policy, queries, work.rows_per_batch, tokenizer.pad_token_id, how)
        return response_lengths(sequences[:, queries.shape[1] :], tokenizer.eos_token_id)

    return world.timed(work, draw, rows)
