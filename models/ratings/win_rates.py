"""Win rates against one model: raw, and what they would be if both answers were equally long (`length_control`).

None is read off beyond the data: there is no rate at equal lengths where one model's answers are never as long as the
other's.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from models.ratings.battles import Battles, read_battles
from models.ratings.length_control import LARGE, LARGEST_LENGTH_EFFECT, TOO_LARGE, LengthRegression, Pool
from models.ratings.pairs import Pairs, pairs_of
from models.statistics.bootstrap import Bootstrap, Estimate, draws, estimates
from models.statistics.intervals import RATE, Clusters, exact_interval

RESAMPLES = Bootstrap(resamples=1000)
LEAST_ROOTS = 2  # on which the model's answers are as long as the other's or longer, and as short or shorter


@dataclass(frozen=True)
class WinRate:
    """`model` against `against`, in [0, 1], a tie is half; standard errors and intervals by root.

    `length_controlled` (the authors') and `length_adjusted` (ours) are None where lengths are unknown, and where no
    answers are equally long or cross. `length_effect`: the paper's phi, log-odds for an answer that is longer by many
    standard deviations of the difference. `pairs`: answers compared, orders and judges averaged. `notes`: a line each.
    """

    model: str
    against: str
    raw: Estimate
    length_controlled: Estimate | None
    length_adjusted: Estimate | None
    length_effect: float | None
    pairs: int
    prompts: int
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return to_jsonable_python(self)


def win_rate(
    table: Any, model: str, against: str, *, pool: Pool | None = None, settings: Bootstrap = RESAMPLES
) -> WinRate:
    """Raw, length-controlled and length-adjusted win rate of `model` against `against`.

    Args:
        table: judged answers in any form that `models.ratings.battles.read_battles` takes, or its result; preferences
            may be probabilities. Lengths come from the answers or from columns of lengths.
        pool: `fit_pool` of many models; without it the prompts' difficulty is left out, and `notes` says so.

    Raises:
        ValueError: no battle of the two, or a table that cannot be read.
    """
    battles = table if isinstance(table, Battles) else read_battles(table)
    pairs = pairs_of(battles, model, against)
    notes = [*battles.notes, *pairs.notes]
    controlled = adjusted = effect = None
    if np.isnan(pairs.gap).any():
        notes.append("lengths are unknown (no responses, no first_length and second_length): no length control")
    elif outside := _outside_the_data(pairs, model, against):
        notes.append(outside)
    else:
        regression = LengthRegression.of(pairs, battles.prompts, pool, notes)
        controlled, adjusted, effect = _at_equal_lengths(regression, pairs, settings, notes)
    return WinRate(
        model=model,
        against=against,
        raw=_raw(pairs, settings.confidence),
        length_controlled=controlled,
        length_adjusted=adjusted,
        length_effect=effect,
        pairs=len(pairs.root),
        prompts=len(np.unique(pairs.prompt)),
        notes=tuple(notes),
    )


def _outside_the_data(pairs: Pairs, model: str, against: str) -> str | None:
    """Why nothing can be said about equal lengths, if the data hold none on either side."""
    longer, shorter = (len(np.unique(pairs.root[side])) for side in (pairs.gap >= 0, pairs.gap <= 0))
    if min(longer, shorter) >= min(LEAST_ROOTS, pairs.roots):
        return None
    count, side = (longer, "long") if longer < shorter else (shorter, "short")
    return (
        f"NO RATE AT EQUAL LENGTHS: answers of {model} are as {side} as those of {against} on {count} of {pairs.roots} "
        "roots, so what would happen at equal lengths lies outside the data"
    )


def _raw(pairs: Pairs, confidence: float) -> Estimate:
    """The mean preference, with the interval by root that every rate has (`models.statistics.intervals`)."""
    clusters = Clusters.of(pairs.preference, pairs.root)
    if pairs.roots < 2:
        return Estimate(clusters.mean)
    interval = clusters.interval(confidence, RATE)
    return Estimate(interval.mean, interval.low, interval.high, clusters.standard_error)


def _at_equal_lengths(
    regression: LengthRegression, pairs: Pairs, settings: Bootstrap, notes: list[str]
) -> tuple[Estimate, Estimate, float]:
    """The length-controlled and the length-adjusted rate, and the effect of length; adds to `notes`."""
    if regression.separated:
        notes.append(
            "ANY RATE AT EQUAL LENGTHS FITS: lengths alone tell the wins from the losses; intervals are 0 to 1"
        )
    *values, effect, judges = (float(column[0]) for column in regression.rates(np.ones((len(pairs.root), 1))))
    if regression.pooled is None and abs(effect) > LARGEST_LENGTH_EFFECT:
        notes.append((TOO_LARGE if abs(judges) < abs(effect) else LARGE).format(effect=effect))
    drawn = None
    if pairs.roots > 1:
        blocks = draws(pairs.roots, settings, len(pairs.root))
        drawn = np.concatenate([np.stack(regression.rates(block[pairs.root])[:2]) for block in blocks], axis=1)
    rates = estimates(np.array(values), drawn, pairs.roots, settings.confidence)
    of_roots = np.bincount(pairs.root, pairs.preference) / np.bincount(pairs.root)
    if drawn is not None and regression.separated:
        rates = [replace(rate, ci_low=0.0, ci_high=1.0) for rate in rates]
    elif drawn is not None and np.ptp(of_roots) <= 1e-9:
        # Won, lost or tied alike on every root: no resample differs, however few they are.
        exact = (exact_interval(rate.value, pairs.roots, settings.confidence) for rate in rates)
        rates = [replace(rate, ci_low=low, ci_high=high) for rate, (low, high) in zip(rates, exact, strict=True)]
    return *rates, effect
