"""What a judge and a gold scorer are: the two interfaces everything after SFT stands on."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Row = Mapping[str, Any]
Ratings = dict[str, float]  # criterion -> rating in [0, 1]
Winner = Literal["first", "second", "tie", "invalid"]


@dataclass(frozen=True)
class Verdict:
    """One answer of one judge to one order: `p_first` in [0, 1] is the preference for the response shown first.

    `valid` is False when the judge gave no usable answer; `p_first` is then 0.5 and must not be counted. `criteria`:
    the same preference per criterion, where the judge was asked for it. `raw`: what the judge said, word for word.
    """

    p_first: float
    valid: bool = True
    criteria: Mapping[str, float] = field(default_factory=dict, hash=False)
    raw: str = ""

    @property
    def winner(self) -> Winner:
        if not self.valid:
            return "invalid"
        if self.p_first == 0.5:
            return "tie"
        return "first" if self.p_first > 0.5 else "second"


@dataclass(frozen=True, eq=False)
class Question:
    """One question to one judge: is `first` better than `second`, shown in this order; without `second`, a rating.

    `key` tells repeated questions apart for judges that toss coins. `finished`: whether `first` and `second` end their
    turn, or were cut at the longest answer; texts do not show it, a reward model reads it.
    """

    row: Row
    first: str
    second: str | None = None
    key: str = ""
    finished: tuple[bool, bool] = (True, True)


Answer = Verdict | Ratings  # a verdict on a pair, ratings of one response (empty: none given)


class Judge(Protocol):
    """Compares two responses to a prompt, or rates one. A judge is a pure function of its settings and arguments."""

    name: str

    def compare(self, row: Row, first: str, second: str, *, key: str) -> Verdict:
        """The verdict on `first` against `second`, in this order. `key` tells repeated questions apart."""

    def rate(self, row: Row, response: str) -> dict[str, float]:
        """Criterion -> rating in [0, 1]; empty for a judge that only compares."""


class Scorer(Protocol):
    """Gold: scores that training never sees. Each dict holds "gold" and one value per name in `axes`."""

    kind: str
    axes: tuple[str, ...]

    def score(
        self, rows: Sequence[Row], responses: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[dict[str, float]]:
        """One dict per (row, response) pair, in order. `finished`: which responses end their turn; None: all do."""


def uniform(*parts: str | int) -> float:
    """A number in [0, 1) that is a pure function of `parts`: the same on every machine, in any order of calls."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def weighted_mean(ratings: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Mean of `ratings` under `weights`, over the criteria that have a weight.

    Raises ValueError when a weighted criterion has no rating.
    """
    missing = sorted(set(weights) - set(ratings))
    if missing:
        rated = ", ".join(sorted(ratings))
        raise ValueError(f"no rating for {', '.join(missing)}; rated are {rated}: correct the weights")
    return sum(weight * ratings[name] for name, weight in weights.items()) / sum(weights.values())


def checked_weights(weights: Mapping[str, float], known: Sequence[str], owner: str) -> dict[str, float]:
    """`weights` as a plain dict. Raises ValueError for an unknown axis, a weight that is negative or no number, or a
    sum of zero."""
    unknown = sorted(set(weights) - set(known))
    if unknown:
        raise ValueError(f"{owner}: unknown criteria {', '.join(unknown)}; known are {', '.join(known)}")
    if not all(0 <= weight < math.inf for weight in weights.values()) or sum(weights.values()) <= 0:
        raise ValueError(f"{owner}: weights {dict(weights)} must be numbers of 0 or more, with a positive sum")
    return dict(weights)
