"""Win rates against one model: raw, and what they would be if both answers were equally long.

The length-controlled rate is that of AlpacaEval 2 (Dubois et al. 2024, arXiv:2404.04475, Eq. 1 and 2): a logistic
regression of the judge's preference on the difference in length, read off where that difference is 0. The length-adjusted
rate is ours: the same regression, in which a model cannot earn an effect of length that is no judge's by cutting answers
off. Neither is read off beyond the data: there is none where one model's answers are never as long as the other's.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import optimize, sparse, stats
from scipy.special import expit

from models.ratings.battles import Battles, read_battles
from models.statistics.bootstrap import Bootstrap, Estimate, draws, estimates
from models.statistics.clusters import Clusters, mean_interval
from models.statistics.logistic import Design, fit
from models.statistics.clusters import exact_interval

RESAMPLES = Bootstrap(resamples=1000)
# With a pool of models, the effect of length is the judge's: that of each model is normal around the pool's median.
# (Of 56 models on AlpacaEval 2, precisions of 10 to 40 give nearly the same rates.)
EFFECT_PRECISION = 20.0  # of log-odds: a standard deviation of 0.22
# Without one, two guards, so that short answers cannot be traded for a rate: a model that cuts off every answer that
# would lose makes shortness look ruinous to the judge, and the regression would pay it back for being short. Both hold
# against the rated model alone, so a padded answer is never spared.
# 1. A model is paid back for being short only as far as the judge can have held it against it: as far as judges go (on
#    AlpacaEval 2, GPT-4 gives half the models an effect of 1.5 to 2.4 log-odds, and the one that cuts off its losers
#    18), or as far as this judge goes where the model is the longer one. One who loves length does so on both sides;
#    cutting off moves one side alone.
LARGEST_LENGTH_EFFECT = 2.5  # log-odds
SHOWN = stats.chi2.ppf(0.98, 1)  # deviance at which a slope is above 0 at 1%, one-sided
BOTH_SIDES = 2.0  # times the effect where it helps the model is still one and the same effect, give or take its error
# 2. Below a tenth of the other's length an answer is not the same answer said shorter (nothing, a cut-off start): it
#    keeps the preference that it got.
SHORTEST_RATIO = 0.1
LEAST_ROOTS = 2  # on which the model's answers are as long as the other's or longer, and as short or shorter
LEAST_POOL = 5  # models in a table that is a pool by itself
POOL_RIDGE = 1.0  # a prompt's difficulty is normal with variance 1 beforehand; few models must not decide it alone


@dataclass(frozen=True)
class WinRate:
    """`model` against `against`, in [0, 1], a tie is half; standard errors and intervals by root.

    `length_controlled` (the authors') and `length_adjusted` (ours) are None where lengths are unknown, and where no
    answers are equally long or cross. `length_effect`: the paper's phi, log-odds for an answer that is longer by many
    standard deviations of the difference. `pairs`: answers compared, orders and judges averaged. `notes`: one line each.
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
        return {**asdict(self), "notes": list(self.notes)}


@dataclass(frozen=True)
class Pool:
    """What a pool of models says of the judge. `difficulty`: prompt -> the paper's gamma, log-odds with mean 0, how easily
    the reference is beaten on it; `length_effect`: the median of the models' phi."""

    difficulty: Mapping[str, float]
    length_effect: float


@dataclass(frozen=True, eq=False)
class Pairs:
    """One entry per prompt and pair of answers. `preference`: (pairs,), the mean over orders and judges, for the model.

    `prompt`: (pairs,) places in the battles' prompts. `root`: (pairs,) numbers from 0. `gap`: (pairs,) the model's
    length minus the other's, nan where unknown; `too_short`: (pairs,) whether the model's answer is under a tenth as
    long as the other's. `both_orders`: (pairs,) whether each of the two was shown first at least once. `again`: how many
    were judged more than once in one order.
    """

    preference: np.ndarray
    prompt: np.ndarray
    root: np.ndarray
    gap: np.ndarray
    too_short: np.ndarray
    both_orders: np.ndarray
    again: int

    @property
    def roots(self) -> int:
        return int(self.root.max()) + 1


def win_rate(
    table: Any,
    model: str,
    against: str,
    *,
    pool: Pool | None = None,
    settings: Bootstrap = RESAMPLES,
) -> WinRate:
    """Raw, length-controlled and length-adjusted win rate of `model` against `against`.

    Args:
        table: judged answers in any form that `models.ratings.battles.read_battles` takes, or its result; preferences may be
            probabilities. Lengths come from the answers or from columns of lengths.
        pool: `fit_pool` of many models; without it the prompts' difficulty is left out, and `notes` says so.

    Raises:
        ValueError: no battle of the two, or a table that cannot be read.
    """
    battles = table if isinstance(table, Battles) else read_battles(table)
    pairs = _pairs(battles, model, against)
    notes = [*battles.notes, *_notes(pairs)]
    regression = None
    if np.isnan(pairs.gap).any():
        notes.append("lengths are unknown (no responses, no first_length and second_length): no length control")
    elif unseen := _unseen(pairs, model, against):
        notes.append(unseen)
    else:
        regression = LengthRegression.of(pairs, battles.prompts, pool, notes)
    controlled, adjusted = [], []
    for block in draws(pairs.roots, settings, len(pairs.root)) if regression and pairs.roots > 1 else ():
        for rates, column in zip((controlled, adjusted), regression.rates(block[pairs.root]), strict=False):
            rates.append(column)
    separated = regression is not None and regression.separated()
    if separated:
        notes.append("ANY RATE AT EQUAL LENGTHS FITS: lengths alone tell the wins from the losses; intervals are 0 to 1")
    rate, ours, effect, judges = regression.rates(np.ones((len(pairs.root), 1))) if regression else [None] * 4
    if regression and pool is None and abs(effect[0]) > LARGEST_LENGTH_EFFECT:
        notes.append((_TOO_LARGE if abs(judges[0]) < abs(effect[0]) else _LARGE).format(effect=effect[0]))
    return WinRate(
        model=model,
        against=against,
        raw=_raw(pairs, settings.confidence),
        length_controlled=_estimate(rate[0], controlled, pairs, settings, separated) if regression else None,
        length_adjusted=_estimate(ours[0], adjusted, pairs, settings, separated) if regression else None,
        length_effect=float(effect[0]) if regression else None,
        pairs=len(pairs.root),
        prompts=len(np.unique(pairs.prompt)),
        notes=tuple(notes),
    )


_TOO_LARGE = (
    f"the effect of length, {{effect:.1f}} log-odds, is more than judges show (up to {LARGEST_LENGTH_EFFECT}), and not "
    "as large where it helps the model: short answers are not wholly paid back for being short"
)
_LARGE = (
    f"the effect of length, {{effect:.1f}} log-odds, is more than judges of good repute show (up to "
    f"{LARGEST_LENGTH_EFFECT}), but the same where it helps the model and where it costs it points: it is all put down "
    "to the judge"
)


def _unseen(pairs: Pairs, model: str, against: str) -> str | None:
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
    """The mean preference, with the interval by root that every rate has (`models.statistics.clusters`)."""
    clusters = Clusters.of(pairs.preference, pairs.root)
    if pairs.roots < 2:
        return Estimate(clusters.mean)
    found = mean_interval(clusters, confidence, (0.0, 1.0))
    return Estimate(found.mean, found.low, found.high, clusters.standard_error)


def _estimate(value: float, drawn: list[np.ndarray], pairs: Pairs, settings: Bootstrap, separated: bool) -> Estimate:
    rows = np.concatenate(drawn)[None] if drawn else None
    found = estimates(np.array([value]), rows, pairs.roots, settings.confidence)[0]
    if rows is not None and separated:
        return replace(found, ci_low=0.0, ci_high=1.0)
    of_roots = np.bincount(pairs.root, pairs.preference) / np.bincount(pairs.root)
    if rows is None or np.ptp(of_roots) > 1e-9:
        return found
    # Won, lost or tied alike on every root: no resample differs, however few they are.
    low, high = exact_interval(float(value), pairs.roots, settings.confidence)
    return replace(found, ci_low=low, ci_high=high)


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means over pairs, (resamples,)."""
    return (values * weights).sum(axis=0) / weights.sum(axis=0)


@dataclass(frozen=True, eq=False)
class LengthRegression:
    """logit P(model preferred) = theta + phi tanh(gap / std) + psi difficulty (Eq. 1, arXiv:2404.04475; theta and psi
    stand for the differences of the two models' there). `covariates`: (pairs, 2 or 3), 1, tanh and difficulty; `pooled`:
    the pool's effect of length, None without a pool."""

    preference: np.ndarray
    covariates: np.ndarray
    comparable: np.ndarray
    pooled: float | None

    @classmethod
    def of(cls, pairs: Pairs, prompts: tuple[str, ...], pool: Pool | None, notes: list[str]) -> "LengthRegression":
        columns = [np.ones(len(pairs.gap)), _length_term(pairs.gap)]
        if pool is None:
            notes.append("no pool of models: the prompts' difficulty is left out of the regression")
        else:
            known = [pool.difficulty.get(prompts[place]) for place in pairs.prompt]
            if absent := sum(value is None for value in known):
                notes.append(f"{absent} of {len(known)} pairs have prompts outside the pool: mean difficulty for them")
            columns.append(np.array([0.0 if value is None else value for value in known]))
        if pool is None and (short := int(pairs.too_short.sum())):
            notes.append(
                f"in {short} of {len(pairs.gap)} pairs the model's answer is under a tenth as long as the other: they "
                "keep the preference that they got in the length-adjusted rate"
            )
        effect = None if pool is None else pool.length_effect
        return cls(pairs.preference, np.stack(columns, axis=1), ~pairs.too_short, effect)

    def rates(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Length-controlled rate, length-adjusted rate, effect of length, and how much of it is put down to the judge
        where it costs the model points: (resamples,) each, for `weights` (pairs, resamples)."""
        wins = weights * self.preference[:, None]
        found = _regression(self.covariates, weights, wins)
        controlled = _mean(self._at_equal_lengths(found), weights)
        if self.pooled is None:
            return controlled, *self._guarded(weights)
        prior = np.zeros((2, self.covariates.shape[1]))
        prior[:, 1] = self.pooled, EFFECT_PRECISION
        held = _regression(self.covariates, weights, wins, prior)
        return controlled, _mean(self._at_equal_lengths(held), weights), found[1], held[1]

    def separated(self) -> bool:
        """Whether wins and losses lie so far apart that the likelihood has no maximum (Albert and Anderson 1984); an
        answer that always wins, or always loses, does so at equal lengths too."""
        if np.ptp(self.preference) == 0:
            return False
        one = np.ones((len(self.preference), 1))
        start = np.zeros(self.covariates.shape[1])
        return not fit(Design(sparse.csr_array(self.covariates)), one, self.preference[:, None], start).finite[0]

    def _at_equal_lengths(self, found: np.ndarray) -> np.ndarray:
        """(pairs, resamples): Eq. 2 reads the preference off where the length term is 0."""
        return expit(self.covariates @ found - self.covariates[:, 1:2] * found[1])

    def _guarded(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Length-adjusted rate, effect of length and the judge's part of it, where two models are all there is."""
        used = weights * self.comparable[:, None]
        wins = used * self.preference[:, None]
        found = _regression(self.covariates, used, wins)
        judges = judges_part(found[1], self._where_it_helps(used, wins, found[1]))
        # All of it is taken away where it helped the model.
        length = self.covariates[:, 1:2] * found[1]
        undone = np.where(length > 0, length, self.covariates[:, 1:2] * judges)
        preferred = np.where(
            self.comparable[:, None], expit(self.covariates @ found - undone), self.preference[:, None]
        )
        return _mean(preferred, weights), found[1], judges

    def _where_it_helps(self, used: np.ndarray, wins: np.ndarray, effect: np.ndarray) -> np.ndarray:
        """The effect of length, (resamples,), on the side where it helps the model, from a regression with one slope
        for longer and one for shorter answers; 0 where a likelihood ratio does not show that there is one."""
        if (np.abs(effect) <= LARGEST_LENGTH_EFFECT).all():
            return effect
        term, rest = self.covariates[:, 1:2], self.covariates[:, [0, *range(2, self.covariates.shape[1])]]
        longer, shorter = np.hstack([rest, np.maximum(term, 0)]), np.hstack([rest, np.minimum(term, 0)])
        both = np.hstack([longer, shorter[:, -1:]])
        slopes = _regression(both, used, wins)
        without = np.where(effect > 0, *(_likelihood(part, used, wins) for part in (shorter, longer)))
        shown = 2 * (_likelihood(both, used, wins, slopes) - without) > SHOWN
        return np.where(shown, np.where(effect > 0, slopes[-2], slopes[-1]), 0.0)


def _regression(
    covariates: np.ndarray, counts: np.ndarray, wins: np.ndarray, prior: np.ndarray | None = None
) -> np.ndarray:
    """(covariates, resamples); prior: means and precisions, (2, covariates)."""
    held = None if prior is None else (prior[0], prior[1])
    return fit(Design(sparse.csr_array(covariates)), counts, wins, np.zeros(covariates.shape[1]), held).parameters


def _likelihood(
    covariates: np.ndarray, counts: np.ndarray, wins: np.ndarray, found: np.ndarray | None = None
) -> np.ndarray:
    """The largest log-likelihood, (resamples,)."""
    logits = covariates @ (_regression(covariates, counts, wins) if found is None else found)
    return (wins * logits - counts * np.logaddexp(0, logits)).sum(axis=0)


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
    all_pairs = [_pairs(battles, name, against) for name in pool]
    if any(np.isnan(pairs.gap).any() for pairs in all_pairs):
        raise ValueError("the pool has answers of unknown length; give responses, or first_length and second_length")
    prompt = np.concatenate([pairs.prompt for pairs in all_pairs])
    preference = np.concatenate([pairs.preference for pairs in all_pairs])
    own = sparse.block_diag([np.stack([np.ones(len(p.gap)), _length_term(p.gap)], axis=1) for p in all_pairs])
    places = (np.ones(len(prompt)), (np.arange(len(prompt)), prompt))
    design = sparse.csr_array(sparse.hstack([own, sparse.coo_array(places, (len(prompt), len(battles.prompts)))]))
    ridge = np.concatenate([np.full(own.shape[1], 1e-3), np.full(len(battles.prompts), POOL_RIDGE)])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = design @ weights
        value = np.logaddexp(0, logits).sum() - preference @ logits + (ridge * weights**2).sum() / 2
        return value, design.T @ (expit(logits) - preference) + ridge * weights

    options = {"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8}
    found = optimize.minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", options=options).x
    seen = np.unique(prompt)
    gamma = found[own.shape[1] :][seen]
    names = [battles.prompts[place] for place in seen]
    effect = float(np.median(found[1 : own.shape[1] : 2]))
    return Pool(dict(zip(names, (gamma - gamma.mean()).tolist(), strict=True)), effect)


def _length_term(gap: np.ndarray) -> np.ndarray:
    """tanh(gap / std), not centred: equal lengths must give 0 (Eq. 1, arXiv:2404.04475); 0 without variation."""
    deviation = np.std(gap, ddof=1) if len(gap) > 1 else 0.0
    return np.tanh(gap / deviation) if deviation > 0 else np.zeros(len(gap))


def _pairs(battles: Battles, model: str, against: str) -> Pairs:
    """Battles of the two models, as pairs. Raises ValueError without any."""
    for name in (model, against):
        if name not in battles.models:
            raise ValueError(f"{name!r} has no battles; the table has {', '.join(battles.models)}")
    ours, theirs = battles.models.index(model), battles.models.index(against)
    ahead = (battles.first == ours) & (battles.second == theirs)
    behind = (battles.second == ours) & (battles.first == theirs)
    chosen = np.flatnonzero(ahead | behind)
    if len(chosen) == 0:
        raise ValueError(f"no battle of {model!r} against {against!r}; win rates need both on the same prompts")
    shown_first = ahead[chosen]
    preference = np.where(shown_first, battles.p_first[chosen], 1 - battles.p_first[chosen])
    lengths, texts = (
        np.where(shown_first[:, None], of[chosen], of[chosen][:, ::-1]) for of in (battles.lengths, battles.texts)
    )
    # The same two answers, asked in another order or again: known by their texts, or else by their lengths.
    known = np.where((texts < 0).any(axis=1, keepdims=True), np.nan_to_num(lengths, nan=-1.0), texts)
    keys = np.column_stack([battles.prompt[chosen], (texts < 0).any(axis=1), known])
    _, found, pair = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    pair = pair.ravel()
    times = np.bincount(pair)
    own, other = lengths[found].T
    ahead_share = np.bincount(pair, shown_first) / times
    return Pairs(
        preference=np.bincount(pair, preference) / times,
        prompt=battles.prompt[chosen][found],
        root=np.unique(battles.root[chosen][found], return_inverse=True)[1],
        gap=own - other,
        too_short=own < SHORTEST_RATIO * other,
        both_orders=(ahead_share > 0) & (ahead_share < 1),
        again=int((np.maximum(ahead_share, 1 - ahead_share) * times > 1.5).sum()),
    )


def _notes(pairs: Pairs) -> list[str]:
    notes = []
    if one := int((~pairs.both_orders).sum()):
        notes.append(
            f"{one} of {len(pairs.root)} pairs were judged in one order only: any love of a position stays in the rates"
        )
    if pairs.again:
        notes.append(
            f"{pairs.again} of {len(pairs.root)} pairs were judged several times: the mean counts once here, each of them in "
            "plumb ratings"
        )
    if pairs.roots < 2:
        notes.append("all pairs belong to one prompt (or root): no intervals, which are over prompts")
    return notes
