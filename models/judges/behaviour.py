"""What judges do, whoever is right, in counts that add up: the rates of the comparisons and of the judge card.

A *call* is one verdict on one order; a *pair* has both. Each rate is a part of a whole: of the pairs that have a valid
verdict on both orders, of all calls, of the calls that name a response, or of those of them on texts of other lengths.
"""

from collections.abc import Iterable, Iterator, Mapping

from models.judges.base import Verdict
from models.judges.panel import PairVerdict, decides

RATES = ("swap_flip_rate", "tie_rate", "agreement_rate", "invalid_rate", "prefers_first", "prefers_longer")
Counts = Mapping[str, tuple[int, int]]  # rate -> (part, whole)


def outcome(verdict: PairVerdict, tie_margin: float) -> str:
    """invalid, flip, tie or kept: why a pair trains nothing, or that it does."""
    if not verdict.valid:
        return "invalid"
    if verdict.flips:
        return "flip"
    return "kept" if decides(verdict.p_a, tie_margin) else "tie"


def behaviour_counts(verdict: PairVerdict, a: str, b: str, tie_margin: float) -> Counts:
    """Of one pair of the texts a and b; the longer is the one with more words.

    Of pairs `swap_flip_rate`, `tie_rate` and `agreement_rate` (the same winner in both orders), of calls
    `invalid_rate`, `prefers_first` and `prefers_longer`.
    """
    result, valid = outcome(verdict, tie_margin), int(verdict.valid)
    calls = list(_calls(verdict, len(a.split()) - len(b.split())))
    decided = [(call.winner == "first", longer) for call, longer in calls if call.winner in ("first", "second")]
    telling = [first == (longer > 0) for first, longer in decided if longer != 0]
    return {
        "swap_flip_rate": (int(result == "flip"), valid),
        "tie_rate": (int(result == "tie"), valid),
        "agreement_rate": (int(verdict.agrees), valid),
        "invalid_rate": (sum(not call.valid for call, _ in calls), len(calls)),
        "prefers_first": (sum(first for first, _ in decided), len(decided)),
        "prefers_longer": (sum(telling), len(telling)),
    }


def _calls(verdict: PairVerdict, longer: int) -> Iterator[tuple[Verdict, int]]:
    """Each call with how many words the response shown first is longer than the other."""
    yield from ((call, longer) for call in verdict.a_first)
    yield from ((call, -longer) for call in verdict.a_second)


def rates(pairs: Iterable[Counts]) -> dict[str, float]:
    """Sum of parts over sum of wholes; a rate whose whole is empty says nothing and is left out."""
    sums: dict[str, list[int]] = {}
    for pair in pairs:
        for name, (part, whole) in pair.items():
            totals = sums.setdefault(name, [0, 0])
            totals[0], totals[1] = totals[0] + part, totals[1] + whole
    return {name: part / whole for name, (part, whole) in sums.items() if whole}
