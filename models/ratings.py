"""Strengths from battles: Bradley–Terry by maximum likelihood, with the advantage of being shown first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import expit

RIDGE = 1e-4  # pull towards 0 per squared unit: a player that never lost gets a large strength, not an infinite one


@dataclass(frozen=True)
class Ratings:
    """`strengths`: player -> log-odds unit, mean 0. `order_effect`: log-odds added for the one shown first."""

    strengths: dict[str, float]
    order_effect: float
    unbeaten: tuple[str, ...]  # never lost or never won a part of a battle: their strength is the ridge's doing

    def expected(self, first: str, second: str) -> float:
        """Probability that `first` wins when shown first."""
        return float(expit(self.strengths[first] - self.strengths[second] + self.order_effect))


def bradley_terry(first: Sequence[str], second: Sequence[str], p_first: Sequence[float]) -> Ratings:
    """Maximum likelihood of P(first wins) = sigmoid(s_first - s_second + order effect) (Bradley and Terry 1952).

    Args:
        first, second: players of each battle, (battles,).
        p_first: outcome for the first, in [0, 1]; a tie is 0.5.

    Raises:
        ValueError: no battles, lengths that differ, a player against itself, or an outcome outside [0, 1].
    """
    outcomes = np.asarray(p_first, dtype=np.float64)
    _check(first, second, outcomes)
    players, index = np.unique(np.asarray([*first, *second], dtype=str), return_inverse=True)
    left, right = index[: len(first)], index[len(first) :]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        strengths, order_effect = parameters[:-1], parameters[-1]
        logits = strengths[left] - strengths[right] + order_effect
        error = expit(logits) - outcomes
        gradient = np.bincount(left, error, len(players)) - np.bincount(right, error, len(players))
        value = np.logaddexp(0, logits).sum() - (outcomes * logits).sum() + RIDGE / 2 * (strengths**2).sum()
        return value, np.append(gradient + RIDGE * strengths, error.sum())

    options = {"maxiter": 10_000, "ftol": 1e-15, "gtol": 1e-9}
    found = optimize.minimize(loss, np.zeros(len(players) + 1), jac=True, method="L-BFGS-B", options=options).x
    strengths = found[:-1] - found[:-1].mean()
    return Ratings(
        strengths=dict(zip(players.tolist(), strengths.tolist(), strict=True)),
        order_effect=float(found[-1]),
        unbeaten=_one_sided(players, left, right, outcomes),
    )


def _check(first: Sequence[str], second: Sequence[str], outcomes: np.ndarray) -> None:
    if len(first) == 0 or not len(first) == len(second) == len(outcomes):
        raise ValueError(f"{len(first)}, {len(second)} and {len(outcomes)} values; give equally many, at least one battle")
    if not ((outcomes >= 0) & (outcomes <= 1)).all():
        bad = int(np.flatnonzero(~((outcomes >= 0) & (outcomes <= 1)))[0])
        raise ValueError(f"battle {bad} has outcome {outcomes[bad]}; outcomes lie in [0, 1], a tie is 0.5")
    same = [position for position, (a, b) in enumerate(zip(first, second, strict=True)) if a == b]
    if same:
        raise ValueError(f"battle {same[0]} sets {first[same[0]]!r} against itself; drop it")


def _one_sided(players: np.ndarray, left: np.ndarray, right: np.ndarray, outcomes: np.ndarray) -> tuple[str, ...]:
    won = np.bincount(left, outcomes, len(players)) + np.bincount(right, 1 - outcomes, len(players))
    played = np.bincount(left, minlength=len(players)) + np.bincount(right, minlength=len(players))
    return tuple(players[(won == 0) | (won == played)].tolist())
