"""Statistics against scipy, statsmodels, slow loops and published numbers."""

import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.power import NormalIndPower

from models.statistics import intervals as statistics
from models.statistics.intervals import Clusters


def test_cluster_sums_by_hand():
    clusters = Clusters.of([1.0, 2.0, 4.0], ["b", "a", "b"])
    assert clusters.sums.tolist() == [2.0, 5.0] and clusters.counts.tolist() == [1.0, 2.0]
    assert (clusters.mean, clusters.typical, clusters.effective) == pytest.approx((7 / 3, 5 / 3, 9 / 5))
    more = clusters.with_one_more(-1.0)
    assert (more.sums[-1], more.counts[-1]) == pytest.approx((-5 / 3, 5 / 3))


@pytest.mark.parametrize(
    ("values", "roots", "message"),
    [([], [], "no values"), ([1.0], ["a", "b"], "1 values for 2 roots"), ([float("nan")], ["a"], "not finite")],
)
def test_clusters_refuse(values, roots, message):
    with pytest.raises(ValueError, match=message):
        Clusters.of(values, roots)


@pytest.mark.parametrize("count", [2, 5, 200])
def test_the_t_interval_of_single_rows_is_scipys(count):
    values = np.random.default_rng(count).normal(0.3, 1.0, count)
    ours = statistics.mean_interval(values, [str(i) for i in range(count)], 0.9)
    peer = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    assert (ours.mean, ours.low, ours.high) == pytest.approx((values.mean(), peer.low, peer.high))


def test_variants_are_no_more_evidence_than_their_roots():
    """Every row four times: the same interval, with and without bounds, also where nothing varies."""
    generator = np.random.default_rng(0)
    for values in (generator.beta(2, 1, 40), generator.random(40) < 0.9, np.ones(40), np.full(40, 0.5)):
        roots = [str(i) for i in range(40)]
        for bounds in (None, statistics.RATE, statistics.DIFFERENCE):
            once = statistics.mean_interval(values, roots, 0.95, bounds)
            often = statistics.mean_interval(np.repeat(values, 4), np.repeat(roots, 4), 0.95, bounds)
            assert (often.low, often.high) == pytest.approx((once.low, once.high), abs=1e-9)


@pytest.mark.parametrize(("roots", "width"), [(6, 0.459), (60, 0.0596)])
def test_where_nothing_differs_the_interval_is_that_of_the_roots(roots, width):
    """60 pairs without a difference: 1 - 0.025^(1/roots), what was never seen; 60 of 6 roots are no 60."""
    names = [str(i % roots) for i in range(60)]
    interval = statistics.mean_interval(np.zeros(60), names, 0.95, statistics.DIFFERENCE)
    assert (interval.low, interval.high) == pytest.approx((-width, width), abs=1e-3)
    rates = statistics.rate_difference([True] * 60, [True] * 60, names, 0.95)
    square = stats.norm.ppf(0.975) ** 2
    assert (rates.low, rates.high) == pytest.approx((-square / (roots + square), square / (roots + square)))


def test_one_root_says_next_to_nothing():
    """Won by one root's 120 prompts: one win of one. Beside one large root twenty small ones are hardly seen."""
    one = statistics.mean_interval([1.0] * 120, ["a"] * 120, 0.95, statistics.RATE)
    assert (one.low, one.high) == pytest.approx((0.025, 1.0))
    rates = statistics.rate_difference([True] * 120, [True] * 120, ["a"] * 120, 0.95)
    assert rates.low < -0.75
    many = statistics.mean_interval([1.0] * 120, ["a"] * 100 + list("bcdefghijklmnopqrstu"), 0.95, statistics.RATE)
    assert many.low < 0.1


def test_a_difference_of_bounded_scores_stays_in_its_bounds():
    interval = statistics.difference_interval([1.0, 1.0, 0.9], [0.0, 0.1, 0.0], ["a", "b", "c"], 0.95, statistics.RATE)
    assert interval.mean == pytest.approx(2.8 / 3) and -1 < interval.low < interval.mean < interval.high <= 1


