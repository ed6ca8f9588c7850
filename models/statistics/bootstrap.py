"""Bootstrap over whole clusters: how often each is drawn, and intervals of what came out."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import ndtr, stdtrit

_CELLS_PER_BLOCK = 4_000_000  # numbers per array of a block


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: percentiles of `resamples` draws of whole roots."""

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and standard error, in its own unit; None where nothing could be resampled."""

    value: float
    ci_low: float | None = None
    ci_high: float | None = None
    standard_error: float | None = None

    def document(self) -> dict[str, float | None]:
        return asdict(self)


def draws(clusters: int, settings: Bootstrap, rows: int) -> Iterator[np.ndarray]:
    """How often each of `clusters` is drawn, in blocks (clusters, resamples of the block).

    A block is small enough for arrays of (rows, resamples of the block); the draws do not depend on its size.
    """
    generator = np.random.default_rng(settings.seed)
    block = max(1, _CELLS_PER_BLOCK // max(rows, clusters))
    for start in range(0, settings.resamples, block):
        size = min(block, settings.resamples - start)
        columns = [np.bincount(generator.integers(0, clusters, clusters), minlength=clusters) for _ in range(size)]
        yield np.stack(columns, axis=1).astype(np.float64)


def estimates(values: np.ndarray, drawn: np.ndarray | None, clusters: int, confidence: float) -> list[Estimate]:
    """Each of `values` (n,) with the interval and standard error of its row of `drawn` (n, resamples), if there is one.

    Expanded percentile intervals (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3): the
    tails are those at which a t interval on `clusters` - 1 degrees of freedom, of the unbiased standard deviation, cuts
    the normal. Plain percentiles are too narrow by that much; the two agree for many clusters. Resamples that are nan
    do not count.
    """
    if drawn is None or len(values) == 0:
        return _estimates(values)
    stretch = np.sqrt(clusters / (clusters - 1))
    tail = ndtr(stretch * stdtrit(clusters - 1, (1 - confidence) / 2))
    low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=1)
    return _estimates(values, low, high, stretch * np.nanstd(drawn, axis=1, ddof=1))


def t_estimates(
    values: np.ndarray, drawn: np.ndarray | None, clusters: np.ndarray, confidence: float
) -> list[Estimate]:
    """As `estimates`, for numbers on a scale without ends such as log-odds: the t interval of the standard error.

    `clusters`: (n,), those that bear on each value; 1 counts as 2. With few clusters log-odds lie too far out in the
    median, and their resamples once more, so that percentiles would reach too far out and not far enough back.
    """
    if drawn is None or len(values) == 0:
        return _estimates(values)
    clusters = np.maximum(2, clusters)
    errors = np.sqrt(clusters / (clusters - 1)) * np.nanstd(drawn, axis=1, ddof=1)
    reach = -stdtrit(clusters - 1, (1 - confidence) / 2) * errors
    return _estimates(values, values - reach, values + reach, errors)


def _estimates(*columns: np.ndarray) -> list[Estimate]:
    return [Estimate(*map(float, row)) for row in zip(*columns, strict=True)]
