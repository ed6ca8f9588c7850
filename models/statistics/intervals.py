"""Means, rates and paired differences of rows of which some belong together, and sizes for the gate.

Variants of one question share a root and are not independent, and how much they repeat one another shows only where
something differs. So intervals count roots: every bound is taken from the data with one more root that went the other
way, and rows that all agree then weigh as much as their roots. docs/statistics.md simulates what that keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

Bounds = tuple[float, float] | None  # the least and the largest value that there can be
RATE, DIFFERENCE = (0.0, 1.0), (-1.0, 1.0)  # of rates, win rates and scores, and of paired differences of them


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval, in the estimate's own unit."""

    mean: float
    low: float
    high: float

    def document(self, name: str = "mean") -> dict[str, float]:
        return {name: self.mean, "ci_low": self.low, "ci_high": self.high}


@dataclass(frozen=True, eq=False)
class Clusters:
    """Sum and number of the values of each root, both (roots,), roots in sorted order."""

    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(
        cls, values: Sequence[float] | np.ndarray, roots: Sequence[str], wholes: Sequence[float] | None = None
    ) -> Clusters:
        """Of one value a row; `wholes`: what each is a part of, for the mean of a ratio (1 each).

        Raises ValueError for no values, a value that is not finite, or lengths that differ.
        """
        array = np.asarray(values, dtype=np.float64)
        if len(array) == 0:
            raise ValueError("no values to take statistics of; give at least one row")
        if len(array) != len(roots):
            raise ValueError(f"{len(array)} values for {len(roots)} roots; give one root per value")
        if not np.isfinite(array).all():
            place = int(np.flatnonzero(~np.isfinite(array))[0])
            raise ValueError(f"value {place} is not finite; correct the scores first")
        _, index = np.unique(np.asarray(roots, dtype=str), return_inverse=True)
        return cls(np.bincount(index, array), np.bincount(index, wholes).astype(np.float64))

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.counts.sum())

    @property
    def typical(self) -> float:
        """Values in the root of a value drawn at random: sum n^2 / sum n."""
        return float((self.counts**2).sum() / self.counts.sum())

    @property
    def effective(self) -> float:
        """Roots of one size that would say as much where a root's values are one: (sum n)^2 / sum n^2 (Kish 1965)."""
        return float(self.counts.sum() / self.typical)

    @property
    def standard_error(self) -> float:
        """Of the mean, robust to whatever a root's values share; 0 for one root, which says nothing of others.

        CR2 of Bell and McCaffrey (2002) for a mean: unbiased where roots of any sizes hold independent values.
        """
        if len(self.sums) < 2:
            return 0.0
        residuals = self.sums - self.counts * self.mean
        leverage = self.counts / self.counts.sum()
        return float(math.sqrt((residuals**2 / (1 - leverage)).sum()) / self.counts.sum())

    def with_one_more(self, value: float) -> Clusters:
        """One more root of typical size whose values are all `value`."""
        return Clusters(np.append(self.sums, value * self.typical), np.append(self.counts, self.typical))

    def interval(self, confidence: float = 0.95, bounds: Bounds = None) -> Interval:
        """The mean with its interval over roots.

        `bounds`: RATE, DIFFERENCE, or those of other values; such an interval has a width also where nothing differed.
        Without bounds it is the t interval of the standard error, of no width for one root: callers hold a minimum
        number of roots against that.
        """
        tail = (1 - confidence) / 2
        if bounds is None:
            spread = (self.counts**2).sum() ** 2 / (self.counts**4).sum()  # effective roots of the variance
            reach = float(stats.t.isf(tail, max(1.0, spread - 1))) * self.standard_error
            return Interval(self.mean, self.mean - reach, self.mean + reach)
        least, largest = bounds
        unit = largest - least
        above = Clusters((self.sums - least * self.counts) / unit, self.counts)
        below = Clusters(self.counts - above.sums, self.counts)
        return Interval(self.mean, least + unit * above.lower_bound(tail), largest - unit * below.lower_bound(tail))

    def lower_bound(self, tail: float) -> float:
        """Of a mean in [0, 1]: Clopper and Pearson's (1934) at the independent rows that say as much as these.

        Their number is m (1 - m) / standard error^2 (Korn and Graubard 1998, Survey Methodology 24), of the data with
        one more root of zeros, which is the number of rows for independent ones that are 0 or 1. Never above what
        values between 0 and 1 leave where none differed (`exact_interval`).
        """
        mean = min(1.0, self.mean)
        if mean <= 0:
            return 0.0
        more = self.with_one_more(0.0)
        rows = more.mean * (1 - more.mean) / more.standard_error**2
        exact = stats.beta.ppf(tail, mean * rows, (1 - mean) * rows + 1)
        return float(min(exact, exact_interval(mean, self.effective, 1 - 2 * tail)[0]))


def exact_interval(value: float, clusters: float, confidence: float) -> tuple[float, float]:
    """(low, high) of a mean in [0, 1] of which each of `clusters` independent units is `value`: no resample differs.

    What was never seen may be as frequent as 1 - (tail)^(1/clusters), and be all 0 or all 1. At a value of 0 or 1 that
    is Clopper and Pearson's exact interval (1934).
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / clusters)
    return value * (1 - unseen), value + (1 - value) * unseen


def score_bounds(gold_kind: str, axes: Sequence[str] = ()) -> dict[str, Bounds]:
    """Those of gold and of each axis; a reward model's unit has none."""
    return {"gold": None if gold_kind == "reward_model" else RATE, **dict.fromkeys(axes, RATE)}


def mean_interval(
    values: Sequence[float], roots: Sequence[str], confidence: float, bounds: Bounds = None
) -> Interval:
    """Mean with its interval, clustered by root; see `Clusters.interval`."""
    return Clusters.of(values, roots).interval(confidence, bounds)


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
