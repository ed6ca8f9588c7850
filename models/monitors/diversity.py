"""How differently a model speaks: distinct-n, expectation-adjusted distinct, self-BLEU, at equal numbers of words.

Fewer words repeat less, so numbers of two models compare only at one length: whole answers are drawn in a fixed random
order until the wanted number of words is reached, and the last one is cut there.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.monitors.text import runs, words

BLEU_ORDER = 4
WORDS, DRAWS = 2000, 5  # as evaluation measures, and the monitors by default
Tokens = list[str]


@dataclass(frozen=True)
class Diversity:
    """Numbers in [0, 1]; the first two rise with diversity, self-BLEU falls."""

    distinct: float
    adjusted_distinct: float
    self_bleu: float


def distinct(answers: Sequence[Tokens], n: int) -> float:
    """Different n-grams over all n-grams of the corpus (Li et al. 2016, arXiv:1510.03055); 0 without any."""
    grams = [gram for answer in answers for gram in runs(answer, n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def adjusted_distinct(answers: Sequence[Tokens], vocabulary: int) -> float:
    """Different words over the number expected of as many random draws from a vocabulary (EAD, arXiv:2202.13587).

    EAD = D / (V (1 − ((V − 1) / V)^C)): D different words, C words, V words in the vocabulary, which is at least D.
    """
    spoken = [word for answer in answers for word in answer]
    if not spoken:
        return 0.0
    different = len(set(spoken))
    size = max(vocabulary, different, 2)
    return different / (size * -math.expm1(len(spoken) * math.log1p(-1 / size)))


def self_bleu(answers: Sequence[Tokens]) -> float:
    """Mean BLEU-4 of each answer against all others (Zhu et al. 2018, arXiv:1802.01886); 0 for fewer than two answers.

    Modified precisions up to the answer's own length, an empty one counted as half a match (smoothing 3 of Chen and
    Cherry 2014, first step); brevity penalty by the closest length among the others, the shorter of two.
    """
    kept = [answer for answer in answers if answer]
    if len(kept) < 2:
        return 0.0
    counts = [[Counter(runs(answer, n)) for answer in kept] for n in range(1, BLEU_ORDER + 1)]
    ceilings = [_two_highest(of_order) for of_order in counts]
    lengths = sorted(len(answer) for answer in kept)
    return float(np.mean([_bleu(row, kept, counts, ceilings, lengths) for row in range(len(kept))]))


def _two_highest(counts: Sequence[Counter]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """For each n-gram: its highest count in one answer, that answer's row, and the highest count in any other."""
    highest: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for row, count in enumerate(counts):
        for run, times in count.items():
            best, owner, second = highest.get(run, (0, -1, 0))
            highest[run] = (times, row, best) if times > best else (best, owner, max(second, times))
    return highest


def _bleu(row: int, answers: Sequence[Tokens], counts: list, ceilings: list, lengths: Sequence[int]) -> float:
    size, logs = len(answers[row]), []
    for order in range(min(BLEU_ORDER, size)):
        matched = 0
        for run, times in counts[order][row].items():
            best, owner, second = ceilings[order][run]
            matched += min(times, second if owner == row else best)
        logs.append(math.log(max(matched, 0.5) / (size - order)))
    closest = _closest_other(size, lengths)
    return math.exp(min(0.0, 1 - closest / size) + sum(logs) / len(logs))


def _closest_other(size: int, lengths: Sequence[int]) -> int:
    """The length nearest to `size` among the others' lengths; `lengths` is sorted and holds `size` itself once more."""
    at = bisect_left(lengths, size)
    others = [*lengths[max(0, at - 1) : at], *lengths[at + 1 : at + 2]]
    return min(others, key=lambda length: (abs(length - size), length))


def draw(answers: Sequence[Tokens], size: int, generator: np.random.Generator) -> list[Tokens]:
    """Whole answers in random order until they hold `size` words, the last one cut; all of them where words lack."""
    drawn, left = [], size
    for place in generator.permutation(len(answers)):
        if left <= 0:
            break
        drawn.append(answers[place][:left])
        left -= len(drawn[-1])
    return drawn


def _samples(responses: Sequence[str], size: int, draws: int, seed: int) -> list[list[Tokens]]:
    answers, generator = [words(response) for response in responses], np.random.default_rng(seed)
    return [draw(answers, size, generator) for _ in range(draws)]


def distinct_2(responses: Sequence[str], size: int, seed: int) -> float:
    """Different pairs of words over all, on `size` words: the `distinct` of `measure`, by itself."""
    return float(np.mean([distinct(sample, 2) for sample in _samples(responses, size, DRAWS, seed)]))


def measure(responses: Sequence[str], size: int, *, vocabulary: int, draws: int, seed: int) -> Diversity:
    """Means over `draws` random samples of `size` words each. Give two models the same `size`: see `shared_size`.

    distinct is distinct-2. Raises ValueError when `size` or `draws` is below 1.
    """
    if size < 1 or draws < 1:
        raise ValueError(f"size={size} and draws={draws} must be at least 1; raise them, or leave diversity out")
    readings = [
        (distinct(sample, 2), adjusted_distinct(sample, vocabulary), self_bleu(sample))
        for sample in _samples(responses, size, draws, seed)
    ]
    return Diversity(*(float(np.mean(column)) for column in zip(*readings, strict=True)))


def shared_size(tables: Sequence[Sequence[str]], limit: int) -> int:
    """The most words that every table of responses can give, at most `limit`."""
    return min(limit, *(sum(len(words(response)) for response in table) for table in tables))
