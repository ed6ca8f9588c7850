"""Gao et al.'s curves by hand and from simulations with known coefficients; best-of-n's KL against enumeration."""

import math

import numpy as np
import pytest

from models.statistics.best_of_n import kl_upper_bound
from models.statistics.overoptimisation import best_of_n_kls, chosen_kl, distinct_kls, fit_curve, peak

DISTANCES = np.array([0.5, 1.0, 1.5, 2.0, 3.0])


def test_best_of_n_curve_by_hand():
    """R(d) = d (2 - d/2): 0.875, 1.5, 1.875, 2, 1.5; highest at d = 2 / (2 * 0.5) = 2."""
    curve = fit_curve("best_of_n", DISTANCES**2, [0.875, 1.5, 1.875, 2.0, 1.5])
    assert (curve.alpha, curve.beta, curve.peak) == pytest.approx((2.0, 0.5, 2.0))


def test_rl_curve_by_hand():
    """R(d) = d (2 - log d): R(1) = 2, R(e) = e, R(e²) = 0; highest at d = e."""
    points = np.array([1.0, math.e, math.e**2, 0.5, 2.0])
    gains = [2.0, math.e, 0.0, 0.5 * (2 + math.log(2)), 2 * (2 - math.log(2))]
    curve = fit_curve("rl", points**2, gains)
    assert (curve.alpha, curve.beta, curve.peak) == pytest.approx((2.0, 1.0, math.e))


@pytest.mark.parametrize(
    ("form", "alpha", "beta"),
    [("best_of_n", 1.0, -0.1), ("best_of_n", -1.0, 0.1), ("rl", 1.0, 0.0), ("rl", 900.0, 1.0)],
)
def test_a_curve_without_a_highest_point(form, alpha, beta):
    assert peak(form, alpha, beta) is None


def test_fewer_than_five_different_kls_are_not_fitted():
    assert distinct_kls([0.0, -0.1, 1.0, 1.0, 1.0004, 2.0, 3.0, 4.0]) == 4
    assert fit_curve("rl", [0.0, 1.0, 1.0, 2.0, 3.0, 4.0], [0.0] * 6) is None
    assert fit_curve("rl", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 6) is not None


def test_noise_around_zero_is_left_out_of_the_fit():
    with_noise = fit_curve("rl", [-0.2, 0.0, *DISTANCES**2], [9.0, 9.0, *DISTANCES])
    assert (with_noise.alpha, with_noise.beta) == pytest.approx((1.0, 0.0), abs=1e-12)


def test_bad_points_are_named():
    with pytest.raises(ValueError, match=r"kl \(2,\) and gain \(3,\)"):
        fit_curve("rl", [1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="not finite"):
        fit_curve("rl", [1.0, math.nan], [1.0, 2.0])


@pytest.mark.parametrize("form", ["best_of_n", "rl"])
def test_intervals_cover_the_true_coefficients(form):
    """150 data sets of 80 prompts whose gains share a prompt's own luck; 95% intervals over prompts."""
    alpha, beta = 1.0, 0.3
    bend = DISTANCES if form == "best_of_n" else np.log(DISTANCES)
    truth = DISTANCES * (alpha - beta * bend)
    generator, covered = np.random.default_rng(0), np.zeros(2)
    for _ in range(150):
        luck = generator.normal(size=(80, 1)) * DISTANCES
        gains = truth + luck + generator.normal(scale=0.5, size=(80, len(DISTANCES)))
        curve = fit_curve(form, DISTANCES**2, gains.mean(axis=0), gains, np.arange(80))
        intervals = (curve.alpha_interval, curve.beta_interval)
        covered += [low <= value <= high for value, (low, high) in zip((alpha, beta), intervals, strict=True)]
    assert (covered / 150 > 0.89).all() and (covered / 150 < 0.99).all()


def test_chosen_kl_by_hand():
    """ε = 1/2, n = 2: 1/4 (log 2 + log 1/2 - 1/2) + 3/4 log(3/2) = -1/8 + 0.75 log 1.5."""
    assert chosen_kl(np.log(0.5), 2) == pytest.approx(-1 / 8 + 0.75 * math.log(1.5))


def test_chosen_kl_at_its_ends():
    """A rare answer gives the classic bound, a certain one nothing; one sample is the policy itself."""
    assert chosen_kl(np.array([-40.0, -800.0]), 16) == pytest.approx([kl_upper_bound(16)] * 2)
    assert chosen_kl(np.array([0.0]), 16) == pytest.approx([0.0])
    assert chosen_kl(np.array([-0.1, -3.0]), 1) == pytest.approx([0.0, 0.0], abs=1e-12)


@pytest.mark.parametrize("n", [2, 4, 16])
@pytest.mark.parametrize(("outcomes", "concentration"), [(2, 1.0), (5, 1.0), (20, 0.3), (200, 0.1)])
def test_the_estimate_lies_between_the_true_kl_and_the_bound(n, outcomes, concentration):
    """By enumeration: answers ranked by reward have P(best is i) = F(i)^n - F(i-1)^n."""
    generator = np.random.default_rng(outcomes)
    for _ in range(20):
        policy = generator.dirichlet(np.full(outcomes, concentration)) + 1e-9
        policy /= policy.sum()
        below = np.cumsum(policy)
        best = below**n - (below - policy) ** n
        shown = best > 0
        true = float((best[shown] * np.log(best[shown] / policy[shown])).sum())
        estimate = float((best * chosen_kl(np.log(policy), n)).sum())
        assert true - 1e-9 <= estimate <= kl_upper_bound(n) + 1e-9


def test_the_pool_gives_every_n_at_once():
    """Three samples with proxies 1 < 2 < 3: best of 3 is the third, best of 2 the third in two of three, of 1 any."""
    proxy, logprob = np.array([[1.0, 2.0, 3.0]]), np.log([[0.2, 0.5, 0.3]])
    second = chosen_kl(logprob[0], 2)
    expected = [0.0, (second[1] + 2 * second[2]) / 3, chosen_kl(logprob[0, 2], 3)]
    assert best_of_n_kls(proxy, logprob)[0] == pytest.approx(expected, abs=1e-12)


def test_the_pool_estimate_is_unbiased():
    """Pools drawn from five answers: the mean over 4,000 pools of 8 is the expectation over chosen answers."""
    generator, policy, n = np.random.default_rng(3), np.array([0.4, 0.3, 0.15, 0.1, 0.05]), 4
    drawn = generator.choice(5, size=(4000, 8), p=policy)
    below = np.cumsum(policy)
    expected = float(((below**n - (below - policy) ** n) * chosen_kl(np.log(policy), n)).sum())
    estimates = best_of_n_kls(drawn.astype(float), np.log(policy)[drawn])[:, n - 1]
    assert estimates.mean() == pytest.approx(expected, rel=0.02)
