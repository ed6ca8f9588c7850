"""What a win rate would be if both answers were equally long: a logistic regression on the difference in length.

The length-controlled rate is that of AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475, Eq. 1 and 2), read off where
the difference is 0. The length-adjusted rate is ours: a model cannot earn an effect of length that is no judge's by
cutting answers off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse, stats
from scipy.special import expit

from models.ratings.battles import Battles, read_battles
from models.ratings.pairs import Pairs, pairs_of
from models.statistics.logistic import Design, Fit, fit

# With a pool of models, the effect of length is the judge's: that of each model is normal around the pool's median.
# (Of 56 models on AlpacaEval 2, precisions of 10 to 40 give nearly the same rates.)
EFFECT_PRECISION = 20.0  # of log-odds: a standard deviation of 0.22
# Without one, a model that cuts off every answer that would lose makes shortness look ruinous, and the regression would
# pay it back for being short. Two guards, against the rated model alone, so that a padded answer is never spared:
# 1. It is paid back only as far as judges go (on AlpacaEval 2, GPT-4 gives half the models an effect of 1.5 to 2.4
#    log-odds, and the one that cuts off its losers 18), or as far as this judge goes where the model is the longer one:
#    who loves length does so on both sides.
LARGEST_LENGTH_EFFECT = 2.5  # log-odds
SHOWN = stats.chi2.ppf(0.98, 1)  # deviance at which a slope is above 0 at 1%, one-sided
BOTH_SIDES = 2.0  # times the effect where it helps the model is still one and the same effect, give or take its error
# 2. An answer that is too short (`Pairs.too_short`) keeps the preference that it got.
LEAST_POOL = 5  # models in a table that is a pool by itself
POOL_RIDGE = 1.0  # a prompt's difficulty is normal with variance 1 beforehand; few models must not decide it alone
TOO_LARGE = (
    f"the effect of length, {{effect:.1f}} log-odds, is more than judges show (up to {LARGEST_LENGTH_EFFECT}), and not "
    "as large where it helps the model: short answers are not wholly paid back for being short"
)
LARGE = (
    f"the effect of length, {{effect:.1f}} log-odds, is more than judges of good repute show (up to "
    f"{LARGEST_LENGTH_EFFECT}), but the same where it helps the model and where it costs it points: it is all put down "
    "to the judge"
)


@dataclass(frozen=True)
class Pool:
    """What a pool of models says of the judge. `difficulty`: prompt -> the paper's gamma, log-odds with mean 0: how
    easily the reference is beaten on it; `length_effect`: the median of the models' phi."""

    difficulty: Mapping[str, float]
    length_effect: float


