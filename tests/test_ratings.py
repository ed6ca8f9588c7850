"""Bradley–Terry against statsmodels, by hand, and on players that never lost."""

import math

import numpy as np
import pytest
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from models.ratings import bradley_terry


def test_two_players_by_hand():
    """a wins 3 of 4 shown first and 3 of 4 shown second: strength gap log 3, no order effect."""
    ratings = bradley_terry(["a"] * 4 + ["b"] * 4, ["b"] * 4 + ["a"] * 4, [1, 1, 1, 0, 0, 0, 0, 1])
    assert ratings.strengths["a"] - ratings.strengths["b"] == pytest.approx(math.log(3), abs=1e-3)
    assert ratings.order_effect == pytest.approx(0, abs=1e-4) and ratings.unbeaten == ()
    assert ratings.expected("a", "b") == pytest.approx(0.75, abs=1e-3)


def test_first_always_wins_half_the_more():
    """Equal players, the one shown first wins 3 of 4: order effect log 3."""
    ratings = bradley_terry(["a"] * 4 + ["b"] * 4, ["b"] * 4 + ["a"] * 4, [1, 1, 1, 0] * 2)
    assert ratings.order_effect == pytest.approx(math.log(3), abs=1e-3)
    assert ratings.strengths == pytest.approx({"a": 0, "b": 0}, abs=1e-3)


def test_agrees_with_statsmodels_and_recovers_the_truth():
    generator, truth = np.random.default_rng(0), np.array([-1.0, -0.3, 0.2, 1.1])
    left = generator.integers(0, 4, 4000)
    right = (left + generator.integers(1, 4, 4000)) % 4
    won = (generator.random(4000) < 1 / (1 + np.exp(-(truth[left] - truth[right] + 0.4)))).astype(float)
    names = np.array(list("abcd"))
    ratings = bradley_terry(names[left], names[right], won)
    design = np.zeros((4000, 4))
    for column in range(1, 4):
        design[:, column - 1] = (left == column).astype(float) - (right == column)
    design[:, 3] = 1
    peer = GLM(won, design, family=Binomial()).fit().params
    ours = np.array(list(ratings.strengths.values()))
    assert ours[1:] - ours[0] == pytest.approx(peer[:3], abs=1e-3)
    assert ratings.order_effect == pytest.approx(peer[3], abs=1e-3) == pytest.approx(0.4, abs=0.15)
    assert ours == pytest.approx(truth - truth.mean(), abs=0.15)


def test_a_player_that_never_lost_is_finite_and_flagged():
    ratings = bradley_terry(["a", "b", "c", "c"], ["b", "a", "b", "b"], [1, 0, 1, 0])
    assert ratings.unbeaten == ("a",) and math.isfinite(ratings.strengths["a"])
    assert ratings.strengths["a"] == max(ratings.strengths.values())


@pytest.mark.parametrize(
    ("battles", "message"),
    [
        (([], [], []), "at least one battle"),
        ((["a"], ["b"], [1.2]), "battle 0 has outcome 1.2"),
        ((["a"], ["b"], [float("nan")]), "outcome nan"),
        ((["a"], ["a"], [1.0]), "'a' against itself"),
    ],
)
def test_refusals(battles, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry(*battles)
