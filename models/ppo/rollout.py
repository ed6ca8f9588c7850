"""What one PPO step is learned from: sampled responses, scored, with their advantages."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.ppo.advantages import explained_variance, gae, whiten
from models.ppo.kl import k1


@dataclass(frozen=True)
class Scored:
    """Sampled responses and what the four models make of them. Time is the longest response.

    Attributes:
        prompt_ids: (batch,) tuples of token ids.
        response_ids: (batch,) tuples of token ids, with the stop token where there is one.
        finished: (batch,) boolean, True = ended with a stop token.
        response_mask: (batch, time) boolean, True = a response token; all that follow are 0 outside it.
        logprobs: (batch, time) nats under the sampling policy, at the sampling temperature.
        reference_logprobs: (batch, time) nats under the reference, at the same temperature.
        values: (batch, time) the critic's, before the update.
        signals: name -> (batch,) raw score of each reward signal.
    """

    prompt_ids: list[tuple[int, ...]]
    response_ids: list[tuple[int, ...]]
    finished: Tensor
    response_mask: Tensor
    logprobs: Tensor
    reference_logprobs: Tensor
    values: Tensor
    signals: dict[str, Tensor]


@dataclass(frozen=True)
class Rollout(Scored):
    """Every tensor of a PPO step.

    Attributes:
        scores: (batch,) normalised, weighted sum of the signals, with the penalty for a missing stop token.
        rewards: (batch, time) scores on the last token, minus the KL penalty on every token.
        advantages: (batch, time) whitened over the whole batch.
        returns: (batch, time) raw advantages + values.
    """

    scores: Tensor
    rewards: Tensor
    advantages: Tensor
    returns: Tensor


def advantages_and_returns(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float, whiten_rewards: bool
) -> tuple[Tensor, Tensor]:
    """Whitened advantages and raw returns, both (batch, time), 0 outside the mask."""
    if whiten_rewards:
        rewards = whiten(rewards, mask, shift_mean=False)
    advantages = gae(rewards, values, mask, gamma, lam)
    returns = torch.where(mask, advantages + values, 0.0)
    return whiten(advantages, mask), returns


def distinct_bigrams(response_ids: list[tuple[int, ...]]) -> float:
    """Distinct share of all bigrams in the responses: near 0 when the policy says one thing to everything."""
    bigrams = [pair for response in response_ids for pair in zip(response, response[1:], strict=False)]
    return len(set(bigrams)) / len(bigrams) if bigrams else 1.0


def rollout_metrics(rollout: Rollout) -> dict[str, float]:
    """What the batch looks like before the update. `kl` and its standard error: nats per response."""
    kl = k1(rollout.logprobs, rollout.reference_logprobs).sum(1)
    lengths = rollout.response_mask.sum(1).float()
    metrics = {
        "score": rollout.scores.mean(),
        "reward_total": rollout.rewards.sum(1).mean(),
        "kl": kl.mean(),
        "kl_standard_error": kl.std(correction=1 if len(kl) > 1 else 0) / len(kl) ** 0.5,
        # −log π of what was sampled is an unbiased estimate of the entropy, and costs no second softmax.
        "entropy": -rollout.logprobs.sum() / lengths.sum(),
        "response_tokens": lengths.mean(),
        "eos_rate": rollout.finished.float().mean(),
        "returns": rollout.returns.sum() / lengths.sum(),
        **{f"reward_{name}": score.mean() for name, score in rollout.signals.items()},
    }
    explained = explained_variance(rollout.values, rollout.returns, rollout.response_mask)
    return {**{name: float(value) for name, value in metrics.items()},
            "distinct_bigrams": distinct_bigrams(rollout.response_ids), "explained_variance": float(explained)}
