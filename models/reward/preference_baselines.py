"""What a reward model must beat: preferring by length alone, and by which words stand in a response.

A reward model that is no better has learned nothing that a word count does not know.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import optimize, sparse
from scipy.special import expit

Pair = tuple[str, str]  # (chosen, rejected) responses to one prompt
RIDGE = 1.0  # weights of words are normal with variance 1 beforehand
_WORD = re.compile(r"\w+|[^\w\s]")


def accuracy(differences: np.ndarray) -> float:
    """Share of pairs whose chosen response has the higher score; equal scores count half. `differences`: (pairs,)."""
    return float(np.mean(0.5 + 0.5 * np.sign(differences)))


def length_accuracy(train: Sequence[Pair], heldout: Sequence[Pair]) -> float:
    """Held-out accuracy of always preferring the longer response, or the shorter, whichever does better on `train`."""
    direction = 1.0 if accuracy(_length_gaps(train)) >= 0.5 else -1.0
    return accuracy(direction * _length_gaps(heldout))


def _length_gaps(pairs: Sequence[Pair]) -> np.ndarray:
    return np.array([len(chosen) - len(rejected) for chosen, rejected in pairs], dtype=np.float64)


def bag_of_words_accuracy(train: Sequence[Pair], heldout: Sequence[Pair]) -> float:
    """Held-out accuracy of Bradley-Terry on counts of words (lower case, punctuation too), with a ridge penalty."""
    words = {word for pair in train for text in pair for word in _counts(text)}
    places = {word: place for place, word in enumerate(sorted(words))}
    design = _count_gaps(train, places)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margins = design @ weights
        value = np.logaddexp(0, -margins).sum() + RIDGE * weights @ weights / 2
        return value, -(design.T @ expit(-margins)) + RIDGE * weights

    weights = optimize.minimize(loss, np.zeros(len(places)), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return accuracy(np.round(_count_gaps(heldout, places) @ weights, 9))


def _counts(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.lower()))


def _count_gaps(pairs: Sequence[Pair], places: dict[str, int]) -> sparse.csr_array:
    """Word counts of chosen less those of rejected, (pairs, words); words that are not in `places` are left out."""
    rows, columns, values = [], [], []
    for row, (chosen, rejected) in enumerate(pairs):
        gap = _counts(chosen)
        gap.subtract(_counts(rejected))
        for word, value in gap.items():
            if value and word in places:
                rows.append(row)
                columns.append(places[word])
                values.append(float(value))
    return sparse.csr_array((values, (rows, columns)), shape=(len(pairs), len(places)))
