"""What asking took: calls, tokens, money, seconds."""

from dataclasses import dataclass, field
from typing import Any

from models.judges.store import Record

PAID = ("calls", "input_tokens", "output_tokens", "cost")


@dataclass
class Tally:
    """All but `latencies` and `stored` are the same for a run begun anew after a kill, but for faults on the way.

    `failed`: questions that a judge's server never answered although it answered others. `lost_…`: what was
    paid for questions without an answer; `calls`, tokens and `cost` hold them as well.
    """

    answered: int = 0
    unasked: int = 0
    failed: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    lost_calls: int = 0
    lost_input_tokens: int = 0
    lost_output_tokens: int = 0
    lost_cost: float = 0.0
    stored: int = 0
    latencies: list[float] = field(default_factory=list)

    def add(self, record: Record, stored: bool) -> None:
        self._count("", record)
        self.stored += stored
        self.latencies.append(record.latency_seconds)

    def lose(self, spent: Any) -> None:
        """Calls that were paid for and brought no answer to their question: their number, tokens and cost."""
        self._count("", spent)
        self._count("lost_", spent)

    def _count(self, prefix: str, spent: Any) -> None:
        for name in PAID:
            setattr(self, prefix + name, getattr(self, prefix + name) + getattr(spent, name))
