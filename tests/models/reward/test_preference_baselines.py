"""Preferring by length and by words: hand-worked pairs."""

import numpy as np

from models.reward.preference_baselines import accuracy, bag_of_words_accuracy, length_accuracy

SHORT, LONG = "yes", "yes, of course"


def test_accuracy_counts_ties_half():
    assert accuracy(np.array([1.0, -2.0, 0.0, 3.0])) == 0.625


def test_length_takes_the_direction_that_fits_in_training():
    assert length_accuracy([(LONG, SHORT)] * 3 + [(SHORT, LONG)], [(LONG, SHORT), (SHORT, LONG), (LONG, LONG)]) == 0.5
    assert length_accuracy([(SHORT, LONG)] * 3, [(SHORT, LONG)] * 4) == 1.0
    assert length_accuracy([(LONG, SHORT)] * 3, [(SHORT, LONG)] * 4) == 0.0


def test_words_that_decide_are_found_and_unknown_ones_say_nothing():
    """"kind" is always preferred, "rude" never; the rest is noise that both sides share."""
    generator = np.random.default_rng(0)
    noise = [" ".join(generator.choice(["a", "b", "c", "d"], 4)) for _ in range(60)]
    train = [(f"{text} kind", f"{text} rude") for text in noise]
    assert bag_of_words_accuracy(train, [("kind", "rude"), ("Kind!", "rude!"), ("rude kind kind", "rude kind")]) == 1.0
    assert bag_of_words_accuracy(train, [("new", "words")]) == 0.5


def test_equal_evidence_decides_nothing():
    """Two pairs prefer "x", two do not: its weight is 0, and a pair that differs in it alone is a tie."""
    train = [("x", "")] * 2 + [("", "x")] * 2
    assert bag_of_words_accuracy(train, [("x", "")]) == 0.5
    assert bag_of_words_accuracy([*train, ("x", "")], [("x", "")]) == 1.0
