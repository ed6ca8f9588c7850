"""Intervals where every resample looks alike: by hand, and by simulation against known strengths."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest

from models.ratings.ratings import rate
from models.ratings.separation import unbroken_rates
from models.statistics.bootstrap import Bootstrap
from models.statistics.intervals import exact_interval
from tests.support.battle_tables import battles, mean_battles, ordered_pairs, round_robin

FEW = Bootstrap(resamples=200)


def met(outcomes, first="a", second="b", root=None) -> dict[str, list]:
    """The same two models on prompts of their own."""
    count = len(outcomes)
    prompts = list(range(count) if root is None else root)
    return {"prompt_id": prompts, "first": [first] * count, "second": [second] * count, "p_first": list(outcomes)}


def strengths(rated) -> dict:
    return {row.model: row.strength for row in rated.models}


@pytest.mark.parametrize("roots", [1, 2, 10, 300])
def test_unbroken_rates_are_those_of_clopper_and_pearson(roots):
    exact = binomtest(roots, roots).proportion_ci(0.95, method="exact")
    low, high = unbroken_rates(roots, 0.95)
    assert low == pytest.approx(exact.low) and high**roots == pytest.approx(0.975)


def test_a_mean_that_never_differed():
    """Four ties: s = 0.025^(1/4) = 0.3976; what was never seen may have probability 0.6024 and be 0 or 1."""
    assert exact_interval(0.5, 4, 0.95) == pytest.approx((0.1988, 0.8012), abs=1e-4)
    assert exact_interval(1.0, 20, 0.95) == pytest.approx((0.8316, 1.0), abs=1e-4)
    assert exact_interval(0.0, 20, 0.95) == pytest.approx((0.0, 0.1684), abs=1e-4)


def test_ten_wins_of_ten():
    """The gap in strength lies between logit 0.025^(1/10) = 0.81 and logit 0.975^(1/10) = 5.98, half of it on each
    side; the resamples, which differ in the weight of the added ties alone, add next to nothing."""
    a, b = (strengths(rate(met([1.0] * 10), settings=FEW))[name] for name in "ab")
    assert a.ci_low == pytest.approx(0.81 / 2, abs=0.03) and a.ci_high == pytest.approx(5.98 / 2, abs=0.03)
    assert (b.ci_low, b.ci_high) == pytest.approx((-a.ci_high, -a.ci_low))


def test_two_wins_are_no_evidence():
    """0.025^(1/2) = 0.158: after two wins the winner may well be the weaker one, and both share the first rank."""
    rated = rate(met([1.0, 1.0]), settings=FEW)
    a = strengths(rated)["a"]
    assert a.ci_low < logit(0.158) / 2 + 0.05 < 0 < a.value < 1.5 < a.ci_high
    assert [row.rank for row in rated.models] == [1, 1]


def test_only_ties_are_no_certainty():
    """Four ties: between the logits of 0.1988 and 0.8012, which are -1.394 and 1.394."""
    a = strengths(rate(met([0.5] * 4), settings=FEW))["a"]
    assert (a.value, a.ci_low, a.ci_high) == pytest.approx((0, -1.394 / 2, 1.394 / 2), abs=2e-3)


def test_who_is_shown_first_always_wins():
    """Nothing can be told about the strengths, whose resamples are all 0, and the order effect has no upper end."""
    rows = met([1.0] * 6), met([1.0] * 6, "b", "a")
    rated = rate({key: rows[0][key] + rows[1][key] for key in rows[0]}, settings=FEW)
    a = strengths(rated)["a"]
    assert a.value == pytest.approx(0, abs=1e-6) and a.ci_low < -0.5 and a.ci_high > 0.5
    assert rated.order_effect.ci_low < 1 and rated.order_effect.ci_high > logit(0.975 ** (1 / 6)) - 0.1


def test_a_group_that_never_lost_to_the_rest():
    """a and b beat each other and always beat c and d: how far they are ahead is open on both sides."""
    inside = [("a", "b", 1), ("a", "b", 0), ("c", "d", 1), ("c", "d", 0)] * 6
    across = [(one, other, 1) for one in "ab" for other in "cd"] * 3
    first, second, won = zip(*inside, *across, strict=True)
    data = {"prompt": [n % 6 for n in range(36)], "first": first, "second": second, "p_first": [*map(float, won)]}
    strength_of = strengths(rate(data, order_effect=False, settings=FEW))
    # Six roots: the gap lies between logit 0.025^(1/6) = 0.16 and logit 0.975^(1/6) = 5.46.
    assert strength_of["a"].ci_low < 0.16 / 2 + 0.1 and strength_of["a"].ci_high > 5.46 / 2 - 0.2
    assert strength_of["d"].ci_low < -5.46 / 2 + 0.2


def test_a_model_seen_on_one_prompt_only():
    """c met a on one of 30 prompts: the resamples cannot tell how it does on others, so its interval is wide open."""
    generator = np.random.default_rng(0)
    data = met((generator.random(30) < 0.6).astype(float))
    for key, value in (("prompt_id", 3), ("first", "c"), ("second", "a"), ("p_first", 0.6)):
        data[key] = [*data[key], value]
    lone = strengths(rate(data, order_effect=False, settings=FEW))["c"]
    assert lone.ci_low < logit(0.6 * 0.025) / 2 and lone.ci_high > 1


def test_an_anchor_takes_the_bounds_along():
    strength_of = strengths(rate(met([1.0] * 10), anchor="b", settings=FEW))
    assert (strength_of["a"].ci_low, strength_of["a"].ci_high) == pytest.approx((0.81, 5.98), abs=0.06)
    assert (strength_of["b"].ci_low, strength_of["b"].ci_high) == (0, 0)


def test_full_resamples_are_left_alone():
    """Where nobody is beyond defeat the interval is the bootstrap's: percentiles of refits, as before."""
    tournament = round_robin(np.random.default_rng(1), np.array([0.3, 0.0, -0.3]), 0.2, 200, 0.5)
    widths = [row.strength.ci_high - row.strength.ci_low for row in rate(tournament, settings=FEW).models]
    errors = [row.strength.standard_error for row in rate(tournament, settings=FEW).models]
    assert widths == pytest.approx([2 * 1.96 * error for error in errors], rel=0.2)


