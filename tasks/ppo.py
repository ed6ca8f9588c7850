"""PPO on the reward model: loads the four models of the article and hands them to `models.ppo.trainer`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import torch

from models.chat.template import load_tokenizer, stop_ids
from models.compute import processes
from models.lm.loading import load_policy, save_policy
from models.lm.precision import hold_products_in, round_weights
from models.ppo import checkpoint as ppo_checkpoint
from models.ppo.observer import PpoObserver
from models.ppo.settings import PpoSettings
from models.ppo.trainer import PpoResult, PpoTrainer
from models.ppo.value import SharedValue, ValueModel
from models.reward.model import load_reward_model
from models.reward.scoring import RewardSignal, SignalContext
from tasks.answering.sampling import encode_prompts
from tasks.artifacts.snapshots import collect_snapshots, keep_snapshot, snapshot_steps
from tasks.common import progress
from tasks.common.errors import DataError, DivergedError
from tasks.common.machine import device, prepare_torch
from tasks.common.numbers import finite_metrics
from tasks.common.rows import Row, read_jsonl, write_jsonl
from tasks.config.ppo import SIGNALS, PpoConfig
from tasks.training.lora import check_targets, peft_config
from tasks.training.ppo_samples import KeptSamples, sample_steps

NOT_THE_ENGINES = ("runtime", "guards", "lora", "snapshots", "examples", "rewards", "plugins",
                   "value_backbone")


def ppo_settings(cfg: PpoConfig) -> PpoSettings:
    """The engine's settings from the params section; sizes that do not divide are refused there."""
    plain = {name: getattr(cfg, name) for name in type(cfg).model_fields if name not in NOT_THE_ENGINES}
    if cfg.value_coefficient is None:  # a critic of its own: what its gradient is clipped by is the engine's
        del plain["value_coefficient"]
    runtime = {"seed": cfg.runtime.seed, "dtype": cfg.runtime.dtype}
    return PpoSettings(**plain, **cfg.guards.model_dump(), **runtime, snapshot_every=1)


