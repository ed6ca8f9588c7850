"""Several judges asked in both orders, and what their verdicts say together."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.judges.base import Judge, Row, Verdict


@dataclass(frozen=True)
class PairVerdict:
    """The pool's verdicts on one pair (a, b): per judge, a shown first and a shown second."""

    a_first: tuple[Verdict, ...]
    a_second: tuple[Verdict, ...]

    @property
    def p_a_by_order(self) -> tuple[float | None, float | None]:
        """Mean preference for a when it was shown first, and second; None where no verdict was valid."""
        return (
            _mean([verdict.p_first for verdict in self.a_first if verdict.valid]),
            _mean([1 - verdict.p_first for verdict in self.a_second if verdict.valid]),
        )

    @property
    def valid(self) -> bool:
        """Both orders were answered by at least one judge."""
        return None not in self.p_a_by_order

    @property
    def p_a(self) -> float:
        """Preference for a, averaged over judges and then over orders, so that position cancels. 0.5 when invalid."""
        shown_first, shown_second = self.p_a_by_order
        if shown_first is None or shown_second is None:
            return 0.5
        return (shown_first + shown_second) / 2

    @property
    def flips(self) -> bool:
        """The pool prefers one response in one order and the other in the other: a tie, not a win."""
        return self.valid and (self.p_a_by_order[0] - 0.5) * (self.p_a_by_order[1] - 0.5) < 0

    @property
    def agrees(self) -> bool:
        """The pool names the same winner in both orders."""
        return self.valid and (self.p_a_by_order[0] - 0.5) * (self.p_a_by_order[1] - 0.5) > 0


def ask_both_orders(judges: Sequence[Judge], row: Row, a: str, b: str, *, key: str) -> PairVerdict:
    """Every judge on (a, b) and on (b, a): 2 * len(judges) calls."""
    return PairVerdict(
        a_first=tuple(judge.compare(row, a, b, key=key) for judge in judges),
        a_second=tuple(judge.compare(row, b, a, key=key) for judge in judges),
    )


def mean_ratings(judges: Sequence[Judge], row: Row, response: str) -> dict[str, float]:
    """Criterion -> mean over the judges that rate it; empty when none does."""
    collected: dict[str, list[float]] = {}
    for judge in judges:
        for criterion, value in judge.rate(row, response).items():
            collected.setdefault(criterion, []).append(value)
    return {criterion: sum(values) / len(values) for criterion, values in sorted(collected.items())}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
