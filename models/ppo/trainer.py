"""Proximal policy optimisation on language models: sample, score, advantage, update.

Follows Huang et al. 2024, "The N+ Implementation Details of RLHF with PPO" (arXiv:2403.17031).
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.compute import processes
from models.lm.batching import device_of, evaluating, length_mask
from models.lm.long_rope import crosses
from models.ppo import passes, resume
from models.ppo.checks import check_parts
from models.ppo.guards import crosses_a_limit, tripped
from models.ppo.kl import AdaptiveKl, FixedKl
from models.ppo.observer import PpoObserver
from models.ppo.prompts import Prompts, normalisation_prompts, step_prompts
from models.ppo.rewards import fit_scales, penalise_missing_stop, token_rewards, weighted_scores
from models.ppo.rollout import Rollout, Scored, advantages_and_returns, rollout_metrics
from models.ppo.settings import PpoSettings
from models.ppo.update import check_finite, make_optimizer, set_learning_rate, trainable, update
from models.ppo.value import SharedValue, ValueModel
from models.reward.scoring import RewardSignal
from models.sampling.sampler import Sample, SamplingSettings, check_prompts, sample

# Log-probs of the sampler that differ by more from a forward pass are not reused as the old ones.
LOGPROB_TOLERANCE = 1e-4


@dataclass(frozen=True)
class PpoResult:
    """What a run did. Fewer steps than asked without a `stop_reason` is not a success."""

    steps_asked: int
    steps_done: int
    stop_reason: str | None
    history: list[dict[str, float]]


class PpoTrainer:
    """Trains a policy in place.

    Where `processes.start` has joined several, each samples, scores and learns from its share of the rows; whitening,
    guards, metrics and normalisation see all of them, and the main process alone writes and tells the observer.

    Args:
        policy: causal language model; with peft, its adapter alone is trained.
        value: the critic, with a backbone of its own or a head on the policy's; one in reward units is taken to be in
            those of the first signal.
        rewards: signals whose weighted sum is maximised; a model that scores tokens must share the policy's tokenizer.
        reference: frozen policy to stay close to; None is the peft policy with its adapter off.
        stop_ids: tokens that end a response.
        prompts: (id, token ids) with distinct ids.
        checkpoint_dir: where a resumable state is kept; a run found there is continued, on one CPU machine in float32
            to the same bits; on a GPU a test asks for 1% of the way that training moved it. None keeps nothing.

    Raises:
        ValueError: prompts, rewards or models that do not fit together.
    """

    def __init__(
        self,
        *,
        policy: nn.Module,
        value: ValueModel | SharedValue,
        rewards: Sequence[RewardSignal],
        reference: nn.Module | None,
        stop_ids: frozenset[int],
        prompts: Prompts,
        settings: PpoSettings,
        checkpoint_dir: Path | None = None,
        observer: PpoObserver | None = None,
    ):
        check_parts(policy, value, reference, rewards, prompts)
        settings.check_processes(processes.count())
        self.sampling = SamplingSettings(settings.temperature, settings.max_new_tokens, settings.seed)
        check_prompts(policy, prompts, self.sampling)
        self.policy, self.value, self.reference = policy, value, reference
        self.rewards, self.stop_ids, self.settings = list(rewards), stop_ids, settings
        self.prompts = [(prompt_id, tuple(ids)) for prompt_id, ids in prompts]
        self.checkpoint_dir, self.observer = checkpoint_dir, observer or PpoObserver()
        self.optimizer = make_optimizer(policy, value, settings)
        self.kl = FixedKl(settings.kl_coefficient) if settings.kl_target is None else AdaptiveKl(
            settings.kl_coefficient, settings.kl_target, settings.kl_horizon_episodes)
        self.history: list[dict[str, float]] = []
        self.scales = {signal.name: (0.0, 1.0) for signal in self.rewards}
        switches = crosses(policy, [len(ids) for _, ids in prompts], settings.max_new_tokens)
        self.reuse_logprobs: bool | None = None if settings.reuse_sampling_logprobs and not switches else False

    def products(self) -> AbstractContextManager:
        """What every forward pass of policy, reference and critic runs in: equal arithmetic, so that KL begins at 0."""
        return self.settings.products(device_of(self.policy))

    def run(self) -> PpoResult:
        """Trains to the end, a guard, or a number that is not finite; resumes from `checkpoint_dir`."""
        if not processes.is_main():
            self.observer = PpoObserver()
        with ExitStack() as stack:
            # Dropout is off in all models: the ratio of new to old probabilities must be 1 before the first step.
            for model in filter(None, (self.policy, self.value, self.reference)):
                stack.enter_context(evaluating(model))
            first = resume.restore(self)
            processes.copy_from_main([*trainable(self.policy), *trainable(self.value)])
            stop_reason = self._normalise() if first == 0 else None
            for step in range(first, self.settings.steps):
                if stop_reason is not None:
                    break
                stop_reason = self._step(step)
        return PpoResult(self.settings.steps, len(self.history), stop_reason, self.history)

    def _step(self, step: int) -> str | None:
        """Sample, score, advantage, update; returns why to stop, if at all."""
        clock = [time.perf_counter()]
        try:
            samples = self._sample(step_prompts(self.prompts, self.settings, step))
            clock.append(time.perf_counter())
            rollout = self._advantage(self._score(samples))
            clock.append(time.perf_counter())
            metrics = {**rollout_metrics(rollout), "kl_coefficient": self.kl.coefficient}
            check_finite(metrics)
            reason = self._guard(step, rollout, metrics)
            if reason is not None:
                return f"{reason} (at step {step + 1})"
            metrics["learning_rate"] = set_learning_rate(self.optimizer, self.settings, step)
            metrics |= update(self.policy, self.value, self.optimizer, rollout, self.settings, step)
        except FloatingPointError as error:
            return f"not finite: {error} (at step {step + 1})"
        clock.append(time.perf_counter())
        self.kl.update(metrics["kl"], self.settings.batch_size)
        self._finish(step + 1, metrics, clock)
        return None

    def _sample(self, prompts: Prompts) -> list[Sample]:
        """One response to each prompt."""
        def some(rows: list[int]) -> list[Sample]:
            with self.products():
                return sample(self.policy, [prompts[i] for i in rows], 1, self.sampling, stop_ids=self.stop_ids,
                              rows_per_batch=self.settings.rows_per_batch)

        return processes.spread(some, len(prompts))

    @torch.no_grad()
    def _score(self, samples: list[Sample]) -> Scored:
        """Log-probs, values and reward signals of the samples."""
        logprobs, mask = self._old_logprobs(samples)
        reference_logprobs, values = passes.reference_and_values(
            self.policy, self.reference, self.value, samples, self.settings)
        finished = torch.tensor([s.finished for s in samples], device=mask.device)
        return Scored([s.prompt_ids for s in samples], [s.response_ids for s in samples], finished, mask, logprobs,
                      reference_logprobs, values, self._signals(samples))

    def _advantage(self, scored: Scored) -> Rollout:
        """Scores become rewards of tokens, and these the advantages that the update follows."""
        settings, mask = self.settings, scored.response_mask
        scores = penalise_missing_stop(weighted_scores(scored.signals, self.rewards, self.scales), scored.finished,
                                       settings.missing_eos_penalty, settings.missing_eos_mode)
        rewards = token_rewards(scores, scored.logprobs, scored.reference_logprobs, mask, self.kl.coefficient)
        advantages, returns = advantages_and_returns(
            rewards, scored.values, mask, gamma=settings.gamma, lam=settings.lam,
            whiten_rewards=settings.whiten_rewards)
        return Rollout(**vars(scored), scores=scores, rewards=rewards, advantages=advantages, returns=returns)

    def _old_logprobs(self, samples: list[Sample]) -> tuple[Tensor, Tensor]:
        """The sampler's log-probs where they are a forward pass's too, else that pass's; and the response mask."""
        device = device_of(self.policy)
        rows = [torch.tensor(s.logprobs) for s in samples]
        sampled = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        mask = length_mask(torch.tensor([len(row) for row in rows], device=device), sampled.shape[1])
        if self.reuse_logprobs:
            return sampled, mask
        recomputed = passes.logprobs(self.policy, samples, self.settings)
        if self.reuse_logprobs is None:
            self.reuse_logprobs = bool((sampled - recomputed).abs().max() <= LOGPROB_TOLERANCE)
        return recomputed, mask

    def _signals(self, samples: list[Sample]) -> dict[str, Tensor]:
        device = device_of(self.policy)
        signals = {s.name: passes.of_all_rows(s.score, samples, device) for s in self.rewards}
        check_finite({f"reward {name}": float(scores.sum()) for name, scores in signals.items()})
        return signals

    def _normalise(self) -> str | None:
        """Fits the scales of rewards and critic to the policy before training; returns why to stop, if at all."""
        try:
            if self.settings.normalise_reward:
                samples = self._sample(normalisation_prompts(self.prompts, self.settings))
                self.scales = fit_scales(self._signals(samples))
            if self.value.in_reward_units:  # it expects what is left of the first signal; the others' mean is 0
                self.value.normalise(*self.scales[self.rewards[0].name], self.rewards[0].weight)
        except FloatingPointError as error:
            return f"not finite: {error} (before step 1)"
        return None

    def _guard(self, step: int, rollout: Rollout, metrics: dict[str, float]) -> str | None:
        """Why to stop before the update, if at all."""
        self.observer.on_rollout(step, rollout)
        history = [*self.history, metrics]
        if crosses_a_limit(history, self.settings):
            self.observer.on_breach(step, self.policy)
        return tripped(history, self.settings)

    def _finish(self, done: int, metrics: dict[str, float], clock: list[float]) -> None:
        self.history.append(metrics)
        if self.settings.snapshot_every and done % self.settings.snapshot_every == 0:
            self.observer.on_snapshot(done, self.policy)
        resume.save(self, done)
        seconds = {f"seconds_{name}": after - before for name, before, after
                   in zip(("sample", "score", "update"), clock, clock[1:], strict=False)}
        self.observer.on_step(done, self.settings.steps, {**metrics, **seconds})
