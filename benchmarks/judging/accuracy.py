"""How often labels and a reward model name the answer that gold prefers, with intervals by root. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from benchmarks.judging.labelling import Labelled
from models.judges.agreement import share_interval
from models.statistics.intervals import Clusters

_TIE = 1e-9  # gold values nearer than this are equal
Share = dict[str, float] | None  # value, ci_low, ci_high, n


def agreement(labelled: Labelled, gold: Sequence[float], confidence: float) -> dict[str, Share]:
    """Share of labels that are gold's, of all pairs (a tie is half right) and of kept pairs.

    Args:
        gold: 1, 0 or 0.5 for each pair: gold's preference for a. Pairs that gold ties are left out.
    """
    right = [0.5 if label == "tie" else float((label == "a") == (value > 0.5))
             for label, value in zip(labelled.labels, gold, strict=True)]  # fmt: skip
    counted = [label is not None and value != 0.5 for label, value in zip(labelled.labels, gold, strict=True)]
    kept = [count and keep for count, keep in zip(counted, labelled.kept, strict=True)]
    roots = [pair["root"] for pair in labelled.pairs]
    return {name: share_interval(np.multiply(right, wholes), wholes, roots, confidence)
            for name, wholes in (("all", counted), ("kept", kept))}  # fmt: skip


def ranked_pairs(gold: np.ndarray, proxy: np.ndarray) -> tuple[float, int]:
    """(pairs that the proxy ranks as gold does, pairs that gold does not tie); a tie of the proxy is half right.

    Args:
        gold, proxy: (answers,) to one prompt.
    """
    first, second = np.triu_indices(len(gold), 1)
    truth, ranked = gold[first] - gold[second], proxy[first] - proxy[second]
    decided = np.abs(truth) > _TIE
    right = np.where(ranked == 0, 0.5, np.sign(ranked) == np.sign(truth))
    return float(right[decided].sum()), int(decided.sum())


def accuracy(counts: np.ndarray, roots: Sequence[str], confidence: float) -> Share:
    """Share of held-out pairs that are ranked as by gold; `counts`: (prompts, 2) as `ranked_pairs` counts."""
    return share_interval(counts[:, 0], counts[:, 1], roots, confidence)


def difference(ours: np.ndarray, theirs: np.ndarray, roots: Sequence[str], confidence: float) -> Share:
    """Accuracy of one model minus that of another on the same pairs; counts as in `accuracy`."""
    interval = Clusters.of(ours[:, 0] - theirs[:, 0], roots, ours[:, 1]).interval(confidence, (-1.0, 1.0))
    return {**interval.document("value"), "n": len(ours)}


def over_seeds(values: Sequence[float], confidence: float) -> dict[str, float | None]:
    """Mean with Student's interval over seeds; one seed has none."""
    bounds: tuple[float | None, float | None] = (None, None)
    if len(values) > 1:
        bounds = tuple(map(float, stats.ttest_1samp(values, 0.0).confidence_interval(confidence)))
    return {"value": float(np.mean(values)), "ci_low": bounds[0], "ci_high": bounds[1], "n": len(values)}
