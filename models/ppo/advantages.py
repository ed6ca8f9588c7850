"""Advantages from rewards and values: pure functions of tensors."""

import torch
from torch import Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimation, Eq. 11–12 and 16, arXiv:1506.02438.

    δ_t = r_t + γ V_{t+1} − V_t and A_t = δ_t + γ λ A_{t+1}; after the last token both V and A are 0. Tokens outside
    the mask are skipped: the tokens around them see each other as neighbours.

    Args:
        rewards: (batch, time). values: (batch, time), V of the state in which each token was chosen.
        mask: (batch, time) boolean, True = counted.

    Returns:
        Raw advantages (batch, time), 0 outside the mask. Returns are `gae(...) + values`.
    """
    advantages = torch.zeros_like(rewards)
    next_value = next_advantage = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * lam * next_advantage
        counted = mask[:, t]
        next_value = torch.where(counted, values[:, t], next_value)
        next_advantage = torch.where(counted, advantage, next_advantage)
        advantages[:, t] = torch.where(counted, advantage, 0.0)
    return advantages


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of x over the True positions of `mask`; garbage elsewhere, even NaN, changes nothing."""
    return torch.where(mask, x, 0.0).sum() / mask.sum()


def whiten(x: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scales x to sample variance 1 over the mask, over the whole batch; 0 outside the mask.

    Args:
        shift_mean: False keeps the mean (for rewards, whose mean carries meaning).
    """
    mean = masked_mean(x, mask)
    variance = torch.where(mask, (x - mean) ** 2, 0.0).sum() / (mask.sum() - 1).clamp(min=1)
    whitened = (x - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(mask, whitened if shift_mean else whitened + mean, 0.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 − Var(returns − values) / Var(returns) over the mask: 1 is a perfect critic, 0 a constant one."""
    error = (returns - values)[mask]
    return 1 - error.var(unbiased=False) / returns[mask].var(unbiased=False).clamp(min=1e-12)
