"""What the verdicts of several judges on both orders say together: by their mean, or by majority."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from models.judges.base import Ratings, Verdict

Method = Literal["mean", "majority"]


@dataclass(frozen=True)
class PairVerdict:
    """The panel's verdicts on one pair (a, b): per judge, a shown first and a shown second."""

    a_first: tuple[Verdict, ...]
    a_second: tuple[Verdict, ...]
    method: Method = "mean"

    @property
    def p_a_by_order(self) -> tuple[float | None, float | None]:
        """The panel's preference for a when it was shown first, and second, over the judges that answered both times:
        one that was heard in one order only would bring its love of a position. None where there is no such judge."""
        combine = METHODS[self.method]
        both = [two for two in zip(self.a_first, self.a_second, strict=True) if two[0].valid and two[1].valid]
        return combine([first.p_first for first, _ in both]), combine([1 - second.p_first for _, second in both])

    @property
    def valid(self) -> bool:
        """At least one judge answered in both orders."""
        return None not in self.p_a_by_order

    @property
    def p_a(self) -> float:
        """Preference for a, over judges by the method, then over orders by mean: position cancels. 0.5 when invalid."""
        shown_first, shown_second = self.p_a_by_order
        if shown_first is None or shown_second is None:
            return 0.5
        return (shown_first + shown_second) / 2

    @property
    def flips(self) -> bool:
        """The panel prefers one response in one order and the other in the other: a tie, not a win."""
        return self.valid and (self.p_a_by_order[0] - 0.5) * (self.p_a_by_order[1] - 0.5) < 0

    @property
    def agrees(self) -> bool:
        """The panel names the same winner in both orders."""
        return self.valid and (self.p_a_by_order[0] - 0.5) * (self.p_a_by_order[1] - 0.5) > 0

    @property
    def criteria(self) -> dict[str, float]:
        """Criterion -> the mean preference for a, over the judges that said something of it in both orders."""
        preferences: dict[str, list[float]] = {}
        for first, second in zip(self.a_first, self.a_second, strict=True):
            for name in first.criteria.keys() & second.criteria.keys():
                preferences.setdefault(name, []).extend((first.criteria[name], 1 - second.criteria[name]))
        return {name: mean(preferences[name]) for name in sorted(preferences)}

    def of(self, judge: int) -> "PairVerdict":
        """What one judge alone said."""
        return PairVerdict((self.a_first[judge],), (self.a_second[judge],))


def decides(preference: float, tie_margin: float) -> bool:
    """Whether a preference names a winner: further than `tie_margin` from 0.5, alike on both sides."""
    return max(preference, 1 - preference) - 0.5 > tie_margin


def mean(preferences: Sequence[float]) -> float | None:
    return sum(preferences) / len(preferences) if preferences else None


def majority(preferences: Sequence[float]) -> float | None:
    """1 where more judges prefer the response than the other, 0 where fewer do, 0.5 where as many; ties abstain."""
    if not preferences:
        return None
    votes = sum((preference > 0.5) - (preference < 0.5) for preference in preferences)
    return 0.5 + 0.5 * ((votes > 0) - (votes < 0))


METHODS: Mapping[str, Callable[[Sequence[float]], float | None]] = {"mean": mean, "majority": majority}


def mean_ratings(ratings: Sequence[Ratings]) -> Ratings:
    """Criterion -> mean over the judges that rate it; empty when none does."""
    names = sorted({name for one in ratings for name in one})
    return {name: mean([one[name] for one in ratings if name in one]) for name in names}
