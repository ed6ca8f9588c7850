"""Where resampling is blind: what prompts that were never drawn could still do to strengths and effects.

Resamples of battles that were all won are all won: however few they are, a bootstrap calls them certain. The exact
interval of Clopper and Pearson (1934) asks instead at which true rates such a record is still likely, and counts roots.
"""

from dataclasses import replace

import numpy as np

from models.ratings.bradley_terry import BradleyTerry, Fitted
from models.statistics.bootstrap import Estimate

SAME = 1e-5  # log-odds; resamples nearer to each other than this show no spread
_CELLS_PER_BLOCK = 4_000_000  # battles x refits held at once


def sure_rates(roots: int, confidence: float) -> tuple[float, float]:
    """The success rates at which all of `roots` succeed with probability (1 - confidence) / 2, and with 1 minus that.

    Below the first a record without failure is unlikely (Clopper and Pearson); above the second it is as good as sure,
    so that no record of this size tells such rates apart.
    """
    tail = (1 - confidence) / 2
    return tail ** (1 / roots), (1 - tail) ** (1 / roots)


def far_ends(model: BradleyTerry, full: Fitted, drawn: Fitted, confidence: float) -> Fitted | None:
    """Refits at the far ends of what the resamples cannot see, one column per end; None where they see everything.

    Asked are: models that never lost (or never won) to the rest, effects without a finite maximum, and every strength
    or effect that no resample moves or that one root decides. A share w of wins in the battles that bear on it becomes
    s w at one end and 1 - s (1 - w) at the other, s = sure_rates()[0] of the roots it was seen on, within
    1 - sure_rates()[1] and sure_rates()[1].
    """
    one_sided, parts = _one_sided(model, full), []
    for softened in (one_sided, np.ones_like(one_sided)):
        asked = _asked(model, full, drawn, softened)
        if not asked:
            continue
        share = _middle(model, softened)
        ends = [end for toward in asked for end in _both_ends(model, toward, share, confidence)]
        block = max(1, _CELLS_PER_BLOCK // len(one_sided))
        parts = [model.refit(np.stack(ends[at : at + block], axis=1)) for at in range(0, len(ends), block)]
        if not any(part.unbounded.any() for part in parts):
            break  # else a covariate runs away, too: no battle is then left one-sided
    if not parts:
        return None
    return Fitted(*(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in _FIELDS))


_FIELDS = ("strengths", "effects", "unbounded")


def widened(found: list[Estimate], ends: np.ndarray) -> list[Estimate]:
    """Intervals that reach as far as resampling and the far ends (values, ends) together: distances from the value add
    up as independent errors do (Zou and Donner 2008, "Construction of confidence limits")."""
    reached = []
    for estimate, row in zip(found, ends, strict=True):
        down, up = (max(0.0, float(np.nanmax(sign * (row - estimate.value)))) for sign in (-1, 1))
        low = estimate.value - np.hypot(max(0.0, estimate.value - estimate.ci_low), down)
        high = estimate.value + np.hypot(max(0.0, estimate.ci_high - estimate.value), up)
        reached.append(replace(estimate, ci_low=float(low), ci_high=float(high)))
    return reached


def _one_sided(model: BradleyTerry, full: Fitted) -> np.ndarray:
    """(rows,): battles between models of which one never lost to the other, even along a chain."""
    if not full.unbounded[0]:
        return np.zeros(len(model.first), dtype=bool)
    circles = model.circles()
    return circles[model.first] != circles[model.second]


def _asked(model: BradleyTerry, full: Fitted, drawn: Fitted, softened: np.ndarray) -> list[np.ndarray]:
    """One (rows,) per thing that resampling is blind to: 1 where winning a battle raises it, -1 where losing does."""
    values = np.vstack([drawn.strengths, drawn.effects])
    blind = (np.nanmax(values, axis=1) - np.nanmin(values, axis=1) < SAME) | (model.roots_of < 2)
    signs = model.whole.T.tocsr().sign()
    asked = list(signs[np.flatnonzero(blind)].toarray())
    if full.unbounded[0]:
        circles = model.circles()
        members = np.equal.outer(np.unique(circles), circles).astype(float)
        asked += list(members @ signs[: len(circles)])
        asked += list(signs[len(circles) :].toarray() * softened)
    different = {min(one.tobytes(), (-one).tobytes()): one for one in asked if one.any()}
    return list(different.values())


def _middle(model: BradleyTerry, softened: np.ndarray) -> np.ndarray:
    """(rows,): shares of wins, those of one-sided battles at what a record without failure means in the median."""
    median = 0.5 ** (1 / model.roots)
    return np.where(softened, 1 - median + (2 * median - 1) * model.share, model.share)


def _both_ends(model: BradleyTerry, toward: np.ndarray, share: np.ndarray, confidence: float) -> list[np.ndarray]:
    sure, surest = sure_rates(model.roots_on(toward != 0), confidence)
    favour = np.where(toward > 0, model.share, 1 - model.share)
    far = (np.maximum(sure * favour, 1 - surest), np.minimum(1 - sure * (1 - favour), surest))
    return [np.where(toward == 0, share, np.where(toward > 0, end, 1 - end)) for end in far]
