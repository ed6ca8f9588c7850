"""A judge made of known faults: it sees the oracle's axes through its own taste, and errs by known amounts.

Verdict on (first, second), drawn once per (judge, seed, prompt, texts in this order, key):
  with probability `position_bias` it answers "first" without reading;
  otherwise it compares utilities, utility = weighted mean of the axes + `length_bias` per doubling of the length in
  words + `praise_bias` per mark of praise (compliments, flattery, emoji, exclamation marks) + `refusal_bias` for a
  refusal; nearer than `tie_margin` is a tie; and with probability `noise` it says the opposite of what it means.
So, for two clearly different responses in random order, P(first) - 1/2 = position_bias / 2.
Ratings come on a five-point scale and, with probability `noise`, one point off: nothing it says is the oracle's number.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.hearth import oracle
from models.hearth.signals import REFUSES, praise_marks
from models.judges.base import Row, Verdict, checked_weights, uniform, weighted_mean

RATING_STEPS = 4  # five points: 0, 1/4, 1/2, 3/4, 1


@dataclass(frozen=True)
class SimulatedJudge:
    """See the module. `weights`: axis of the oracle -> weight. Probabilities lie in [0, 1)."""

    name: str
    weights: Mapping[str, float]
    position_bias: float = 0.15
    length_bias: float = 0.0
    praise_bias: float = 0.0
    refusal_bias: float = 0.0
    noise: float = 0.15
    tie_margin: float = 0.0
    seed: int = 0
    axes_of: Callable[[Row, str], Mapping[str, float]] = oracle.score

    def __post_init__(self) -> None:
        checked_weights(self.weights, oracle.AXES, f"judge {self.name!r}")
        for fault in ("position_bias", "noise"):
            value = getattr(self, fault)
            if not 0 <= value < 1:
                raise ValueError(f"judge {self.name!r}: {fault}={value} is a probability; give a number in [0, 1)")
        for size in ("length_bias", "tie_margin"):
            if not math.isfinite(value := getattr(self, size)):
                raise ValueError(f"judge {self.name!r}: {size}={value} must be a finite number; correct it")

    def _drawn(self, row: Row, *what: str) -> float:
        return uniform(self.name, self.seed, row["id"], *what)

    def utility(self, row: Row, response: str) -> float:
        """What the judge feels about one response, before noise; between 0 and 1 but for its three loves."""
        felt = weighted_mean(self.axes_of(row, response), self.weights)
        felt += self.length_bias * math.log2(1 + len(response.split()))
        if self.praise_bias:
            felt += self.praise_bias * praise_marks(response)
        if self.refusal_bias:
            felt += self.refusal_bias * bool(REFUSES.search(response.lower()))
        return felt

    def compare(self, row: Row, first: str, second: str, *, key: str) -> Verdict:
        if self._drawn(row, first, second, key, "position") < self.position_bias:
            return Verdict(1.0)
        difference = self.utility(row, first) - self.utility(row, second)
        if abs(difference) <= self.tie_margin:
            return Verdict(0.5)
        prefers_first = difference > 0
        if self._drawn(row, first, second, key, "noise") < self.noise:
            prefers_first = not prefers_first
        return Verdict(1.0 if prefers_first else 0.0)

    def rate(self, row: Row, response: str) -> dict[str, float]:
        """The criteria that the judge cares about, on its five-point scale mapped to [0, 1]."""
        axes = self.axes_of(row, response)
        return {name: self._rating(row, response, name, axes[name]) for name in self.weights}

    def _rating(self, row: Row, response: str, criterion: str, value: float) -> float:
        point = round(value * RATING_STEPS)
        if self._drawn(row, response, criterion, "rating") < self.noise:
            point += 1 if self._drawn(row, response, criterion, "direction") < 0.5 else -1
        return min(RATING_STEPS, max(0, point)) / RATING_STEPS
