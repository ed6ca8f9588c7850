"""Proximal policy optimisation on language models: sample, score, advantage, update.

Follows Huang et al. 2024, "The N+ Implementation Details of RLHF with PPO" (arXiv:2403.17031).
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.compute import processes
from models.compute.concurrent import run_concurrently
from models.lm.batching import by_length, device_of, evaluating, length_mask
from models.lm.logprobs import join, response_logprobs
from models.lm.long_rope import crosses
from models.ppo import checkpoint as ppo_checkpoint
from models.ppo.advantages import explained_variance
from models.ppo.guards import breaches, tripped
from models.ppo.kl import AdaptiveKl, FixedKl
from models.ppo.rollout import Rollout, advantages_and_returns, penalise_missing_stop, rollout_metrics, token_rewards
from models.ppo.settings import PpoSettings
from models.ppo.update import check_finite, make_optimizer, set_learning_rate, trainable, update
from models.ppo.value import SharedValue, ValueModel, check_critic
from models.reward.scoring import RewardSignal, Scorer
from models.sampling.randomness import generator
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
    guards, metrics and normalisation see all of them, and the main process alone writes and calls back.

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
        on_step: called with (step, steps in total, metrics) after each step; times are in `seconds_*`.
        on_snapshot: called with (step, policy) every `snapshot_every` steps, to keep policies for later selection.
        on_rollout: called with (step, rollout) before its update, e.g. to show sampled responses.
        on_breach: called with (steps done, policy) when a rollout breaks a guard's limit and the one before did not:
            the policy as it crossed the limit, which is worth keeping when the guard trips later.

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
        prompts: Sequence[tuple[str, Sequence[int]]],
        settings: PpoSettings,
        checkpoint_dir: Path | None = None,
        on_step: Callable[[int, int, dict[str, float]], None] | None = None,
        on_snapshot: Callable[[int, nn.Module], None] | None = None,
        on_rollout: Callable[[int, Rollout], None] | None = None,
        on_breach: Callable[[int, nn.Module], None] | None = None,
    ):
        _check(policy, reference, rewards, prompts)
        check_critic(policy, value)
        settings.check_processes(processes.count())
        self.sampling = SamplingSettings(settings.temperature, settings.max_new_tokens, settings.seed)
        check_prompts(policy, prompts, self.sampling)
        self.policy, self.value, self.reference = policy, value, reference
        self.rewards, self.stop_ids, self.settings = list(rewards), stop_ids, settings
        self.prompts = [(prompt_id, tuple(ids)) for prompt_id, ids in prompts]
        self.checkpoint_dir = checkpoint_dir
        self.on_step, self.on_snapshot = on_step, on_snapshot
        self.on_rollout, self.on_breach = on_rollout, on_breach
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
        with ExitStack() as stack:
            # Dropout is off in all models: the ratio of new to old probabilities must be 1 before the first step.
            for model in filter(None, (self.policy, self.value, self.reference)):
                stack.enter_context(evaluating(model))
            first = self._resume()
            processes.copy_from_main([*trainable(self.policy), *trainable(self.value)])
            stop_reason = self._normalise() if first == 0 else None
            for step in range(first, self.settings.steps):
                if stop_reason is not None:
                    break
                stop_reason = self._step(step)
        return PpoResult(self.settings.steps, len(self.history), stop_reason, self.history)

    def _normalise(self) -> str | None:
        """Fits the scales of rewards and critic before training; returns why to stop, if at all."""
        try:
            self._normalise_rewards()
            self._normalise_critic()
        except FloatingPointError as error:
            return f"not finite: {error} (before step 1)"
        return None

    def _step(self, step: int) -> str | None:
        """One rollout and its update; returns why to stop, if at all."""
        clock = [time.perf_counter()]
        try:
            samples = self._sample(step)
            clock.append(time.perf_counter())
            rollout = self._score(samples)
            clock.append(time.perf_counter())
            metrics = self._rollout_metrics(rollout)
            _tell(self.on_rollout, step, rollout)
            if self._crosses_a_limit(metrics):
                _tell(self.on_breach, step, self.policy)
            reason = tripped([*self.history, metrics], self.settings)
            if reason is not None:
                return f"{reason} (at step {step + 1})"
            set_learning_rate(self.optimizer, self.settings, step)
            metrics["learning_rate"] = self.optimizer.param_groups[0]["lr"]
            metrics |= update(self.policy, self.value, self.optimizer, rollout, self.settings, step)
        except FloatingPointError as error:
            return f"not finite: {error} (at step {step + 1})"
        clock.append(time.perf_counter())
        self.kl.update(metrics["kl"], self.settings.batch_size)
        self._finish_step(step + 1, metrics, clock)
        return None

    def _crosses_a_limit(self, metrics: dict[str, float]) -> bool:
        before = breaches(self.history[-1], self.settings) if self.history else {}
        return bool(breaches(metrics, self.settings)) and not before

    def _sample(self, step: int) -> list[Sample]:
        """One response to each of the step's prompts; the position in the data is a pure function of the step."""
        size, count = self.settings.batch_size, len(self.prompts)
        batch = []
        for position in range(step * size, (step + 1) * size):
            visit, place = divmod(position, count)
            if place == 0 or not batch:
                order = generator(self.settings.seed, "prompts", visit).permutation(count)
            prompt_id, ids = self.prompts[order[place]]
            batch.append((f"{prompt_id}@{visit}", ids))
        return self._respond(batch)

    def _respond(self, batch: Sequence[tuple[str, Sequence[int]]]) -> list[Sample]:
        def some(rows: list[int]) -> list[Sample]:
            with self.products():
                return sample(self.policy, [batch[i] for i in rows], 1, self.sampling, stop_ids=self.stop_ids,
                              rows_per_batch=self.settings.rows_per_batch)

        return processes.spread(some, len(batch))

    @torch.no_grad()
    def _score(self, samples: list[Sample]) -> Rollout:
        """Log-probs, values and rewards of the samples, and the advantages that follow."""
        prompt_ids, response_ids = [s.prompt_ids for s in samples], [s.response_ids for s in samples]
        logprobs, mask = self._old_logprobs(samples)
        reference_logprobs, values = self._reference_and_values(prompt_ids, response_ids)
        finished = torch.tensor([s.finished for s in samples], device=mask.device)
        signals = self._signals(prompt_ids, response_ids)
        scores = penalise_missing_stop(self._total(signals), finished, self.settings.missing_eos_penalty,
                                       self.settings.missing_eos_mode)
        rewards = token_rewards(scores, logprobs, reference_logprobs, mask, self.kl.coefficient)
        advantages, returns = advantages_and_returns(
            rewards, values, mask, gamma=self.settings.gamma, lam=self.settings.lam,
            whiten_rewards=self.settings.whiten_rewards)
        return Rollout(prompt_ids, response_ids, finished, mask, logprobs, reference_logprobs, values, signals, scores,
                       rewards, advantages, returns)

    def _over_rows(self, compute: Scorer, prompt_ids, response_ids) -> Tensor:
        """`compute(prompts, responses)`, (batch,) or (batch, time), of all rows, each process doing its share."""
        def some(rows: list[int]) -> list[Tensor]:
            part = compute([prompt_ids[i] for i in rows], [response_ids[i] for i in rows])
            return [row.clone() for row in part.float().cpu()]  # a view would be sent with all it is a view of

        rows = processes.spread(some, len(prompt_ids))
        whole = nn.utils.rnn.pad_sequence(rows, batch_first=True) if rows[0].dim() else torch.stack(rows)
        return whole.to(device_of(self.policy))

    def _logprobs(self, model: nn.Module, prompt_ids, response_ids) -> Tensor:
        def compute(prompts, responses) -> Tensor:
            with self.products():
                return response_logprobs(model, prompts, responses, self.settings.temperature,
                                         rows_per_batch=self.settings.rows_per_batch).logprobs

        return self._over_rows(compute, prompt_ids, response_ids)

    def _reference_and_values(self, prompt_ids, response_ids) -> list[Tensor]:
        def reference_logprobs() -> Tensor:
            with self.policy.disable_adapter() if self.reference is None else nullcontext():
                return self._logprobs(self.reference or self.policy, prompt_ids, response_ids)

        def values() -> Tensor:
            return self._over_rows(self._values, prompt_ids, response_ids)

        if self.reference is None and isinstance(self.value, SharedValue):  # one backbone, its adapter off and on
            return [reference_logprobs(), values()]
        return run_concurrently([reference_logprobs, values], device_of(self.policy))

    def _old_logprobs(self, samples: list[Sample]) -> tuple[Tensor, Tensor]:
        """The sampler's log-probs where they are a forward pass's too, else that pass's; and the response mask."""
        device = device_of(self.policy)
        rows = [torch.tensor(s.logprobs) for s in samples]
        sampled = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)
        mask = length_mask(torch.tensor([len(row) for row in rows], device=device), sampled.shape[1])
        if self.reuse_logprobs:
            return sampled, mask
        recomputed = self._logprobs(self.policy, [s.prompt_ids for s in samples], [s.response_ids for s in samples])
        if self.reuse_logprobs is None:
            self.reuse_logprobs = bool((sampled - recomputed).abs().max() <= LOGPROB_TOLERANCE)
        return recomputed, mask

    def _values(self, prompt_ids, response_ids) -> Tensor:
        device = device_of(self.policy)
        values = torch.zeros(len(response_ids), max(len(response) for response in response_ids), device=device)
        sizes = [len(p) + len(r) for p, r in zip(prompt_ids, response_ids, strict=True)]
        for rows in by_length(sizes, self.settings.rows_per_batch):
            with self.products():
                part = self.value(join([prompt_ids[i] for i in rows], [response_ids[i] for i in rows], device))
            values[torch.tensor(rows, device=device), : part.shape[1]] = part
        return values

    def _signals(self, prompt_ids, response_ids) -> dict[str, Tensor]:
        signals = {s.name: self._over_rows(s.score, prompt_ids, response_ids) for s in self.rewards}
        check_finite({f"reward {name}": float(scores.sum()) for name, scores in signals.items()})
        return signals

    def _total(self, signals: dict[str, Tensor]) -> Tensor:
        """Weighted sum (batch,) of the normalised signals."""
        scaled = ((signals[s.name] - self.scales[s.name][0]) / self.scales[s.name][1] * s.weight for s in self.rewards)
        return torch.stack(list(scaled)).sum(0)

    def _normalise_rewards(self) -> None:
        """Fits each signal's mean and deviation once, on responses of the policy before training."""
        if not self.settings.normalise_reward:
            return
        count = len(self.prompts)
        order = generator(self.settings.seed, "normalise").permutation(count)
        rows = [(f"{self.prompts[order[i % count]][0]}@normalise-{i // count}", self.prompts[order[i % count]][1])
                for i in range(self.settings.normalise_samples)]
        samples = self._respond(rows)
        signals = self._signals([s.prompt_ids for s in samples], [s.response_ids for s in samples])
        # A constant signal has no scale; leave it at 1.
        self.scales = {name: (float(x.mean()), float(x.std(correction=0)) if x.std(correction=0) > 1e-6 else 1.0)
                       for name, x in signals.items()}

    def _normalise_critic(self) -> None:
        """A critic that starts as the first signal expects what is left of it after scaling; the others' mean is 0."""
        if self.value.in_reward_units:
            first = self.rewards[0]
            self.value.normalise(*self.scales[first.name], first.weight)

    def _rollout_metrics(self, rollout: Rollout) -> dict[str, float]:
        metrics = rollout_metrics(rollout)
        explained = explained_variance(rollout.values, rollout.returns, rollout.response_mask)
        metrics["explained_variance"] = float(explained)
        metrics["kl_coefficient"] = self.kl.coefficient
        check_finite(metrics)
        return metrics

    def _finish_step(self, done: int, metrics: dict[str, float], clock: list[float]) -> None:
        self.history.append(metrics)
        # The snapshot first: a run killed between the two makes it again, instead of never.
        if self.settings.snapshot_every and done % self.settings.snapshot_every == 0:
            _tell(self.on_snapshot, done, self.policy)
        every = self.settings.checkpoint_every
        if self.checkpoint_dir is not None and every and (done % every == 0 or done == self.settings.steps):
            self._save(done)
        seconds = {f"seconds_{name}": after - before for name, before, after
                   in zip(("sample", "score", "update"), clock, clock[1:], strict=False)}
        _tell(self.on_step, done, self.settings.steps, {**metrics, **seconds})

    def _fingerprint(self) -> str:
        """What a checkpoint must have in common with this run."""
        weights = [(signal.name, signal.weight) for signal in self.rewards]
        facts = [self.settings.as_dict(), sorted(self.stop_ids), self.prompts, weights]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def _save(self, done: int) -> None:
        if not processes.is_main():
            return
        state = {"fingerprint": self._fingerprint(), "kl": self.kl.state_dict(), "history": self.history,
                 "scales": self.scales, "reuse_logprobs": self.reuse_logprobs}
        ppo_checkpoint.save(self.checkpoint_dir, done, self.policy, self.value, self.optimizer, state)

    def _resume(self) -> int:
        """Restores the newest checkpoint, if any; returns the number of steps already done."""
        state = None if self.checkpoint_dir is None else ppo_checkpoint.read_state(self.checkpoint_dir)
        if state is None:
            return 0
        if state["fingerprint"] != self._fingerprint():
            raise ValueError(f"the checkpoint of step {state['step']} in {self.checkpoint_dir.name} was made with other"
                             " settings, prompts or rewards; remove it or use another checkpoint folder")
        ppo_checkpoint.load_latest(self.checkpoint_dir, self.policy, self.value, self.optimizer)
        self.kl.load_state_dict(state["kl"])
        self.history, self.reuse_logprobs = state["history"], state["reuse_logprobs"]
        self.scales = {name: tuple(scale) for name, scale in state["scales"].items()}
        return state["step"]


def _tell(callback: Callable[..., None] | None, *news) -> None:
    if callback is not None and processes.is_main():
        callback(*news)


def _check(policy, reference, rewards: Sequence[RewardSignal], prompts: Sequence[tuple[str, Sequence[int]]]) -> None:
    if not prompts:
        raise ValueError("PPO got no prompts; it needs at least one")
    ids = [prompt_id for prompt_id, _ in prompts]
    if len(set(ids)) < len(ids):
        twice = next(prompt_id for prompt_id in ids if ids.count(prompt_id) > 1)
        raise ValueError(f"prompt id {twice!r} occurs more than once; ids must be distinct")
    if not rewards:
        raise ValueError("PPO got no reward signal; it needs at least one")
    names = [signal.name for signal in rewards]
    if len(set(names)) < len(names):
        raise ValueError(f"reward signals {names} must have distinct names")
    if reference is None and not hasattr(policy, "disable_adapter"):
        raise ValueError("reference is None but the policy has no adapter to switch off; pass a reference model")
