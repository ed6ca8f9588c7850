"""What must hold before anything is timed: equal losses, and reward curves that overlap. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LOSS_TOLERANCE = 1e-5
# Standard deviations over seeds within which the two means must lie.
OVERLAP_DEVIATIONS = 2.0


def trl_policy_loss(new: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip_range: float) -> Tensor:
    """The policy loss as TRL 1.12.0's `experimental/ppo/ppo_trainer.py` writes it inside `train` ("pg_loss").

    Log-probs outside the mask are set to the same constant on both sides, so that their ratio is 1.
    """
    ratio = (new.masked_fill(~mask, 1.0) - old.masked_fill(~mask, 1.0)).exp()
    worst = (-advantages * ratio).maximum(-advantages * ratio.clamp(1 - clip_range, 1 + clip_range))
    return (worst * mask).sum() / mask.sum()


def trl_value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip_range: float) -> Tensor:
    """The value loss of the same place ("vf_loss"), before its coefficient."""
    values = values.masked_fill(~mask, 0.0)
    near = values.clamp(old - clip_range, old + clip_range)
    worst = (values - returns).square().maximum((near - returns).square())
    return 0.5 * (worst * mask).sum() / mask.sum()


def trl_advantages(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """The estimation of the same place ("6. compute advantages and returns"), before whitening; no mask."""
    import torch

    width, last, reverse = rewards.shape[1], torch.zeros_like(rewards[:, 0]), []
    for t in reversed(range(width)):
        following = values[:, t + 1] if t + 1 < width else 0.0
        last = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * last
        reverse.append(last)
    return torch.stack(reverse[::-1], dim=1)


@dataclass(frozen=True)
class LossGate:
    """Numbers by name, on identical rollouts: (ours, TRL's)."""

    pairs: Mapping[str, tuple[float, float]]

    @property
    def differences(self) -> dict[str, float]:
        return {name: abs(ours - theirs) for name, (ours, theirs) in self.pairs.items()}

    @property
    def worst(self) -> float:
        return max(self.differences.values())

    @property
    def passed(self) -> bool:
        """Not so for a number that is not finite: it is never within the tolerance."""
        return all(difference <= LOSS_TOLERANCE for difference in self.differences.values())

    def document(self) -> dict[str, object]:
        return {"passed": self.passed, "tolerance": LOSS_TOLERANCE, "worst_difference": self.worst,
                "ours_and_theirs": {name: list(pair) for name, pair in self.pairs.items()}}


@dataclass(frozen=True)
class CurveGate:
    """Mean reward per rollout, a curve per seed; both sides have as many seeds, at least two, and equal lengths."""

    ours: Sequence[Sequence[float]]
    theirs: Sequence[Sequence[float]]

    def _ends(self, curves: Sequence[Sequence[float]]) -> list[float]:
        """Each seed's mean over the second half of its curve, where learning shows."""
        return [mean(curve[len(curve) // 2 :]) for curve in curves]

    @property
    def difference(self) -> float:
        return mean(self._ends(self.ours)) - mean(self._ends(self.theirs))

    @property
    def spread(self) -> float:
        """Pooled standard deviation over seeds."""
        variances = [stdev(self._ends(curves)) ** 2 for curves in (self.ours, self.theirs)]
        return mean(variances) ** 0.5

    @property
    def passed(self) -> bool:
        return abs(self.difference) <= OVERLAP_DEVIATIONS * self.spread

    def means(self) -> list[tuple[float, float]]:
        """(ours, theirs) averaged over seeds, rollout by rollout."""
        ours, theirs = (list(map(mean, zip(*curves, strict=True))) for curves in (self.ours, self.theirs))
        return list(zip(ours, theirs, strict=True))

    def document(self) -> dict[str, object]:
        curves = {name: [[round(x, 4) for x in curve] for curve in getattr(self, name)] for name in ("ours", "theirs")}
        return {"passed": self.passed, "difference": round(self.difference, 4), "spread": round(self.spread, 4),
                "deviations_allowed": OVERLAP_DEVIATIONS, **curves}
