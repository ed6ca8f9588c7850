"""How many prompts a paired test needs: from the spread of a pilot, for the power that is wanted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from models.statistics import intervals as statistics

LEAST_DEVIATION = 0.25  # of one paired difference: a pilot without any difference does not promise that there is none


def prompts_for_mean(
    values: Sequence[float] | np.ndarray, roots: Sequence[str], effect: float, alpha: float, power: float
) -> int:
    """Prompts for a one-sided test at `alpha` to see a mean of paired differences of `effect`.

    `values`: the pilot's paired differences, whose spread and clustering by root are taken.
    """
    deviation = max(LEAST_DEVIATION, float(np.std(values)))
    return math.ceil(statistics.sample_size(deviation, effect, alpha, power) * statistics.design_effect(values, roots))


def prompts_for_rate(
    ours: Sequence[bool], theirs: Sequence[bool], roots: Sequence[str], margin: float, alpha: float, power: float
) -> int:
    """Prompts for a one-sided test at `alpha` to show that a rate did not fall by `margin`, when it did not change."""
    differences = np.subtract(ours, theirs, dtype=float)
    discordance = max(LEAST_DEVIATION**2, float(np.abs(differences).mean()))
    independent = statistics.rate_sample_size(discordance, margin, alpha, power)
    return math.ceil(independent * statistics.rate_design_effect(differences, roots))
