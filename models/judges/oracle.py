"""The closed world's exact scores, as gold and as a judge without faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.hearth import oracle
from models.judges.base import Row, Verdict, checked_weights, weighted_mean


@dataclass(frozen=True)
class OracleScorer:
    """Gold on hearth rows: the weighted mean of the oracle's axes, each in [0, 1]."""

    weights: Mapping[str, float]
    kind: str = field(default="oracle", init=False)
    axes: tuple[str, ...] = field(default=tuple(oracle.AXES), init=False)

    def __post_init__(self) -> None:
        checked_weights(self.weights, oracle.AXES, "gold")

    def score(
        self, rows: Sequence[Row], responses: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[dict[str, float]]:
        scored = [dict(oracle.score(row, response)) for row, response in zip(rows, responses, strict=True)]
        return [{"gold": weighted_mean(axes, self.weights), **axes} for axes in scored]


@dataclass(frozen=True)
class OracleJudge:
    """Always right by its weights; nearer than `tie_margin` is a tie."""

    name: str
    weights: Mapping[str, float]
    tie_margin: float = 0.0

    def __post_init__(self) -> None:
        checked_weights(self.weights, oracle.AXES, f"judge {self.name!r}")

    def rate(self, row: Row, response: str) -> dict[str, float]:
        return dict(oracle.score(row, response))

    def compare(self, row: Row, first: str, second: str, *, key: str) -> Verdict:
        first_value, second_value = (weighted_mean(self.rate(row, text), self.weights) for text in (first, second))
        if abs(first_value - second_value) <= self.tie_margin:
            return Verdict(0.5)
        return Verdict(1.0 if first_value > second_value else 0.0)
