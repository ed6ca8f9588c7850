"""What asking took: calls, tokens, money, seconds."""

from dataclasses import dataclass, field

from models.judges.store import Record


@dataclass
class Tally:
    """All but `latencies` and `stored` are the same for a run begun anew after a kill, but for faults on the way.

    `failed`: questions that a judge's server never answered although it answered others. `lost_calls`, `lost_cost`:
    what was paid for questions without an answer; `calls` and `cost` hold them as well.
    """

    answered: int = 0
    unasked: int = 0
    failed: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    lost_calls: int = 0
    lost_cost: float = 0.0
    stored: int = 0
    latencies: list[float] = field(default_factory=list)

    def add(self, record: Record, stored: bool) -> None:
        self.calls += record.calls
        self.input_tokens += record.input_tokens
        self.output_tokens += record.output_tokens
        self.cost += record.cost
        self.stored += stored
        self.latencies.append(record.latency_seconds)

    def lose(self, calls: int, cost: float) -> None:
        """Calls that were paid for and brought no answer to their question."""
        self.calls += calls
        self.cost += cost
        self.lost_calls += calls
        self.lost_cost += cost
