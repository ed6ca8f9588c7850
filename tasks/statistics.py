"""Numbers with their uncertainty: bootstrap by root, paired score intervals for rates, sizes for the gate.

All variants of one question share a root and are not independent, so whole roots are resampled.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

_CELLS_PER_BLOCK = 5_000_000  # resamples x roots held at once


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, in the estimate's own unit."""

    mean: float
    low: float
    high: float

    def document(self, name: str = "mean") -> dict[str, float]:
        return {name: self.mean, "ci_low": self.low, "ci_high": self.high}


def cluster_sums(values: Sequence[float], roots: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(sum of values, number of values) per root, both (roots,), roots in sorted order.

    Raises ValueError for no values, a value that is not finite, or lengths that differ.
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 0:
        raise ValueError("no values to take statistics of; give at least one row")
    if len(array) != len(roots):
        raise ValueError(f"{len(array)} values for {len(roots)} roots; give one root per value")
    if not np.isfinite(array).all():
        raise ValueError(f"value {int(np.flatnonzero(~np.isfinite(array))[0])} is not finite; correct the scores first")
    _, index = np.unique(np.asarray(roots, dtype=str), return_inverse=True)
    return np.bincount(index, weights=array), np.bincount(index).astype(np.float64)


def bootstrap_means(values: Sequence[float], roots: Sequence[str], resamples: int, seed: int) -> np.ndarray:
    """Means of `values` in bootstrap samples of whole roots, (resamples,).

    For equal roots and seed the same roots are drawn whatever the values: intervals of paired columns belong together.
    """
    sums, counts = cluster_sums(values, roots)
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS_PER_BLOCK // len(sums))
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, len(sums), size=(size, len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def mean_interval(
    values: Sequence[float], roots: Sequence[str], *, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Mean with its percentile bootstrap interval, clustered by root. For paired data give the differences.

    One root says nothing about spread and gives a zero width: callers hold a minimum number of prompts against that.
    """
    means = bootstrap_means(values, roots, resamples, seed)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(np.mean(values)), float(low), float(high))


def difference_interval(
    values: Sequence[float], reference: Sequence[float], roots: Sequence[str], **settings: float
) -> Interval:
    """Mean of the paired differences `values - reference`, with its interval as in `mean_interval`."""
    if len(values) != len(reference):
        raise ValueError(f"{len(values)} values against {len(reference)}: pairs need the same prompts on both sides")
    return mean_interval(np.subtract(values, reference), roots, **settings)


def clustered_standard_error(values: Sequence[float], roots: Sequence[str]) -> float:
    """Standard error of the mean under one-way clustering by root (linearised ratio, with g/(g-1)); 0 for one root."""
    sums, counts = cluster_sums(values, roots)
    groups = len(sums)
    if groups < 2:
        return 0.0
    residuals = sums - counts * sums.sum() / counts.sum()
    return float(math.sqrt(groups / (groups - 1) * (residuals**2).sum()) / counts.sum())


def design_effect(values: Sequence[float], roots: Sequence[str]) -> float:
    """Variance of the clustered mean over that of independent rows, never below 1; 1 without variation."""
    count = len(values)
    independent = float(np.var(values, ddof=1)) / count if count > 1 else 0.0
    if independent == 0:
        return 1.0
    return max(1.0, clustered_standard_error(values, roots) ** 2 / independent)


def tango_interval(gained: float, lost: float, total: float, confidence: float) -> tuple[float, float]:
    """Score interval of a paired difference of rates, (gained - lost) / total; never of zero width.

    `gained`: pairs where only the candidate has the property; `lost`: only the reference; counts may be fractional
    (divided by a design effect). Tango 1998, Statistics in Medicine 17, Eq. 4-5.
    Raises ValueError for counts that do not fit in `total`.
    """
    if total <= 0 or gained < 0 or lost < 0 or gained + lost > total * (1 + 1e-9):
        raise ValueError(f"gained={gained} and lost={lost} do not fit in total={total} pairs; count the pairs again")
    critical = stats.norm.ppf(1 - (1 - confidence) / 2)
    estimate = (gained - lost) / total

    def statistic(delta: float) -> float:
        return _tango_statistic(gained, lost, total, delta)

    def bound(edge: float, target: float) -> float:
        inside = estimate * (1 - 1e-12)
        if abs(edge - inside) < 1e-12 or (statistic(edge) - target) * (statistic(inside) - target) > 0:
            return edge
        return float(optimize.brentq(lambda delta: statistic(delta) - target, min(edge, inside), max(edge, inside)))

    limit = 1 - 1e-9
    return bound(-limit, critical), bound(limit, -critical)


def tango_variance(gained: float, lost: float, total: float, delta: float) -> float:
    """Variance of one pair's difference when it is `delta` on average, by the restricted maximum of the likelihood."""
    linear = -gained - lost + (2 * total - gained + lost) * delta
    constant = -lost * delta * (1 - delta)
    lost_rate = (math.sqrt(max(0.0, linear**2 - 8 * total * constant)) - linear) / (4 * total)
    return 2 * lost_rate + delta * (1 - delta)


def _tango_statistic(gained: float, lost: float, total: float, delta: float) -> float:
    """The score statistic of H0: difference == delta, falling in delta."""
    variance = total * tango_variance(gained, lost, total, delta)
    distance = gained - lost - total * delta
    if variance <= 0:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def rate_difference(
    candidate: Sequence[bool], reference: Sequence[bool], roots: Sequence[str], confidence: float
) -> Interval:
    """Paired difference of rates, candidate - reference, Tango's interval at counts divided by the design effect."""
    candidate_array, reference_array = np.asarray(candidate, dtype=bool), np.asarray(reference, dtype=bool)
    differences = candidate_array.astype(float) - reference_array.astype(float)
    effect = design_effect(differences, roots)
    gained = float((candidate_array & ~reference_array).sum()) / effect
    lost = float((~candidate_array & reference_array).sum()) / effect
    low, high = tango_interval(gained, lost, len(differences) / effect, confidence)
    return Interval(float(differences.mean()), low, high)


def rate_interval(events: Sequence[bool], roots: Sequence[str], confidence: float) -> Interval:
    """A rate with Clopper and Pearson's interval (1934) at counts divided by the design effect; never of zero width.

    Raises ValueError for no events.
    """
    happened = np.asarray(events, dtype=float)
    cluster_sums(happened, roots)  # refuses what no rate can be taken of
    total = len(happened) / design_effect(happened, roots)
    count, tail = happened.mean() * total, (1 - confidence) / 2
    low = stats.beta.ppf(tail, count, total - count + 1) if count > 0 else 0.0
    high = stats.beta.ppf(1 - tail, count + 1, total - count) if count < total else 1.0
    return Interval(float(happened.mean()), float(low), float(high))


def sample_size(deviation: float, effect: float, alpha: float, power: float) -> int:
    """Independent pairs for a one-sided test at `alpha` to see a mean difference `effect` with probability `power`.

    `deviation`: standard deviation of one paired difference, in the unit of `effect`.
    """
    if effect <= 0:
        raise ValueError(f"effect={effect} must be above 0: no number of prompts shows an effect of nothing")
    needed = (stats.norm.ppf(1 - alpha) + stats.norm.ppf(power)) * deviation / effect
    return max(2, math.ceil(needed**2))


def rate_sample_size(discordance: float, margin: float, alpha: float, power: float) -> int:
    """Independent pairs for Tango's one-sided test to show a difference of rates above -margin when there is none.

    `discordance`: share of pairs where just one side has the property. The test's variance is that at its limit, not at
    the truth, which is why this is more than `sample_size` asks for.
    """
    at_limit = tango_variance(discordance / 2, discordance / 2, 1.0, -margin)
    needed = stats.norm.ppf(1 - alpha) * math.sqrt(at_limit) + stats.norm.ppf(power) * math.sqrt(discordance)
    return max(2, math.ceil((needed / margin) ** 2))
