"""Our side: `models.ppo.trainer` and `models.sampling.sampler` on a workload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.ppo import world
from benchmarks.ppo.workload import Workload
from models.chat.template import load_tokenizer
from models.ppo.observer import PpoObserver
from models.ppo.rollout import Rollout
from models.ppo.settings import PpoSettings
from models.ppo.trainer import PpoTrainer
from models.ppo.value import ValueModel
from models.reward.scoring import RewardSignal, model_scorer
from models.sampling.sampler import SamplingSettings, sample

SHARED = (
    "episodes", "batch_size", "minibatch_size", "epochs", "rows_per_batch", "max_new_tokens", "temperature",
    "learning_rate", "kl_coefficient", "clip_range", "value_clip_range", "value_coefficient", "gamma", "lam",
    "missing_eos_penalty", "adam_eps", "max_grad_norm", "seed",
)  # fmt: skip


def settings(work: Workload) -> PpoSettings:
    """The engine's settings; it normalises no reward, because TRL cannot."""
    return PpoSettings(normalise_reward=False, **{name: getattr(work, name) for name in SHARED})


def trainer(work: Workload, tokenizer: Any, observer: PpoObserver | None = None) -> PpoTrainer:
    """Our trainer on the workload's models and prompts."""
    policy = world.policy(work)
    reward = world.reward_model(work, policy)
    return PpoTrainer(
        policy=policy,
        value=ValueModel.from_reward_model(world.critic(policy)),
        rewards=[RewardSignal("reward_model", model_scorer(reward, work.rows_per_batch))],
        reference=world.policy(work).requires_grad_(False),
        stop_ids=frozenset({tokenizer.eos_token_id} if work.stops else ()),
        prompts=world.prompts(work, tokenizer),
        settings=settings(work),
        observer=observer,
    )


class _Watch(PpoObserver):
    """Notes the clock, lengths and rewards."""

    def __init__(self, notes: world.Notes):
        self.notes = notes

    def on_rollout(self, step: int, rollout: Rollout) -> None:
        pairs = zip(rollout.prompt_ids, rollout.response_ids, strict=True)
        self.notes.lengths.append([(len(prompt), len(response)) for prompt, response in pairs])

    def on_step(self, steps_done: int, steps: int, metrics: dict[str, float]) -> None:
        self.notes.rollout_done()
        self.notes.scores.append(metrics["score"])
        self.notes.phases.append({name: metrics[f"seconds_{name}"] for name in ("sample", "score", "update")})


def train(work: Workload) -> dict[str, Any]:
    """Trains through the workload; what was noted on the way."""
    notes = world.Notes(work.device)

    engine = trainer(work, load_tokenizer(Path(work.base)), _Watch(notes))
    result = engine.run()
    assert result.steps_done == work.steps, result.stop_reason
    return {**notes.result(), "shape": vars(world.shape(engine.policy))}


def sampler(work: Workload) -> dict[str, float]:
    """`world.timed` of our sampler, on the first `episodes` prompts."""
    tokenizer, policy = load_tokenizer(Path(work.base)), world.policy(work)
    how = SamplingSettings(work.temperature, work.max_new_tokens, work.seed)
    stop = frozenset({tokenizer.eos_token_id})

    def draw(rows: list[tuple[str, list[int]]]) -> list[int]:
        samples = sample(policy, rows, 1, how, stop_ids=stop, rows_per_batch=work.rows_per_batch)
        return [len(s.response_ids) for s in samples]

    return world.timed(work, draw, world.prompts(work, tokenizer)[: work.episodes])
