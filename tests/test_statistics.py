"""Statistics against scipy, statsmodels, slow loops and published numbers."""

import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.power import NormalIndPower

from tasks import statistics


def test_cluster_sums_by_hand():
    sums, counts = statistics.cluster_sums([1.0, 2.0, 4.0], ["b", "a", "b"])
    assert sums.tolist() == [2.0, 5.0] and counts.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "roots", "message"),
    [([], [], "no values"), ([1.0], ["a", "b"], "1 values for 2 roots"), ([float("nan")], ["a"], "not finite")],
)
def test_cluster_sums_refuses(values, roots, message):
    with pytest.raises(ValueError, match=message):
        statistics.cluster_sums(values, roots)


def test_bootstrap_agrees_with_scipy_for_single_row_roots():
    values = np.random.default_rng(0).normal(0.3, 1.0, 200)
    ours = statistics.mean_interval(values, [str(i) for i in range(200)], resamples=4000, seed=1)
    peer = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    assert ours.low == pytest.approx(peer.low, abs=0.012) and ours.high == pytest.approx(peer.high, abs=0.012)
    assert ours.mean == pytest.approx(values.mean())


def test_bootstrap_is_seeded_and_independent_of_blocks(monkeypatch):
    values, roots = list(range(20)), [str(i // 2) for i in range(20)]
    whole = statistics.bootstrap_means(values, roots, 50, seed=3)
    monkeypatch.setattr(statistics, "_CELLS_PER_BLOCK", 70)
    assert np.array_equal(whole, statistics.bootstrap_means(values, roots, 50, seed=3))
    assert not np.array_equal(whole, statistics.bootstrap_means(values, roots, 50, seed=4))


def test_bootstrap_by_root_is_wider_than_by_row_when_variants_repeat():
    base = np.random.default_rng(0).normal(size=100)
    values, roots = np.repeat(base, 4), np.repeat([str(i) for i in range(100)], 4)
    by_root = statistics.mean_interval(values, roots)
    by_row = statistics.mean_interval(values, [str(i) for i in range(400)])
    assert (by_root.high - by_root.low) / (by_row.high - by_row.low) == pytest.approx(2.0, rel=0.1)


def test_coverage_of_the_clustered_interval():
    """500 data sets of 60 roots with 3 correlated rows each, true mean 0: the interval holds it 93% to 97% of the time."""
    generator, held = np.random.default_rng(5), 0
    roots = np.repeat([f"{i:03d}" for i in range(60)], 3)
    for dataset in range(500):
        values = np.repeat(generator.normal(size=60), 3) + generator.normal(size=180)
        interval = statistics.mean_interval(values, roots, resamples=500, seed=dataset)
        held += interval.low <= 0 <= interval.high
    assert 0.93 <= held / 500 <= 0.97


def test_difference_interval_pairs():
    interval = statistics.difference_interval([1.0, 2.0, 3.0], [0.5, 1.5, 2.5], ["a", "b", "c"], resamples=100)
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.5, 0.5)
    assert interval.document("difference") == {"difference": 0.5, "ci_low": 0.5, "ci_high": 0.5}
    with pytest.raises(ValueError, match="same prompts on both sides"):
        statistics.difference_interval([1.0], [1.0, 2.0], ["a"])


def test_clustered_standard_error_agrees_with_statsmodels():
    generator = np.random.default_rng(1)
    values, groups = generator.normal(size=90), np.repeat(np.arange(30), 3)
    fit = OLS(values, np.ones(90)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    ours = statistics.clustered_standard_error(values, [f"{g:02d}" for g in groups])
    assert ours == pytest.approx(fit.bse[0])
    assert statistics.clustered_standard_error([1.0, 2.0], ["a", "a"]) == 0.0


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
    found = statistics.rate_interval(events, range(total), 0.9)
    assert (found.mean, found.low, found.high) == pytest.approx((good / total, exact.low, exact.high))
    if 0 < good < total:
        twice = statistics.rate_interval(np.repeat(events, 2), np.repeat(np.arange(total), 2), 0.9)
        assert (twice.low, twice.high) == pytest.approx((exact.low, exact.high), abs=0.02)
    with pytest.raises(ValueError, match="no values"):
        statistics.rate_interval([], [], 0.9)


def test_size_for_a_rate_that_must_not_fall():
    """Discordance 0.2, margin 0.1. At the limit 16.7% are lost and 6.7% gained: (1.645 * 0.473 + 0.842 * 0.447)^2 / 0.01."""
    lost = (statistics.tango_variance(0.1, 0.1, 1.0, -0.1) + 0.1 * 1.1) / 2
    assert lost == pytest.approx(0.1671, abs=1e-4)
    # The likelihood 0.1 log l + 0.1 log(l - 0.1) + 0.8 log(1.1 - 2 l) is flat there.
    assert 0.1 / lost + 0.1 / (lost - 0.1) == pytest.approx(1.6 / (1.1 - 2 * lost))
    size = statistics.rate_sample_size(0.2, 0.1, 0.05, 0.8)
    variance = 2 * lost - 0.1 - 0.01
    assert size == math.ceil((1.644854 * variance**0.5 + 0.841621 * 0.2**0.5) ** 2 / 0.01)
    assert size == 134 > statistics.sample_size(0.2**0.5, 0.1, 0.05, 0.8)
