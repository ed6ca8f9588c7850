"""Best-of-n from one pool: by hand, and against every subset."""

from itertools import combinations
from math import log

import numpy as np
import pytest

from models.statistics.best_of_n import best_of_n, kl_upper_bound, winners


def test_by_hand():
    """Proxy ranks gold as 3, 1, 2. n = 1: the mean, 2. n = 3: the best, 2. n = 2: pairs give 1, 2, 2."""
    assert best_of_n([[0.1, 0.5, 0.9]], [[3.0, 1.0, 2.0]])[0] == pytest.approx([2, 5 / 3, 2])


def test_equals_the_mean_over_every_subset():
    generator = np.random.default_rng(0)
    proxy, gold = generator.normal(size=(4, 6)), generator.normal(size=(4, 6))
    proxy[0, :3] = 1.0  # ties go to the earlier sample
    estimate = best_of_n(proxy, gold)
    for row in range(4):
        for n in range(1, 7):
            subsets = map(list, combinations(range(6), n))
            chosen = [gold[row, subset[int(np.argmax(proxy[row, subset]))]] for subset in subsets]
            assert estimate[row, n - 1] == pytest.approx(np.mean(chosen))


def test_winners_are_the_first_best():
    proxy = [[1.0, 3.0, 3.0], [2.0, 1.0, 5.0]]
    assert winners(proxy, 3).tolist() == [1, 2]
    assert winners(proxy, 1).tolist() == [0, 0]


def test_kl_bound():
    assert kl_upper_bound(1) == 0
    assert kl_upper_bound(16) == pytest.approx(log(16) - 15 / 16) == pytest.approx(1.835, abs=1e-3)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"proxy \(1, 2\) and gold \(1, 3\)"):
        best_of_n(np.zeros((1, 2)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="n=4 is not between 1 and the pool's 3"):
        winners(np.zeros((1, 3)), 4)
    with pytest.raises(ValueError, match="not finite"):
        winners([[float("nan"), 1.0]], 2)
