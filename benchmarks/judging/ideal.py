"""What a server's log says about a client: how near it came to the ideal, and whether it asked anything twice. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.judging.server import Call


def useful_seconds(calls: Sequence[Call]) -> float:
    """Seconds that the server meant to take over the calls that it answered."""
    return sum(call.seconds for call in calls if call.outcome == "answered")


def ideal_seconds(calls: Sequence[Call], concurrency: int) -> float:
    """The least time in which `concurrency` calls at a time can bring the verdicts of `calls`.

    Every slot is busy from the first moment to the last with a call that brings a verdict. So everything else counts
    against a client: the calls that the server fails, the waits that it asks for, opening connections, the store, our
    first question that goes alone, and the end, when slots run empty. No client reaches 1 on a server with faults.
    """
    return useful_seconds(calls) / concurrency


def ideal_seconds_with_faults(calls: Sequence[Call], concurrency: int) -> float:
    """As `ideal_seconds`, but the calls that the server failed are work that no client could have been spared."""
    return sum(call.seconds for call in calls) / concurrency


@dataclass(frozen=True)
class Labels:
    """How often the questions were answered, as the server counted: `once` is what was asked for."""

    once: int
    missing: int
    repeated: int  # answers beyond the first to a question

    @property
    def exact(self) -> bool:
        return self.missing == self.repeated == 0


def labels(calls: Sequence[Call], questions: int) -> Labels:
    """Counts over `questions` different questions."""
    answers = Counter(call.question for call in calls if call.outcome == "answered")
    repeated = sum(count - 1 for count in answers.values())
    return Labels(sum(count == 1 for count in answers.values()), questions - len(answers), repeated)


def outcomes(calls: Sequence[Call]) -> dict[str, int]:
    """Calls by what became of them."""
    return dict(sorted(Counter(call.outcome for call in calls).items()))
