"""Where resampling is blind (separated data): what prompts that were never drawn could still do to strengths.

Resamples of battles that were all won are all won: however few they are, a bootstrap calls them certain. The exact
interval of Clopper and Pearson (1934) asks instead at which true rates such a record is still likely, and counts roots.
"""

from dataclasses import replace

import numpy as np

from models.ratings.bradley_terry import BradleyTerry, Fitted
from models.statistics.bootstrap import Estimate

SAME = 1e-5  # log-odds; resamples nearer to each other than this show no spread
_CELLS_PER_BLOCK = 4_000_000  # battles x refits held at once


def unbroken_rates(roots: int, confidence: float) -> tuple[float, float]:
    """The success rates at which all of `roots` succeed with probability (1 - confidence) / 2, and with 1 minus that.

    Below the first a record without failure is unlikely (Clopper and Pearson); above the second it is as good as sure,
    so that no record of this size tells such rates apart.
    """
    tail = (1 - confidence) / 2
    return tail ** (1 / roots), (1 - tail) ** (1 / roots)


def boundary_refits(model: BradleyTerry, full: Fitted, drawn: Fitted, confidence: float) -> Fitted | None:
    """Refits at the bounds of what the resamples cannot see, one column each; None where they see everything.

    They cannot see beyond models that never lost (or never won) to the rest, effects without a finite maximum, and
    strengths or effects that no resample moves or that one root decides. A share w of wins in the battles that bear on
    one becomes s w at one bound and 1 - s (1 - w) at the other, s = unbroken_rates()[0] of the roots it was seen on,
    within 1 - unbroken_rates()[1] and unbroken_rates()[1].
    """
    components = model.components()
    one_sided = full.unbounded[0] & (components[model.first] != components[model.second])
    parts = []
    for softened in (one_sided, np.ones_like(one_sided)):
        directions = _blind_directions(model, full, drawn, softened)
        if not directions:
            continue
        share = _median_shares(model, softened)
        bounds = [bound for toward in directions for bound in _bounds(model, toward, share, confidence)]
        block = max(1, _CELLS_PER_BLOCK // len(one_sided))
        parts = [model.refit(np.stack(bounds[at : at + block], axis=1)) for at in range(0, len(bounds), block)]
        if not any(part.unbounded.any() for part in parts):
            break  # else a covariate runs away, too: no battle is then left one-sided
    return Fitted.joined(parts) if parts else None


def widened(estimates: list[Estimate], refits: np.ndarray) -> list[Estimate]:
    """Intervals that reach as far as resampling and the refits at the bounds (values, refits) together: distances from
    the value add up as independent errors do (Zou and Donner 2008, "Construction of confidence limits")."""
    wider = []
    for estimate, row in zip(estimates, refits, strict=True):
        down, up = (max(0.0, float(np.nanmax(sign * (row - estimate.value)))) for sign in (-1, 1))
        low = estimate.value - np.hypot(max(0.0, estimate.value - estimate.ci_low), down)
        high = estimate.value + np.hypot(max(0.0, estimate.ci_high - estimate.value), up)
        wider.append(replace(estimate, ci_low=float(low), ci_high=float(high)))
    return wider


def _blind_directions(model: BradleyTerry, full: Fitted, drawn: Fitted, softened: np.ndarray) -> list[np.ndarray]:
    """One (rows,) per thing that resampling is blind to: 1 where winning a battle raises it, -1 where losing does."""
    values = drawn.values
    blind = (np.nanmax(values, axis=1) - np.nanmin(values, axis=1) < SAME) | (model.roots_of < 2)
    signs = model.whole.T.tocsr().sign()
    directions = list(signs[np.flatnonzero(blind)].toarray())
    if full.unbounded[0]:
        components = model.components()
        members = np.equal.outer(np.unique(components), components).astype(float)
        directions += list(members @ signs[: model.models])
        directions += list(signs[model.models :].toarray() * softened)
    different = {min(one.tobytes(), (-one).tobytes()): one for one in directions if one.any()}
    return list(different.values())


def _median_shares(model: BradleyTerry, softened: np.ndarray) -> np.ndarray:
    """(rows,): shares of wins, those of one-sided battles at what a record without failure means in the median."""
    median = 0.5 ** (1 / model.roots)
    return np.where(softened, 1 - median + (2 * median - 1) * model.share, model.share)


def _bounds(model: BradleyTerry, toward: np.ndarray, share: np.ndarray, confidence: float) -> list[np.ndarray]:
    sure, surest = unbroken_rates(model.roots_on(toward != 0), confidence)
    favour = np.where(toward > 0, model.share, 1 - model.share)
    bounds = (np.maximum(sure * favour, 1 - surest), np.minimum(1 - sure * (1 - favour), surest))
    return [np.where(toward == 0, share, np.where(toward > 0, bound, 1 - bound)) for bound in bounds]
