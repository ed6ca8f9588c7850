"""From the scores of whole responses to a reward for each token: pure functions of tensors."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from models.ppo.kl import k1
from models.reward.scoring import RewardSignal

Scales = dict[str, tuple[float, float]]  # signal -> mean and standard deviation


def fit_scales(signals: Mapping[str, Tensor]) -> Scales:
    """Mean and deviation of each signal's scores (n,); a constant signal has no scale and keeps its own."""
    deviations = {name: float(scores.std(correction=0)) for name, scores in signals.items()}
    return {name: (float(scores.mean()), deviations[name] if deviations[name] > 1e-6 else 1.0)
            for name, scores in signals.items()}


def weighted_scores(signals: Mapping[str, Tensor], rewards: Sequence[RewardSignal], scales: Scales) -> Tensor:
    """Weighted sum (batch,) of the normalised signals (batch,)."""
    scaled = [(signals[r.name] - scales[r.name][0]) / scales[r.name][1] * r.weight for r in rewards]
    return torch.stack(scaled).sum(0)


def penalise_missing_stop(scores: Tensor, finished: Tensor, penalty: float | None, mode: str) -> Tensor:
    """Scores (batch,) with `penalty` subtracted from, or its negative put in place of, those of unfinished responses.

    Args:
        finished: (batch,) boolean. penalty: None changes nothing. mode: "subtract" or "replace".
    """
    if penalty is None:
        return scores
    penalised = scores - penalty if mode == "subtract" else torch.full_like(scores, -penalty)
    return torch.where(finished, scores, penalised)


def token_rewards(
    scores: Tensor, logprobs: Tensor, reference_logprobs: Tensor, mask: Tensor, kl_coefficient: float
) -> Tensor:
    """−β (log π − log π_ref) on every token, plus the score on the last one.

    Args:
        scores: (batch,). logprobs, reference_logprobs: (batch, time) nats. mask: (batch, time) boolean.

    Returns:
        (batch, time), 0 outside the mask.
    """
    rewards = torch.where(mask, -kl_coefficient * k1(logprobs, reference_logprobs), 0.0)
    rows = torch.arange(len(scores), device=scores.device)
    rewards[rows, mask.sum(1) - 1] += scores
    return rewards
