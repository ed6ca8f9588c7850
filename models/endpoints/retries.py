"""How often an endpoint is asked the same, how long between, and for how long in all."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from models.endpoints.failures import Passing

FAILURES_ALLOWED = 3
_PAUSE_SPREAD = 0.1  # of the pause: calls that were refused together must not all come back in one instant


@dataclass(frozen=True)
class AskingSettings:
    """`concurrency`: calls to one judge at a time. Before attempt n + 1 come `first_wait` * 2^(n-1) seconds, at most
    `longest_wait`, times a random number in [0.5, 1.5), and never less than what the server asks for.

    `attempts` that failed end the asking, but for those at which the server had too much to do: these go on for
    `patience` seconds. `failed_share`: of an endpoint's questions that may stay without an answer.
    """

    concurrency: int = 16
    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    patience: float = 1800.0
    failed_share: float = 0.02

    @classmethod
    def of(cls, asking: Mapping[str, Any] | None) -> "AskingSettings":
        """asking: the keys of section compare.asking; None for their defaults."""
        return cls(**{name.removesuffix("_seconds"): value for name, value in (asking or {}).items()})

    def allows(self, failed: int, questions: int) -> bool:
        """Whether so many of the questions may stay without an answer: some always may, whatever their share."""
        return failed <= FAILURES_ALLOWED + self.failed_share * questions


@dataclass(frozen=True)
class Wait:
    """Seconds before the next attempt: exponential with jitter, and never less than what the server asks for, which is
    spread over a tenth more."""

    settings: AskingSettings

    def __call__(self, state: RetryCallState) -> float:
        doublings = min(state.attempt_number - 1, 64)  # a float has no more than 1024
        backoff = min(self.settings.longest_wait, self.settings.first_wait * 2**doublings)
        pause = state.outcome.exception().retry_after if state.outcome and state.outcome.failed else 0.0
        return max(backoff * (0.5 + random.random()), pause * (1 + _PAUSE_SPREAD * random.random()))


@dataclass
class Stop:
    """Whether asking again is of no use: the attempts are used up, or the next would come after the patience ended."""

    settings: AskingSettings
    failed: int = field(default=0, init=False)

    def __call__(self, state: RetryCallState) -> bool:
        self.failed += not state.outcome.exception().busy
        too_late = state.seconds_since_start + state.upcoming_sleep > self.settings.patience
        return self.failed >= self.settings.attempts or too_late


def attempts(settings: AskingSettings) -> AsyncRetrying:
    """The attempts at one question; what the last one raised is raised again."""
    again = retry_if_exception_type(Passing)
    return AsyncRetrying(stop=Stop(settings), wait=Wait(settings), reraise=True, retry=again)
