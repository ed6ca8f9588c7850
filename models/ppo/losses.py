"""Losses of preference training: pure functions of tensors."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class PolicyLoss(NamedTuple):
    """Scalars averaged over tokens: the loss (with gradient) and what it says about the step (without)."""

    loss: Tensor
    clip_fraction: Tensor
    approx_kl: Tensor
    ratio: Tensor


class ValueLoss(NamedTuple):
    """Scalars averaged over tokens: the loss (with gradient) and the share of tokens whose value was clipped."""

    loss: Tensor
    clip_fraction: Tensor


def _average(x: Tensor, mask: Tensor, tokens: Tensor | int | None) -> Tensor:
    return torch.where(mask, x, 0.0).sum() / (mask.sum() if tokens is None else tokens)


def ppo_policy_loss(
    new_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip_range: float,
    tokens: Tensor | int | None = None,
) -> PolicyLoss:
    """PPO's clipped surrogate objective, Eq. 7, arXiv:1707.06347, as a loss.

    Args:
        new_logprobs, old_logprobs, advantages, mask: (batch, time); log-probs in nats, mask boolean, True = counted.
        tokens: what to divide by; None is this mask's count. With micro-batches, the whole minibatch's count, so that
            their losses add up to the minibatch's.
    """
    log_ratio = torch.where(mask, new_logprobs - old_logprobs, 0.0)
    advantages = torch.where(mask, advantages, 0.0)
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    with torch.no_grad():
        clip_fraction = _average((clipped > unclipped).float(), mask, tokens)
        approx_kl = _average(0.5 * log_ratio**2, mask, tokens)
        mean_ratio = _average(ratio, mask, tokens)
    return PolicyLoss(_average(torch.max(unclipped, clipped), mask, tokens), clip_fraction, approx_kl, mean_ratio)


def ppo_value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    clip_range: float,
    tokens: Tensor | int | None = None,
) -> ValueLoss:
    """½ max((V − R)², (clip(V, V_old ± range) − R)²), the value loss of OpenAI's baselines `ppo2`.

    Args:
        values, old_values, returns, mask: (batch, time), mask boolean, True = counted.
        tokens: as in `ppo_policy_loss`.
    """
    values = torch.where(mask, values, 0.0)
    old_values, returns = torch.where(mask, old_values, 0.0), torch.where(mask, returns, 0.0)
    clipped_values = old_values + (values - old_values).clamp(-clip_range, clip_range)
    unclipped, clipped = (values - returns) ** 2, (clipped_values - returns) ** 2
    with torch.no_grad():
        clip_fraction = _average((clipped > unclipped).float(), mask, tokens)
    return ValueLoss(0.5 * _average(torch.max(unclipped, clipped), mask, tokens), clip_fraction)


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, *, margin: Tensor | float = 0.0, centring: float = 0.0
) -> Tensor:
    """Reward model's loss −log σ(r_c − r_r − margin) (Eq. 1, arXiv:2203.02155) + centring · (r_c + r_r)².

    The centring term (arXiv:2312.09244) fixes the constant that comparisons leave free.

    Args:
        chosen, rejected: (batch,) rewards. margin: (batch,) or a number, in reward units.

    Returns:
        Losses (batch,).
    """
    return -F.logsigmoid(chosen - rejected - margin) + centring * (chosen + rejected) ** 2


def chosen_nll(logprobs: Tensor, mask: Tensor) -> Tensor:
    """−log π(chosen) / |chosen|, added to a preference loss to keep chosen responses likely (Eq. 1, arXiv:2404.19733).

    Args:
        logprobs: (batch, time) of the chosen responses' tokens, in nats. mask: (batch, time) boolean, True = counted.

    Returns:
        Losses (batch,), in nats per token; 0 for a response without tokens (cut before it said anything).
    """
    return -torch.where(mask, logprobs, 0.0).sum(1) / mask.sum(1).clamp(min=1)


class DpoLoss(NamedTuple):
    """Losses and implicit rewards β log(π / π_ref), each (batch,); the rewards without gradient."""

    loss: Tensor
    chosen_rewards: Tensor
    rejected_rewards: Tensor


def dpo_loss(
    policy_chosen: Tensor, policy_rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> DpoLoss:
    """Direct preference optimisation, Eq. 7, arXiv:2305.18290.

    Args:
        policy_chosen, policy_rejected, reference_chosen, reference_rejected: (batch,) log-probs of whole responses,
            summed over tokens, in nats.
        beta: strength of the pull to the reference; at 0 the loss is log 2.
    """
    chosen_rewards = beta * (policy_chosen - reference_chosen)
    rejected_rewards = beta * (policy_rejected - reference_rejected)
    loss = -F.logsigmoid(chosen_rewards - rejected_rewards)
    return DpoLoss(loss, chosen_rewards.detach(), rejected_rewards.detach())
