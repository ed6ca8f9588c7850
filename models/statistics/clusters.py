"""Means of rows of which some belong together, with intervals that count roots and not rows.

Variants of one question share a root and are not independent, and how much they repeat one another shows only where
something differs. So every bound is taken from the data with one more root that went the other way: rows that all
agree then weigh as much as their roots. docs/statistics.md simulates what that keeps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

Bounds = tuple[float, float] | None  # the least and the largest value that there can be


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


def mean_interval(clusters: Clusters, confidence: float = 0.95, bounds: Bounds = None) -> Interval:
    """The mean with its interval over roots.

    `bounds`: the least and the largest value that there can be, as for rates, win rates and scores (0, 1) and paired
    differences of them (-1, 1); such an interval has a width also where nothing differed. Without bounds it is the t
    interval of the standard error, of no width for one root: callers hold a minimum number of roots against that.
    """
    tail = (1 - confidence) / 2
    if bounds is None:
        spread = (clusters.counts**2).sum() ** 2 / (clusters.counts**4).sum()  # effective roots of the variance
        reach = float(stats.t.isf(tail, max(1.0, spread - 1))) * clusters.standard_error
        return Interval(clusters.mean, clusters.mean - reach, clusters.mean + reach)
    least, largest = bounds
    unit = largest - least
    above = Clusters((clusters.sums - least * clusters.counts) / unit, clusters.counts)
    below = Clusters(clusters.counts - above.sums, clusters.counts)
    return Interval(clusters.mean, least + unit * _lower(above, tail), largest - unit * _lower(below, tail))


def _lower(clusters: Clusters, tail: float) -> float:
    """Lower bound of a mean in [0, 1]: Clopper and Pearson's (1934) at the independent rows that say as much as these.

    Their number is m (1 - m) / standard error^2 (Korn and Graubard 1998, Survey Methodology 24), of the data with one
    more root of zeros, which is the number of rows for independent ones that are 0 or 1. Never above what values
    between 0 and 1 leave where none differed (`exact_interval`).
    """
    mean = min(1.0, clusters.mean)
    if mean <= 0:
        return 0.0
    more = clusters.with_one_more(0.0)
    rows = more.mean * (1 - more.mean) / more.standard_error**2
    exact = stats.beta.ppf(tail, mean * rows, (1 - mean) * rows + 1)
    return float(min(exact, exact_interval(mean, clusters.effective, 1 - 2 * tail)[0]))


def exact_interval(value: float, clusters: float, confidence: float) -> tuple[float, float]:
    """(low, high) of a mean in [0, 1] of which each of `clusters` independent units is `value`: no resample differs.

    What was never seen may be as frequent as 1 - (tail)^(1/clusters), and be all 0 or all 1. At a value of 0 or 1 that
    is Clopper and Pearson's exact interval (1934).
    """
    unseen = 1 - ((1 - confidence) / 2) ** (1 / clusters)
    return value * (1 - unseen), value + (1 - value) * unseen
