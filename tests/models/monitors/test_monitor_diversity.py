"""Diversity by hand, and self-BLEU against a slow loop."""

import math
from collections import Counter

import numpy as np
import pytest

from models.monitors import diversity


def split(*texts):
    return [text.split() for text in texts]


def test_distinct_by_hand():
    """Word pairs: ab, ba, ac; then ab. Three different ones of four."""
    assert diversity.distinct(split("a b a c", "a b"), 2) == 0.75
    assert diversity.distinct(split("a"), 2) == 0.0


def test_adjusted_distinct_by_hand():
    """3 different words of 4, of a vocabulary of 10: 3 / (10 (1 - 0.9^4)) = 0.8723."""
    assert diversity.adjusted_distinct(split("a b a c"), 10) == pytest.approx(3 / (10 * (1 - 0.9**4)))
    assert diversity.adjusted_distinct([], 10) == 0.0


def test_adjusted_distinct_of_random_words_is_one_at_any_length():
    """What it is for: words drawn at random score 1 however many, while distinct-1 falls."""
    generator = np.random.default_rng(0)
    for size in (500, 20_000):
        drawn = [[str(word) for word in generator.integers(0, 2000, size)]]
        assert diversity.adjusted_distinct(drawn, 2000) == pytest.approx(1.0, abs=0.05)


def test_self_bleu_by_hand():
    """Each against the other: precisions 3/4, 2/3, 1/2 and half of one: their geometric mean is 0.125^(1/4)."""
    assert diversity.self_bleu(split("a b c d", "a b c e")) == pytest.approx(0.125**0.25)


def test_self_bleu_pays_for_brevity():
    """The short one: 1 and 1, times exp(1 - 4/2). The long one: 2/4, 1/3, 0.5/2, 0.5/1, no penalty."""
    expected = (math.exp(-1) + (2 / 4 * 1 / 3 * 0.5 / 2 * 0.5) ** 0.25) / 2
    assert diversity.self_bleu(split("a b", "a b c d")) == pytest.approx(expected)


def test_self_bleu_ends():
    assert diversity.self_bleu(split("a b c d e", "a b c d e", "a b c d e")) == pytest.approx(1.0)
    assert diversity.self_bleu(split("a b c d")) == 0.0


def slow_bleu(row, answers):
    own_words, others = answers[row], [answer for place, answer in enumerate(answers) if place != row]
    logs = []
    for n in range(1, min(4, len(own_words)) + 1):
        own = Counter(tuple(own_words[at : at + n]) for at in range(len(own_words) - n + 1))
        best = Counter()
        for other in others:
            best |= Counter(tuple(other[at : at + n]) for at in range(len(other) - n + 1))
        matched = sum((own & best).values())
        logs.append(math.log((matched or 0.5) / sum(own.values())))
    closest = min((abs(len(other) - len(own_words)), len(other)) for other in others)[1]
    return min(1.0, math.exp(1 - closest / len(own_words))) * math.exp(sum(logs) / len(logs))


def test_self_bleu_equals_the_slow_loop():
    generator = np.random.default_rng(1)
    answers = [[str(word) for word in generator.integers(0, 6, generator.integers(1, 12))] for _ in range(40)]
    expected = np.mean([slow_bleu(row, answers) for row in range(40)])
    assert diversity.self_bleu(answers) == pytest.approx(expected)


def test_samples_hold_the_same_number_of_words():
    answers = split("a b c", "d e", "f g h i j", "k")
    for seed in range(5):
        drawn = diversity.draw(answers, 7, np.random.default_rng(seed))
        assert sum(map(len, drawn)) == 7
    assert sum(map(len, diversity.draw(answers, 99, np.random.default_rng(0)))) == 11
    assert diversity.shared_size([["a b c"], ["d e f g"]], 100) == 3
    assert diversity.shared_size([["a b c"], ["d e f g"]], 2) == 2


def test_longer_answers_are_not_less_diverse():
    """Twice as many words of the same kind: at equal numbers of words the same diversity, on the whole corpus less."""
    generator = np.random.default_rng(2)
    short, long = ([" ".join(map(str, generator.integers(0, 60, size))) for _ in range(200)] for size in (10, 20))
    size = diversity.shared_size([short, long], 10_000)
    settings = {"vocabulary": 1000, "draws": 3, "seed": 0}
    equal = [diversity.measure(texts, size, **settings).distinct for texts in (short, long)]
    assert equal[1] == pytest.approx(equal[0], rel=0.06)
    whole = [diversity.distinct([text.split() for text in texts], 2) for texts in (short, long)]
    assert whole[1] < 0.8 * whole[0]


def test_measure_is_seeded_and_refuses_nothing():
    texts = ["a b c d e f", "a b c x y z", "q r s t u v"]
    first = diversity.measure(texts, 9, vocabulary=100, draws=2, seed=3)
    assert first == diversity.measure(texts, 9, vocabulary=100, draws=2, seed=3)
    with pytest.raises(ValueError, match="size=0 and draws=2 must be at least 1"):
        diversity.measure(texts, 0, vocabulary=100, draws=2, seed=3)