@dataclass(frozen=True, eq=False)
class LengthRegression:
    """logit P(model preferred) = theta + phi tanh(gap / std) + psi difficulty (Eq. 1, arXiv:2404.04475; theta and psi
    stand for the differences of the two models' there). `covariates`: (pairs, 2 or 3), 1, tanh and difficulty;
    `comparable`: (pairs,), False for too short an answer; `pooled`: the pool's effect of length, None without one."""

    preference: np.ndarray
    covariates: np.ndarray
    comparable: np.ndarray
    pooled: float | None

    @classmethod
    def of(cls, pairs: Pairs, prompts: tuple[str, ...], pool: Pool | None, notes: list[str]) -> LengthRegression:
        """Adds what limits it to `notes`."""
        columns = [np.ones(len(pairs.gap)), _length_term(pairs.gap)]
        if pool:
            known = [pool.difficulty.get(prompts[place]) for place in pairs.prompt]
            if absent := known.count(None):
                notes.append(f"{absent} of {len(known)} pairs have prompts outside the pool: mean difficulty for them")
            columns.append(np.array([value or 0.0 for value in known]))
        else:
            notes.append("no pool of models: the prompts' difficulty is left out of the regression")
            if short := int(pairs.too_short.sum()):
                notes.append(
                    f"in {short} of {len(pairs.gap)} pairs the model's answer is under a tenth as long as the other: "
                    "they keep the preference that they got in the length-adjusted rate"
                )
        return cls(pairs.preference, np.stack(columns, axis=1), ~pairs.too_short, pool and pool.length_effect)

    def rates(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Length-controlled rate, length-adjusted rate, effect of length, and how much of it is put down to the judge
        where it costs the model points: (resamples,) each, for `weights` (pairs, resamples)."""
        wins = weights * self.preference[:, None]
        free = _regression(self.covariates, weights, wins).parameters
        controlled = _mean(self._at_equal_lengths(free), weights)
        if self.pooled is None:
            return controlled, *self._guarded(weights)
        means, precisions = np.zeros((2, self.covariates.shape[1]))
        means[1], precisions[1] = self.pooled, EFFECT_PRECISION
        held = _regression(self.covariates, weights, wins, (means, precisions)).parameters
        return controlled, _mean(self._at_equal_lengths(held), weights), free[1], held[1]

    @property
    def separated(self) -> bool:
        """Whether wins and losses lie so far apart that the likelihood has no maximum (Albert and Anderson 1984); an
        answer that always wins, or always loses, does so at equal lengths too."""
        if np.ptp(self.preference) == 0:
            return False
        return not _regression(self.covariates, np.ones((len(self.preference), 1)), self.preference[:, None]).finite[0]

    def _at_equal_lengths(self, parameters: np.ndarray) -> np.ndarray:
        """(pairs, resamples): Eq. 2 reads the preference off where the length term is 0."""
        return expit(self.covariates @ parameters - self.covariates[:, 1:2] * parameters[1])

    def _guarded(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Length-adjusted rate, effect of length and the judge's part of it, where two models are all there is."""
        used = weights * self.comparable[:, None]
        wins = used * self.preference[:, None]
        parameters = _regression(self.covariates, used, wins).parameters
        effect = parameters[1]
        judges = judges_part(effect, self._where_it_helps(used, wins, effect))
        # All of it is taken away where it helped the model.
        length = self.covariates[:, 1:2] * effect
        undone = np.where(length > 0, length, self.covariates[:, 1:2] * judges)
        comparable, kept = self.comparable[:, None], self.preference[:, None]
        preferred = np.where(comparable, expit(self.covariates @ parameters - undone), kept)
        return _mean(preferred, weights), effect, judges

    def _where_it_helps(self, used: np.ndarray, wins: np.ndarray, effect: np.ndarray) -> np.ndarray:
        """The effect of length, (resamples,), on the side where it helps the model, from a regression with one slope
        for longer and one for shorter answers; 0 where a likelihood ratio does not show that there is one."""
        if (np.abs(effect) <= LARGEST_LENGTH_EFFECT).all():
            return effect
        term, rest = self.covariates[:, 1:2], np.delete(self.covariates, 1, axis=1)
        longer, shorter = np.hstack([rest, np.maximum(term, 0)]), np.hstack([rest, np.minimum(term, 0)])
        both = np.hstack([longer, shorter[:, -1:]])
        slopes = _regression(both, used, wins).parameters
        without = np.where(effect > 0, *(
            _likelihood(part, used, wins, _regression(part, used, wins).parameters) for part in (shorter, longer)
        ))
        shown = 2 * (_likelihood(both, used, wins, slopes) - without) > SHOWN
        return np.where(shown, np.where(effect > 0, slopes[-2], slopes[-1]), 0.0)


def _regression(
    covariates: np.ndarray, counts: np.ndarray, wins: np.ndarray, prior: tuple[np.ndarray, np.ndarray] | None = None
) -> Fit:
    return fit(Design(sparse.csr_array(covariates)), counts, wins, np.zeros(covariates.shape[1]), prior)


def _likelihood(covariates: np.ndarray, counts: np.ndarray, wins: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """The log-likelihood, (resamples,)."""
    logits = covariates @ parameters
    return (wins * logits - counts * np.logaddexp(0, logits)).sum(axis=0)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means over pairs, (resamples,)."""
    return (values * weights).sum(axis=0) / weights.sum(axis=0)


def judges_part(effect: np.ndarray, where_it_helps: np.ndarray) -> np.ndarray:
    """How much of an effect of length (log-odds) to put down to the judge: all of it up to the limit L, beyond it
    L^2 / effect, where L is LARGEST_LENGTH_EFFECT, or BOTH_SIDES times the effect `where_it_helps` if that is more. The
    larger the effect, the surer it is that short answers lose for what they say, as redescending M-estimators treat
    outliers (Hampel 1974)."""
    limit = np.maximum(LARGEST_LENGTH_EFFECT, BOTH_SIDES * np.sign(effect) * where_it_helps)
    return effect * (limit / np.maximum(np.abs(effect), limit)) ** 2


def fit_pool(table: Any, against: str) -> Pool:
    """How easily `against` is beaten on each prompt, and what length is worth to the judge, from a pool of models.

    One joint regression theta_m + phi_m tanh(gap / std_m) + gamma_prompt over all models of the pool, so that gamma
    holds neither their quality nor their length. Fit it once, keep the result, and give it to every `win_rate` against
    the same model: rates of new models then do not move those of old ones.

    Raises:
        ValueError: fewer than two models beside `against`, or lengths that are unknown.
    """
    battles = table if isinstance(table, Battles) else read_battles(table)
    pool = battles.opponents(against)
    if len(pool) < 2:
        raise ValueError(f"a pool needs two or more models against {against!r}; only {pool[0]} met it")
    all_pairs = [pairs_of(battles, name, against) for name in pool]
    if any(np.isnan(pairs.gap).any() for pairs in all_pairs):
        raise ValueError("the pool has answers of unknown length; give responses, or first_length and second_length")
    met, prompt = np.unique(np.concatenate([pairs.prompt for pairs in all_pairs]), return_inverse=True)
    own = sparse.block_diag([np.stack([np.ones(len(p.gap)), _length_term(p.gap)], axis=1) for p in all_pairs])
    of_prompts = sparse.csr_array((np.ones(len(prompt)), (np.arange(len(prompt)), prompt)))
    ridge = np.concatenate([np.full(own.shape[1], 1e-3), np.full(len(met), POOL_RIDGE)])
    parameters = fit(
        Design(sparse.csr_array(sparse.hstack([own, of_prompts]))), np.ones((len(prompt), 1)),
        np.concatenate([pairs.preference for pairs in all_pairs])[:, None], np.zeros(len(ridge)), (0 * ridge, ridge),
    ).parameters[:, 0]  # fmt: skip
    gamma = parameters[own.shape[1] :]
    names = [battles.prompts[place] for place in met]
    effect = float(np.median(parameters[1 : own.shape[1] : 2]))
    return Pool(dict(zip(names, (gamma - gamma.mean()).tolist(), strict=True)), effect)


def _length_term(gap: np.ndarray) -> np.ndarray:
    """tanh(gap / std), not centred: equal lengths must give 0 (Eq. 1, arXiv:2404.04475); 0 without variation."""
    deviation = np.std(gap, ddof=1) if len(gap) > 1 else 0.0
    return np.tanh(gap / deviation) if deviation > 0 else np.zeros(len(gap))
