"""Elo by hand, and its dependence on order as a number."""

import pytest

from models.ratings.elo import elo


def test_two_battles_by_hand():
    """k = 32: a gains 16 from equals; then at 1016 against 984 it was expected to win 0.5460 and loses: -17.47."""
    rows = [{"prompt_id": n, "first": "a", "second": "b", "winner": winner} for n, winner in enumerate(["a", "b"])]
    ratings = elo(rows, k=32)
    assert ratings["a"].rating == pytest.approx(1000 + 16 - 32 / (1 + 10 ** (-32 / 400)))
    assert ratings["a"].rating + ratings["b"].rating == pytest.approx(2000)


def test_the_same_battles_in_another_order_rate_differently():
    """a and b win 30 of their 60 battles each. Who won last is ahead; shuffling shows how much that matters."""
    rows = [{"prompt_id": n, "first": "a", "second": "b", "winner": "a" if n < 30 else "b"} for n in range(60)]
    early, late = elo(rows), elo(rows[::-1])
    assert early["a"].rating < 990 and late["a"].rating > 1010
    assert early["a"].low <= early["a"].rating <= early["a"].high and early["a"].spread > 15


def test_one_order_has_no_spread():
    ratings = elo([{"prompt_id": 1, "first": "a", "second": "b", "winner": "tie"}], orders=3)
    assert ratings["a"].rating == 1000 and ratings["a"].spread == 0
