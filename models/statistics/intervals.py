"""Numbers of the pipeline with their uncertainty: means by root, paired score intervals for rates, sizes for the gate.

How rows of one root count is told in `models.statistics.clusters`.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

from models.statistics.clusters import Bounds, Clusters, Interval
from models.statistics.clusters import mean_interval as interval_of

RATE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)  # bounds of rates, win rates and scores, and of paired differences of them


def score_bounds(gold_kind: str, axes: Sequence[str] = ()) -> dict[str, Bounds]:
    """Those of gold and of each axis; a reward model's unit has none."""
    return {"gold": None if gold_kind == "reward_model" else RATE, **dict.fromkeys(axes, RATE)}


def mean_interval(
    values: Sequence[float], roots: Sequence[str], confidence: float, bounds: Bounds = None
) -> Interval:
    """Mean with its interval, clustered by root; see `models.statistics.clusters.mean_interval`."""
    return interval_of(Clusters.of(values, roots), confidence, bounds)


def difference_interval(
    values: Sequence[float],
    reference: Sequence[float],
    roots: Sequence[str],
    confidence: float,
    bounds: Bounds = None,
) -> Interval:
    """Mean of the paired differences `values - reference`, with its interval as in `mean_interval`.

    `bounds` are those of the values themselves.
    """
    if len(values) != len(reference):
        raise ValueError(f"{len(values)} values against {len(reference)}: pairs need the same prompts on both sides")
    reach = bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0])
    return mean_interval(np.subtract(values, reference, dtype=float), roots, confidence, reach)


def clustered_standard_error(values: Sequence[float], roots: Sequence[str]) -> float:
    """Standard error of the mean, clustered by root; 0 for one root."""
    return Clusters.of(values, roots).standard_error


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
    """Paired difference of rates, candidate - reference: Tango's interval at counts divided by a design effect.

    Each bound has that of `rate_design_effect` with a root that went its way.
    """
    differences = np.subtract(candidate, reference, dtype=float)
    gained, lost, total = (differences > 0).sum(), (differences < 0).sum(), len(differences)
    low, high = (
        tango_interval(*np.array([gained, lost, total]) / rate_design_effect(differences, roots, end), confidence)
        for end in DIFFERENCE
    )
    return Interval(float(differences.mean()), low[0], high[1])


def rate_design_effect(differences: Sequence[float], roots: Sequence[str], end: float = -1.0) -> float:
    """Variance of a mean of paired differences of rates (-1, 0 or 1) over that of independent pairs.

    In the data with one more root all of whose pairs are `end`: from 1 to the size of the roots, which it is where no
    pair differs.
    """
    more = Clusters.of(differences, roots).with_one_more(end)
    total, size = more.counts.sum(), more.counts[-1]
    discordant = float(np.abs(differences).sum() + size) / total
    independent = (discordant - more.mean**2) / (total - 1)
    effect = more.standard_error**2 / independent if independent > 0 else size  # every pair is `end`
    return float(np.clip(effect, 1.0, size))


def rate_interval(events: Sequence[bool], roots: Sequence[str], confidence: float) -> Interval:
    """A rate with its interval, clustered by root; never of zero width. Raises ValueError for no events."""
    return mean_interval(np.asarray(events, dtype=float), roots, confidence, RATE)


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
