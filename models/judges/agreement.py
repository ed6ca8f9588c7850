"""Agreement and its uncertainty, with intervals that count prompt roots (`models.statistics.intervals`)."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.statistics.intervals import Clusters


def share_interval(
    parts: Sequence[float], wholes: Sequence[float], roots: Sequence[str], confidence: float
) -> dict[str, float] | None:
    """Sum of `parts` over sum of `wholes`, with its interval; `n` is the number of units with a whole above 0, and the
    bounds are None where these are of one root.
    """
    used = [(part, whole, root) for part, whole, root in zip(parts, wholes, roots, strict=True) if whole > 0]
    if not used:
        return None
    clusters = Clusters.of(*([row[place] for row in used] for place in (0, 2, 1)))
    interval = clusters.interval(confidence, (0.0, 1.0))
    low, high = (interval.low, interval.high) if len(clusters.sums) > 1 else (None, None)
    return {"value": interval.mean, "ci_low": low, "ci_high": high, "n": len(used)}


def kappa_interval(counts: np.ndarray, roots: Sequence[str], confidence: float) -> dict[str, float] | None:
    """Cohen's kappa of two raters, (observed - expected) / (1 - expected) agreement (1960, Eq. 1), with its interval.

    Args:
        counts: (units, k * k), as `confusion` counts.

    Returns:
        {"value", "ci_low", "ci_high", "n"}; None without a unit, or where both always say the same one label.
    """
    k = round(counts.shape[-1] ** 0.5)
    table = counts.sum(axis=0).reshape(k, k)
    total = table.sum()
    expected = total - table.sum(axis=0) @ table.sum(axis=1) / total if total else 0.0
    disagreed = counts[:, ~np.eye(k, dtype=bool).ravel()].sum(axis=1)
    return _chance_corrected(disagreed, counts.sum(axis=1), expected, roots, confidence)


def _chance_corrected(
    disagreed: np.ndarray, wholes: np.ndarray, expected: float, roots: Sequence[str], confidence: float
) -> dict[str, float] | None:
    """1 - observed / expected disagreement, in the unit of `wholes`, with the interval of what was observed.

    What is expected comes from the labels' totals alone and hardly varies beside it.
    """
    observed = share_interval(disagreed, wholes, roots, confidence)
    if observed is None or expected <= 0:
        return None
    share = expected / wholes.sum()
    value, high, low = (
        None if observed[name] is None else 1 - observed[name] / share for name in ("value", "ci_low", "ci_high")
    )
    return {"value": value, "ci_low": low, "ci_high": high, "n": observed["n"]}


def confusion(judge: Sequence[str], reference: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """(units, k * k): one count per unit at its pair of labels, as `kappa_interval` reads it."""
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
        counts = np.array([sum(annotation == label for annotation in unit.values()) for label in labels], dtype=float)
        total = counts.sum()
        if total >= 2:
            cells[number] = [(total**2 - (counts**2).sum()) / (total - 1), *counts]
    return cells


def alpha_interval(cells: np.ndarray, roots: Sequence[str], confidence: float) -> dict[str, float] | None:
    """1 - observed / expected disagreement for nominal labels, any number of annotators, any of them missing
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", part C). Cells as in `krippendorff_cells`; returns
    as `kappa_interval`."""
    counts = cells[:, 1:]
    labels = counts.sum(axis=0)
    expected = (labels.sum() ** 2 - (labels**2).sum()) / max(1.0, labels.sum() - 1)
    return _chance_corrected(cells[:, 0], counts.sum(axis=1), expected, roots, confidence)
