"""What a server's log says about a client: how near it came to the ideal, and whether it asked anything twice. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.judging.server import Call


def ideal_seconds(calls: Sequence[Call], concurrency: int) -> float:
    """The least time in which a client with `concurrency` calls at a time can have the verdicts of `calls`.

    From the first moment to the last every slot is busy with a call that this server made necessary: the first answer
    to each question, and each call that the server chose to fail, at the latency that it drew for it. So against a
    client count the waits between attempts (also those that the server asks for), answers asked for twice, its own
    work before, between and after calls, opening connections, the store, our first question that goes alone, and the
    end, when slots run empty.
    """
    return sum(call.seconds for call in _necessary(calls)) / concurrency


def faultless_seconds(calls: Sequence[Call], concurrency: int) -> float:
    """As `ideal_seconds` on a server without faults: the calls that failed count against the client as well, although
    no client could have been spared them."""
    return sum(call.seconds for call in _necessary(calls) if call.outcome == "answered") / concurrency


def _necessary(calls: Sequence[Call]) -> Iterator[Call]:
    answered: set[str] = set()
    for call in calls:
        if call.question not in answered:
            yield call
        if call.outcome == "answered":
            answered.add(call.question)


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