def ppo(
    cfg: PpoConfig, model: Path, sft: Path, reward: Path, rl_prompts: Path, out: Path, checkpoints: Path
) -> dict[str, float]:
    """Train the SFT policy against the reward model, keeping snapshots for `select`.

    Writes the policy, `checkpoints/step-N` (snapshots), `curves.jsonl`, `samples.jsonl` (answers to a few fixed
    prompts on the way) and `stopped.json`: a guard that stops early leaves its reason there, which is a result with
    fewer steps; the policy that crossed its limit is among the snapshots. Under `accelerate launch` every process
    trains and the main one writes.

    Raises ValueError for settings that do not divide, DataError for a reward model on another vocabulary,
    DivergedError for non-finite numbers.
    """
    settings = ppo_settings(cfg)
    processes.start()
    prepare_torch(cfg.runtime)
    tokenizer, prompts = load_tokenizer(sft, cfg.runtime.date), read_jsonl(rl_prompts)
    trainer = _make_trainer(cfg, settings, model, sft, reward, prompts, tokenizer, checkpoints)
    shown = prompts[:: max(1, len(prompts) // max(1, cfg.examples))][: cfg.examples]
    samples = KeptSamples(trainer, tokenizer, shown, checkpoints / "samples")

    def save(path: Path) -> None:
        save_policy(trainer.policy, tokenizer, path, base=model, start=sft)

    trainer.observer = _Keeper(settings.steps, cfg.snapshots, checkpoints, samples, save)
    if processes.is_main():
        samples.keep(0)  # a resumed run has them already
    result = trainer.run()
    check_result(result, ppo_checkpoint.read_state(checkpoints))
    if processes.is_main():
        save(out)
        collect_snapshots(checkpoints, out)
        samples.keep(result.steps_done)
        samples.collect(out)
        _write_history(result, out)
    processes.stop()
    return metrics(result)


@dataclass(frozen=True)
class _Keeper(PpoObserver):
    """Reports progress, and keeps snapshots, samples and the policy that crosses a guard's limit."""

    steps: int
    snapshots: int
    checkpoints: Path
    samples: KeptSamples
    save: Callable[[Path], None]

    def on_breach(self, steps_done: int, policy: Any) -> None:
        if steps_done:
            keep_snapshot(self.checkpoints, steps_done, self.save)

    def on_snapshot(self, steps_done: int, policy: Any) -> None:
        if steps_done in snapshot_steps(self.steps, self.snapshots):
            keep_snapshot(self.checkpoints, steps_done, self.save)
        if steps_done in sample_steps(self.steps):
            self.samples.keep(steps_done)

    def on_step(self, steps_done: int, steps: int, metrics: dict[str, float]) -> None:
        progress.report(steps_done, steps, "rollout", **metrics)


def _write_history(result: PpoResult, out: Path) -> None:
    write_jsonl(out / "curves.jsonl", [{"step": n, **step} for n, step in enumerate(result.history, start=1)])
    stopped = {"reason": result.stop_reason, "steps_asked": result.steps_asked, "steps_done": result.steps_done}
    (out / "stopped.json").write_text(json.dumps(stopped, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _make_trainer(
    cfg: PpoConfig, settings: PpoSettings, model: Path, sft: Path, reward: Path, prompts: Sequence[Row],
    tokenizer: Any, checkpoints: Path,
) -> PpoTrainer:
    check_vocabulary(tokenizer, load_tokenizer(reward, cfg.runtime.date))
    place = device()
    dtype = getattr(torch, cfg.runtime.dtype)
    policy = load_policy(sft, model).to(place)
    check_targets(cfg.lora, policy, "ppo")
    reward_model = load_reward_model(reward, model).to(place)
    encoded = encode_prompts(tokenizer, prompts, policy, cfg.max_new_tokens)
    reference = None
    if cfg.lora is None:
        reference = hold_products_in(load_policy(sft, model).to(place).requires_grad_(False), dtype)
    else:
        import peft

        policy = peft.get_peft_model(policy, peft_config(cfg.lora, policy, "CAUSAL_LM"))
    value = SharedValue(policy) if cfg.value_backbone == "shared" else ValueModel.from_reward_model(reward_model)
    context = SignalContext(round_weights(reward_model, dtype), tokenizer, settings.rows_per_batch)
    return PpoTrainer(
        policy=policy,
        value=value,
        rewards=reward_signals(cfg.rewards, context),
        reference=reference,
        stop_ids=stop_ids(tokenizer),
        prompts=encoded,
        settings=settings,
        checkpoint_dir=checkpoints,
    )


def reward_signals(weights: Mapping[str, float], context: SignalContext) -> list[RewardSignal]:
    """What `ppo.rewards` asks for, the reward model first; a weight of 0 leaves a signal out."""
    used = (name for name, weight in weights.items() if weight)
    names = sorted(used, key=lambda name: (name != "reward_model", name))
    return [RewardSignal(name, partial(SIGNALS[name], context), weights[name]) for name in names]


def check_vocabulary(policy_tokenizer: Any, reward_tokenizer: Any) -> None:
    """Raises DataError unless both tokenizers mean the same by every token id: the reward model reads the policy's."""
    ours, theirs = policy_tokenizer.get_vocab(), reward_tokenizer.get_vocab()
    if ours != theirs:
        differ = len(ours.items() ^ theirs.items())
        raise DataError(
            f"the reward model's tokenizer has {len(theirs)} tokens and the policy's {len(ours)}, and {differ} (token, "
            "id) pairs are only in one; train the reward model from this SFT policy: run the reward stage again"
        )


def check_result(result: PpoResult, last: Mapping[str, Any] | None) -> None:
    """Raises DivergedError when fewer steps were done than asked for and no guard says why.

    last: the state of the newest resume checkpoint, if there is one.
    """
    if result.stop_reason and result.stop_reason.startswith("not finite"):
        kept = "no checkpoint was written before"
        if last:
            kept = f"the last good checkpoint is that of step {last['step']}"
        raise DivergedError(
            f"PPO stopped after step {result.steps_done} of {result.steps_asked}: {result.stop_reason}; {kept}; lower "
            "ppo.learning_rate, or look at the SFT policy and the reward model"
        )
    if result.steps_done < result.steps_asked and not result.stop_reason:
        raise DivergedError(f"PPO did {result.steps_done} of {result.steps_asked} steps and no guard says why")


def metrics(result: PpoResult) -> dict[str, float]:
    """First and last numbers of the run."""
    if not result.history:
        return {"steps_asked": result.steps_asked, "steps_done": 0, "stopped_by_guard": 1.0}
    first, last = result.history[0], result.history[-1]
    shown = ("score", "kl", "entropy", "eos_rate", "clip_fraction", "value_loss")
    ends = {f"{name}_first": first[name] for name in shown if name in first}
    ends |= {f"{name}_last": last[name] for name in shown if name in last}
    return finite_metrics({
        "steps_asked": result.steps_asked, "steps_done": result.steps_done,
        "stopped_by_guard": float(result.stop_reason is not None), **ends,
    })
