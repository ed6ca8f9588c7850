"""Settings of PPO, checked before anything runs."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from models.compute.divisibility import check_divides
from models.lm.precision import products_in


@dataclass(frozen=True)
class PpoSettings:
    """Defaults are those that Huang et al. 2024 ("The N+ Implementation Details of RLHF with PPO") found to matter.

    Attributes:
        episodes: responses sampled over the whole run; batch_size of them make a step.
        minibatch_size: episodes per optimizer step; each of `epochs` passes over a batch shuffles afresh.
        rows_per_batch: rows of one forward pass without gradient, and of sampling.
        rows_per_backward: rows of one forward and backward pass; None is the whole minibatch. Changes memory and
            speed, not the result.
        learning_rate: of the policy and, unless `value_learning_rate` says otherwise, of the critic; decays linearly
            to 0 over the run.
        kl_coefficient: reward units per nat. With `kl_target` (nats per response) it adapts over
            `kl_horizon_episodes`.
        missing_eos_penalty: for a response without a stop token, after normalisation; None is no penalty.
        missing_eos_mode: "subtract" it from the score, or "replace" the score by its negative.
        normalise_reward: scale each reward signal to mean 0 and deviation 1 on `normalise_samples` samples of the
            policy before training.
        value_coefficient: weight of the critic's loss in what a shared backbone learns; it scales the gradient of a
            critic of its own, too, which Adam then takes out: there it counts against `max_grad_norm` alone.
        dtype: of matrix products in training ("float32" or "bfloat16"); weights are held as they come.
        max_grad_norm: of policy and critic separately, so that neither's gradient shrinks the other's; a critic that
            shares the policy's backbone is its head alone here.
        reuse_sampling_logprobs: take the sampler's log-probs as the old ones if they agree with a forward pass within
            1e-4 on the first batch; else, or when False, recompute them.
        checkpoint_every, snapshot_every: steps; 0 is never.
        kl_budget (nats per response), entropy_floor (nats per token), eos_rate_floor, distinct_floor (share of
            distinct bigrams): guards, None is off. A guard stops the run when `guard_patience` rollouts in a row
            break it; a KL clearly above its budget (by two standard errors) at once.
    """

    episodes: int
    batch_size: int
    minibatch_size: int
    max_new_tokens: int
    learning_rate: float
    epochs: int = 4
    rows_per_batch: int = 64
    rows_per_backward: int | None = None
    value_learning_rate: float | None = None
    temperature: float = 1.0
    kl_coefficient: float = 0.05
    kl_target: float | None = None
    kl_horizon_episodes: int = 10_000
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    value_coefficient: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    missing_eos_penalty: float | None = 1.0
    missing_eos_mode: str = "subtract"
    normalise_reward: bool = True
    normalise_samples: int = 256
    whiten_rewards: bool = False
    adam_eps: float = 1e-5
    max_grad_norm: float = 1.0
    reuse_sampling_logprobs: bool = True
    dtype: str = "float32"
    seed: int = 0
    checkpoint_every: int = 0
    snapshot_every: int = 0
    kl_budget: float | None = None
    entropy_floor: float | None = None
    eos_rate_floor: float | None = None
    distinct_floor: float | None = None
    guard_patience: int = 2

    @property
    def steps(self) -> int:
        """Rollouts in the run; each has epochs · batch_size / minibatch_size optimizer steps."""
        return self.episodes // self.batch_size

    def __post_init__(self):
        """Raises ValueError for sizes that do not divide or numbers out of range."""
        counts = ("episodes", "batch_size", "minibatch_size", "max_new_tokens", "epochs", "rows_per_batch",
                  "kl_horizon_episodes", "normalise_samples", "guard_patience")
        rates = ("learning_rate", "temperature", "adam_eps", "max_grad_norm", "clip_range", "value_clip_range")
        rules = [
            (counts, lambda x: x >= 1, "must be at least 1"),
            (rates, lambda x: x > 0, "must be above 0"),
            (("rows_per_backward",), lambda x: x is None or x >= 1,
             "must be at least 1, or null for the whole minibatch"),
            (("gamma", "lam"), lambda x: 0 <= x <= 1, "must be between 0 and 1"),
            (("kl_coefficient",), lambda x: x >= 0, "must not be negative"),
            (("missing_eos_mode",), lambda x: x in ("subtract", "replace"), "must be 'subtract' or 'replace'"),
            (("kl_target",), lambda x: x is None or x > 0, "must be above 0, or null for a fixed coefficient"),
        ]
        for names, holds, rule in rules:
            for name in names:
                if not holds(getattr(self, name)):
                    raise ValueError(f"{name}={getattr(self, name)!r} {rule}")
        check_divides(self.batch_size, "batch_size", self.minibatch_size, "minibatch_size")
        check_divides(self.episodes, "episodes", self.batch_size, "batch_size")

    def check_processes(self, count: int) -> None:
        """Raises ValueError for sizes that leave one of `count` processes without its share, naming one that works."""
        if self.minibatch_size % count:
            sizes = [n for n in range(count, self.batch_size + 1, count) if self.batch_size % n == 0]
            nearest = min(sizes, key=lambda n: abs(n - self.minibatch_size), default=None)
            fewer = max(n for n in range(1, count) if self.minibatch_size % n == 0)
            raise ValueError(f"minibatch_size={self.minibatch_size} is not divisible by {count} processes; "
                             + (f"set minibatch_size to {nearest} or " if nearest else "") + f"start {fewer}")
        if self.normalise_samples < count:
            raise ValueError(f"normalise_samples={self.normalise_samples} is less than one for each of {count}"
                             f" processes; set it to {count} or more")

    def products(self, device: torch.device) -> AbstractContextManager:
        """What every forward pass of policy, reference and critic runs in."""
        return products_in(getattr(torch, self.dtype), device)
