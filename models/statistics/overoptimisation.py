"""Over-optimisation: gold against the distance from the reference policy, d = √KL, and Gao et al.'s curves through it.

Best-of-n: R(d) = d (α − β d). Reinforcement learning: R(d) = d (α − β log d). R is what gold gained over the reference,
d² the KL in nats (Gao et al. 2022, arXiv:2210.10760, Eq. 1 and Sec. 3.1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.statistics.best_of_n import best_of_n
from models.statistics.intervals import mean_interval

Form = Literal["best_of_n", "rl"]
LEAST_POINTS = 5
SAME_KL = 1e-3  # nats; nearer than this is the same KL


@dataclass(frozen=True)
class Curve:
    """R(d) = d (alpha − beta · d) or d (alpha − beta · log d), with the intervals of both where they were drawn.

    `peak`: the d of the highest gold, None for a curve that only rises (or only falls).
    """

    form: Form
    alpha: float
    beta: float
    peak: float | None
    alpha_interval: tuple[float, float] | None = None
    beta_interval: tuple[float, float] | None = None


def distinct_kls(kl: Sequence[float]) -> int:
    """How many different KLs above zero there are: at zero every curve passes through the same point."""
    ordered = sorted(value for value in kl if value > SAME_KL)
    return int((np.diff([0.0, *ordered]) > SAME_KL).sum())


def fit_curve(
    form: Form,
    kl: Sequence[float],
    gain: Sequence[float],
    prompts: np.ndarray | None = None,
    roots: Sequence[str] = (),
    confidence: float = 0.95,
) -> Curve | None:
    """The curve by least squares through the points with a KL above zero; None for fewer than five different KLs.

    Args:
        kl: (points,) KL to the reference in nats; estimates below zero are left out.
        gain: (points,) gold less the reference's gold.
        prompts: (prompts, points) the gain on each prompt, for intervals by its `roots`: a coefficient is a sum of
            weighted gains, thus the mean of a number for each prompt. The points share their prompts, so the spread
            around the curve says little about the coefficients.

    Raises ValueError for lengths that differ or a number that is not finite.
    """
    distances, gains = np.asarray(kl, dtype=float), np.asarray(gain, dtype=float)
    if distances.shape != gains.shape or distances.ndim != 1:
        raise ValueError(f"kl {distances.shape} and gain {gains.shape} must both be (points,); give one gain per KL")
    if not (np.isfinite(distances).all() and np.isfinite(gains).all()):
        raise ValueError("a KL or a gain is not finite; leave out that point or measure it again")
    if distinct_kls(kl) < LEAST_POINTS:
        return None
    used = distances > SAME_KL
    reached = np.sqrt(distances[used])
    bend = reached if form == "best_of_n" else np.log(reached)
    solver = np.linalg.pinv(np.stack([reached, -reached * bend], axis=1))
    alpha, beta = (float(value) for value in solver @ gains[used])
    curve = Curve(form, alpha, beta, peak(form, alpha, beta))
    if prompts is None:
        return curve
    intervals = [mean_interval(values, roots, confidence) for values in solver @ prompts[:, used].T]
    of_alpha, of_beta = ((interval.low, interval.high) for interval in intervals)
    return replace(curve, alpha_interval=of_alpha, beta_interval=of_beta)


def peak(form: Form, alpha: float, beta: float) -> float | None:
    """The d at which R is highest: α / 2β for best-of-n, exp(α/β − 1) for RL; None without a maximum at d > 0."""
    if beta <= 0 or (form == "best_of_n" and alpha <= 0):
        return None
    if form == "best_of_n":
        return alpha / (2 * beta)
    return math.exp(alpha / beta - 1) if alpha / beta < 701 else None


def chosen_kl(logprob: np.ndarray, n: int) -> np.ndarray:
    """What one chosen sample says about the KL of best-of-n to its policy, in nats (Beirami et al. 2024, Sec. 4).

    With ε the probability of the chosen sample under the policy:
    (1 − ε)ⁿ (log n + (n − 1) log(1 − ε) − (n − 1)/n) + (1 − (1 − ε)ⁿ) log((1 − (1 − ε)ⁿ) / ε).
    The first part is the KL of everything below the sample taken as a continuum, the second the sample's own; its mean
    over chosen samples lies below log n − (n − 1)/n, far below where few answers hold most of the probability.

    Args:
        logprob: log ε, at the temperature of sampling, any shape.
    """
    logprob = np.minimum(np.asarray(logprob, dtype=float), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_rest = np.where(logprob < -0.5, np.log1p(-np.exp(logprob)), np.log(-np.expm1(logprob)))  # log(1 − ε)
        below = np.exp(n * log_rest)
        rest = np.where(below > 0, below * (math.log(n) + (n - 1) * log_rest - (n - 1) / n), 0.0)
        log_ratio = np.log(-np.expm1(n * log_rest)) - logprob
    # As ε → 0 the ratio tends to n, exactly until ε itself vanishes.
    log_ratio = np.where(np.isfinite(log_ratio), log_ratio, math.log(n))
    return np.maximum(rest + (1 - below) * log_ratio, 0.0)


def best_of_n_kls(proxy: np.ndarray, logprob: np.ndarray) -> np.ndarray:
    """Estimated KL of best-of-n to its policy for n = 1 … N, (prompts, N), in nats, never above `kl_upper_bound`.

    The mean of `chosen_kl` over the sample that best-of-n chooses, over all subsets of the pool.

    Args:
        proxy, logprob: (prompts, N) scores of the pool's samples, and their log-probs under the policy they come from.
    """
    size = np.asarray(proxy).shape[1]
    columns = [best_of_n(proxy, chosen_kl(logprob, n))[:, n - 1] for n in range(1, size + 1)]
    return np.stack(columns, axis=1)