def test_difference_interval_pairs():
    interval = statistics.difference_interval([1.0, 2.0, 3.0], [0.5, 1.5, 2.5], ["a", "b", "c"], 0.95)
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.5, 0.5)
    assert interval.document("difference") == {"difference": 0.5, "ci_low": 0.5, "ci_high": 0.5}
    with pytest.raises(ValueError, match="same prompts on both sides"):
        statistics.difference_interval([1.0], [1.0, 2.0], ["a"], 0.95)


def test_clustered_standard_error_agrees_with_statsmodels():
    """Roots of one size: OLS on a constant. Of any sizes: its residuals over the root of 1 - leverage (CR2)."""
    generator = np.random.default_rng(1)
    values, groups = generator.normal(size=90), np.repeat(np.arange(30), 3)
    fit = OLS(values, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    ours = statistics.clustered_standard_error(values, [f"{g:02d}" for g in groups])
    assert ours == pytest.approx(fit.bse[0])
    assert statistics.clustered_standard_error([1.0, 2.0], ["a", "a"]) == 0.0
    uneven = np.repeat(np.arange(12), np.arange(1, 13))
    residuals = values[:78] - values[:78].mean()
    summed = sum(residuals[uneven == group].sum() ** 2 / (1 - (group + 1) / 78) for group in range(12))
    assert statistics.clustered_standard_error(values[:78], uneven) == pytest.approx(math.sqrt(summed) / 78)


def test_design_effect_by_hand():
    """Four identical rows per root: nearly four times the variance; no variation: 1."""
    base = np.random.default_rng(0).normal(size=200)
    assert statistics.design_effect(np.repeat(base, 4), np.repeat(np.arange(200), 4)) == pytest.approx(4, rel=0.01)
    assert statistics.design_effect([1.0, 1.0], ["a", "b"]) == 1.0


def slow_tango(gained, lost, total, confidence):
    """Score interval with the nuisance rate found by numerical maximum likelihood, by bisection over a grid."""
    critical = stats.norm.ppf(1 - (1 - confidence) / 2)

    def statistic(delta):
        def loss(rate):
            p_gained, p_lost, rest = rate + delta, rate, 1 - 2 * rate - delta
            parts = [(gained, p_gained), (lost, p_lost), (total - gained - lost, rest)]
            return -sum(count * math.log(max(p, 1e-300)) for count, p in parts if count)

        low, high = max(0.0, -delta), (1 - delta) / 2
        rate = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
        return (gained - lost - total * delta) / math.sqrt(total * (2 * rate + delta - delta**2))

    grid = np.linspace(-0.499, 0.499, 999)
    inside = grid[[abs(statistic(delta)) <= critical for delta in grid]]
    return inside.min(), inside.max()


@pytest.mark.parametrize(("gained", "lost", "total"), [(12, 2, 50), (0, 0, 50), (0, 6, 40), (3, 1, 300)])
def test_tango_agrees_with_numerical_likelihood(gained, lost, total):
    ours = statistics.tango_interval(gained, lost, total, 0.95)
    assert ours == pytest.approx(slow_tango(gained, lost, total, 0.95), abs=1.6e-3)


def test_tango_without_disagreement_is_wilson_like_and_mirrors():
    """No discordant pair: the bounds are +-z^2 / (n + z^2), by hand from the score equation."""
    square = stats.norm.ppf(0.975) ** 2
    low, high = statistics.tango_interval(0, 0, 100, 0.95)
    assert (low, high) == pytest.approx((-square / (100 + square), square / (100 + square)))
    low, high = statistics.tango_interval(7, 2, 30, 0.9)
    assert statistics.tango_interval(2, 7, 30, 0.9) == pytest.approx((-high, -low))


def test_tango_refuses_impossible_counts():
    with pytest.raises(ValueError, match="do not fit in total=3"):
        statistics.tango_interval(3, 1, 3, 0.95)


def test_rate_difference_divides_by_the_design_effect():
    """Each root repeated twice carries the information of half the rows."""
    candidate, reference = [True, True, False, True, False] * 10, [True, False, False, False, True] * 10
    single = statistics.rate_difference(candidate, reference, [str(i) for i in range(50)], 0.95)
    double = statistics.rate_difference(candidate * 2, reference * 2, [str(i) for i in range(50)] * 2, 0.95)
    assert single.mean == double.mean == pytest.approx(0.2)
    assert double.low == pytest.approx(single.low, abs=2e-3) and double.high == pytest.approx(single.high, abs=2e-3)
    assert (single.low, single.high) == pytest.approx(statistics.tango_interval(20, 10, 50, 0.95))


def test_a_design_effect_of_rates_by_hand():
    """Two roots of two pairs, one pair lost, and one more root of two lost pairs: mean -1/2, root sums -1, 0, -2.
    Residuals of the sums 0, 1, -1; CR2 (1 + 1) / (1 - 1/3) / 36 = 1/12; independent (1/2 - 1/4) / 5 = 1/20."""
    differences, roots = [-1.0, 0.0, 0.0, 0.0], ["a", "a", "b", "b"]
    assert statistics.rate_design_effect(differences, roots) == pytest.approx(20 / 12)
    assert statistics.rate_design_effect([0.0] * 60, [str(i % 6) for i in range(60)]) == pytest.approx(10)
    assert statistics.rate_design_effect([-1.0] * 4, roots) == 2.0, "where every pair is lost it is the roots' size"


def test_sample_size_agrees_with_statsmodels_and_facts():
    """SD 0.4, 5 points, two-sided 5% (one-sided 2.5%), 80%: the 502 prompts of published practice."""
    assert statistics.sample_size(0.4, 0.05, 0.025, 0.8) == pytest.approx(502, abs=1)
    peer = NormalIndPower(ddof=0).solve_power(0.05 / 0.4, alpha=0.05, power=0.8, ratio=0, alternative="larger")
    assert statistics.sample_size(0.4, 0.05, 0.05, 0.8) == math.ceil(peer)
    with pytest.raises(ValueError, match="effect of nothing"):
        statistics.sample_size(0.4, 0.0, 0.05, 0.8)


@pytest.mark.parametrize(("good", "total"), [(0, 5), (3, 7), (40, 40)])
def test_rate_interval_is_clopper_and_pearsons(good, total):
    """Against scipy for independent answers; each twice under one root is no more evidence."""
    exact = stats.binomtest(good, total).proportion_ci(0.9, method="exact")
    events = [number < good for number in range(total)]
    interval = statistics.rate_interval(events, range(total), 0.9)
    assert (interval.mean, interval.low, interval.high) == pytest.approx((good / total, exact.low, exact.high))
    if 0 < good < total:
        twice = statistics.rate_interval(np.repeat(events, 2), np.repeat(np.arange(total), 2), 0.9)
        assert (twice.low, twice.high) == pytest.approx((exact.low, exact.high), abs=0.02)
    with pytest.raises(ValueError, match="no values"):
        statistics.rate_interval([], [], 0.9)


def test_size_for_a_rate_that_must_not_fall():
    """Discordance 0.2, margin 0.1. At the limit 16.7% are lost, 6.7% gained:
    (1.645 * 0.473 + 0.842 * 0.447)^2 / 0.01."""
    lost = (statistics.tango_variance(0.1, 0.1, 1.0, -0.1) + 0.1 * 1.1) / 2
    assert lost == pytest.approx(0.1671, abs=1e-4)
    # The likelihood 0.1 log l + 0.1 log(l - 0.1) + 0.8 log(1.1 - 2 l) is flat there.
    assert 0.1 / lost + 0.1 / (lost - 0.1) == pytest.approx(1.6 / (1.1 - 2 * lost))
    size = statistics.rate_sample_size(0.2, 0.1, 0.05, 0.8)
    variance = 2 * lost - 0.1 - 0.01
    assert size == math.ceil((1.644854 * variance**0.5 + 0.841621 * 0.2**0.5) ** 2 / 0.01)
    assert size == 134 > statistics.sample_size(0.2**0.5, 0.1, 0.05, 0.8)