@pytest.mark.parametrize(("rate_of_a", "prompts"), [(0.9, 10), (0.9, 20), (0.95, 10), (0.95, 20), (0.7, 10)])
@pytest.mark.parametrize("orders", [1, 2])
def test_intervals_near_a_sweep_hold_the_truth(rate_of_a, prompts, orders):
    """At win rates near 1 on few prompts many data sets are sweeps; 95% intervals hold the true strength in 93% or more
    of 200 data sets, asked in one order or, by a judge who never changes its mind, in both."""
    generator, truth, held = np.random.default_rng(2), logit(rate_of_a) / 2, 0
    for _ in range(200):
        won = (generator.random(prompts) < rate_of_a).astype(float)
        data = met(won)
        if orders == 2:
            swapped = met(1 - won, "b", "a")
            data = {key: [*data[key], *swapped[key]] for key in data}
        a = strengths(rate(data, settings=FEW))["a"]
        held += a.ci_low <= truth <= a.ci_high
    assert held / 200 >= 0.93


def test_far_apart_models_on_few_prompts_hold_the_truth():
    """Four models of which the best hardly ever lose and the worst hardly ever win, 12 prompts: each in 93% or more."""
    true, spread = np.array([2.4, 0.4, -0.5, -2.3]), 0.4
    limit = rate(mean_battles(true, 0.3, spread), settings=Bootstrap(resamples=2))
    truth = [limit.strengths[f"m{number:02d}"] for number in range(4)]
    generator, held = np.random.default_rng(3), np.zeros(5)
    for _ in range(200):
        rated = rate(round_robin(generator, true, 0.3, 12, spread), settings=FEW)
        strength_of = strengths(rated)
        intervals = [*(strength_of[name] for name in sorted(strength_of)), rated.order_effect]
        held += [i.ci_low <= t <= i.ci_high for i, t in zip(intervals, [*truth, limit.order_effect.value], strict=True)]
    assert (held / 200 >= 0.93).all(), held / 200


def test_a_hundred_models_that_never_met_their_match():
    """A ladder in which everybody beats everybody below: all 100 strengths are open at one end, and it is quick."""
    first, second = ordered_pairs(100)
    tournament = battles(first, second, first < second, np.arange(len(first)) % 400)
    rated = rate(tournament, settings=Bootstrap(resamples=20))
    places = [row.model for row in rated.models]
    assert places == sorted(places) and all(math.isfinite(row.strength.ci_high) for row in rated.models)
    assert expit(rated.models[0].strength.value - rated.models[1].strength.value) > 0.5
