"""Agreement and its uncertainty: every number here is a function of counts that add up over prompt roots.

All variants of one question share a root and are not independent, so the bootstrap draws whole roots.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from models.bootstrap import Bootstrap, draws, estimates
from models.clusters import Clusters, mean_interval

_SAME = 1e-12  # resamples nearer than this to one another do not differ


def interval(
    counts: np.ndarray, roots: Sequence[str], statistic: Callable[[np.ndarray], np.ndarray], settings: Bootstrap
) -> dict[str, float | None] | None:
    """`statistic` of the summed counts, with its expanded percentile interval (`models.bootstrap.estimates`).

    Args:
        counts: (units, cells), what each unit adds to each cell.
        roots: the root of each unit.
        statistic: (..., cells) summed counts -> (...) values; nan where it is undefined.

    Returns:
        {"value", "ci_low", "ci_high", "n"} with n = units; None where the statistic is undefined. The bounds are None
        where resampling says nothing: with one root, or where every resample is the same.
    """
    if len(counts) == 0:
        return None
    names, index = np.unique(np.asarray(roots, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), counts.shape[1]))
    np.add.at(sums, index, counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(statistic(sums.sum(axis=0)))
        blocks = draws(len(names), settings, counts.shape[1])
        drawn = np.concatenate([statistic(block.T @ sums) for block in blocks])
    if not np.isfinite(value):
        return None
    drawn = drawn[np.isfinite(drawn)]
    varies = len(drawn) > 0 and np.ptp(drawn) > _SAME
    found = estimates(np.array([value]), drawn[None] if varies else None, len(names), settings.confidence)[0]
    return {"value": value, "ci_low": found.ci_low, "ci_high": found.ci_high, "n": len(counts)}


def share_interval(
    parts: Sequence[float], wholes: Sequence[float], roots: Sequence[str], settings: Bootstrap
) -> dict[str, float] | None:
    """Sum of `parts` over sum of `wholes`, with its interval (`models.clusters`); `n` is the number of units with a
    whole above 0, and the bounds are None where these are of one root.
    """
    used = [(part, whole, root) for part, whole, root in zip(parts, wholes, roots, strict=True) if whole > 0]
    if not used:
        return None
    clusters = Clusters.of(*([row[place] for row in used] for place in (0, 2, 1)))
    found = mean_interval(clusters, settings.confidence, (0.0, 1.0))
    several = len(clusters.sums) > 1
    low, high = (found.low, found.high) if several else (None, None)
    return {"value": found.mean, "ci_low": low, "ci_high": high, "n": len(used)}


def cohen_kappa(table: np.ndarray) -> np.ndarray:
    """(observed - expected) / (1 - expected) agreement of two raters (Cohen 1960, Eq. 1).

    Args:
        table: (..., k * k) counts, cell i * k + j: the one said label i, the other j.

    Returns:
        (...) in [-1, 1]; nan where both always say the same one label.
    """
    k = round(table.shape[-1] ** 0.5)
    shares = table.reshape(*table.shape[:-1], k, k) / table.sum(axis=-1)[..., None, None]
    observed = np.trace(shares, axis1=-2, axis2=-1)
    expected = (shares.sum(axis=-1) * shares.sum(axis=-2)).sum(axis=-1)
    return (observed - expected) / (1 - expected)


def confusion(judge: Sequence[str], reference: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """(units, k * k): one count per unit at its pair of labels, as `cohen_kappa` reads it."""
    place, k = {label: number for number, label in enumerate(labels)}, len(labels)
    cells = np.zeros((len(judge), k * k))
    for unit, (ours, theirs) in enumerate(zip(judge, reference, strict=True)):
        cells[unit, place[ours] * k + place[theirs]] = 1
    return cells


def krippendorff_cells(units: Sequence[Mapping[str, str]], labels: Sequence[str]) -> np.ndarray:
    """(units, 1 + k): the disagreement observed in a unit and its count of each label; units with fewer than two
    annotators say nothing and count as zeros. A unit is annotator -> label."""
    cells = np.zeros((len(units), 1 + len(labels)))
    for number, unit in enumerate(units):
        counts = np.array([sum(said == label for said in unit.values()) for label in labels], dtype=float)
        total = counts.sum()
        if total >= 2:
            cells[number] = [(total**2 - (counts**2).sum()) / (total - 1), *counts]
    return cells


def krippendorff_alpha(cells: np.ndarray) -> np.ndarray:
    """1 - observed / expected disagreement for nominal labels, any number of annotators, any of them missing
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", part C). Cells as in `krippendorff_cells`."""
    counts = cells[..., 1:]
    total = counts.sum(axis=-1)
    expected = (total**2 - (counts**2).sum(axis=-1)) / (total - 1)
    return 1 - cells[..., 0] / expected
