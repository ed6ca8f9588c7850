"""PPO on the reward model: loads the four models of the article and hands them to `models.ppo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

from models.loading import load_policy, load_reward_model, load_tokenizer, save_policy, stop_ids
from models.ppo import PpoResult, PpoTrainer
from models.ppo_settings import PpoSettings
from models.reward import RewardSignal, model_scorer
from models.value import ValueModel
from tasks import progress
from tasks.config import PpoConfig
from tasks.errors import DivergedError
from tasks.lora import peft_config
from tasks.machine import device, prepare_torch
from tasks.numbers import finite_metrics
from tasks.rows import read_jsonl, write_jsonl
from tasks.sampling import encode_prompts
from tasks.snapshots import collect_snapshots, keep_snapshot, snapshot_steps

OWN_SECTIONS = ("runtime", "guards", "lora", "snapshots")


def ppo_settings(cfg: PpoConfig) -> PpoSettings:
    """The engine's settings from the params section; sizes that do not divide are refused there."""
    plain = {name: getattr(cfg, name) for name in type(cfg).model_fields if name not in OWN_SECTIONS}
    return PpoSettings(**plain, **cfg.guards.model_dump(), snapshot_every=1, seed=cfg.runtime.seed)


def ppo(
    cfg: PpoConfig, model: Path, sft: Path, reward: Path, rl_prompts: Path, out: Path, checkpoints: Path
) -> dict[str, float]:
    """Train the SFT policy against the reward model, keeping snapshots for `select`.

    A guard that stops early leaves its reason in `stopped.json`; that is a result, with fewer steps.
    Raises ValueError for settings that do not divide, DivergedError for non-finite numbers.
    """
    settings = ppo_settings(cfg)
    prepare_torch(cfg.runtime)
    tokenizer = load_tokenizer(sft)
    trainer = _make_trainer(cfg, settings, model, sft, reward, rl_prompts, tokenizer, checkpoints)
    trainer.on_step = lambda done, total, numbers: progress.report(done, total, "rollout", **numbers)
    trainer.on_snapshot = lambda step, policy: _keep_snapshot(
        step, snapshot_steps(settings.steps, cfg.snapshots), checkpoints, lambda path: save_policy(policy, tokenizer, path, base=model, start=sft)
    )
    result = trainer.run()
    _check(result)
    save_policy(trainer.policy, tokenizer, out, base=model, start=sft)
    collect_snapshots(checkpoints, out)
    write_jsonl(out / "curves.jsonl", [{"step": n, **step} for n, step in enumerate(result.history, start=1)])
    stopped = {"reason": result.stop_reason, "steps_asked": result.steps_asked, "steps_done": result.steps_done}
    (out / "stopped.json").write_text(json.dumps(stopped, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return metrics(result)


def _make_trainer(
    cfg: PpoConfig, settings: PpoSettings, model: Path, sft: Path, reward: Path, rl_prompts: Path, tokenizer: Any,
    checkpoints: Path,
) -> PpoTrainer:
    place = device()
    policy = load_policy(sft, model, cfg.runtime.dtype).to(place)
    reward_model = load_reward_model(reward, model, cfg.runtime.dtype).to(place)
    prompts = encode_prompts(tokenizer, read_jsonl(rl_prompts), policy, cfg.max_new_tokens)
    reference = None
    if cfg.lora is None:
        reference = load_policy(sft, model, cfg.runtime.dtype).to(place).requires_grad_(False)
    else:
        import peft

        policy = peft.get_peft_model(policy, peft_config(cfg.lora, "CAUSAL_LM"))
    return PpoTrainer(
        policy=policy,
        value=ValueModel.from_reward_model(reward_model),
        rewards=[RewardSignal("reward_model", model_scorer(reward_model, settings.rows_per_batch), 1.0)],
        reference=reference,
        stop_ids=stop_ids(tokenizer),
        prompts=prompts,
        settings=settings,
        checkpoint_dir=checkpoints,
    )


def _keep_snapshot(step: int, wanted: set[int], checkpoints: Path, write: Callable[[Path], None]) -> None:
    if step in wanted:
        keep_snapshot(checkpoints, step, write)


def _check(result: PpoResult) -> None:
    """Raises DivergedError when fewer steps were done than asked for and no guard says why."""
    if result.stop_reason and result.stop_reason.startswith("not finite"):
        raise DivergedError(
            f"PPO stopped after step {result.steps_done} of {result.steps_asked}: {result.stop_reason}; the last "
            "checkpoint is good; lower ppo.learning_rate or look at the reward model"
        )
    if result.steps_done < result.steps_asked and not result.stop_reason:
        raise DivergedError(f"PPO did {result.steps_done} of {result.steps_asked} steps and no guard says why")


def metrics(result: PpoResult) -> dict[str, float]:
    """First and last numbers of the run."""
    if not result.history:
        return {"steps_asked": result.steps_asked, "steps_done": 0, "stopped_by_guard": 1.0}
    first, last = result.history[0], result.history[-1]
    shown = ("score", "kl", "entropy", "eos_rate", "clip_fraction", "value_loss")
    numbers = {f"{name}_first": first[name] for name in shown if name in first}
    numbers |= {f"{name}_last": last[name] for name in shown if name in last}
    return finite_metrics({
        "steps_asked": result.steps_asked, "steps_done": result.steps_done,
        "stopped_by_guard": float(result.stop_reason is not None), **numbers,
    })
