"""How often a judge across a network is asked the same, and how long between."""

import random
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from models.judges.remote import Passing

LONGEST_PAUSE = 300.0  # seconds; a server that asks for more is asked again by another run
_PAUSE_SPREAD = 0.1  # of the pause: calls that were refused together must not all come back in one instant


@dataclass(frozen=True)
class AskingSettings:
    """`concurrency`: calls to one judge at a time. Before attempt n + 1 come `first_wait` * 2^(n-1) seconds, at most
    `longest_wait`, times a random number in [0.5, 1.5), and never less than the server's Retry-After."""

    concurrency: int = 16
    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0


@dataclass(frozen=True)
class Wait:
    """Seconds before the next attempt: exponential with jitter, and never less than what the server asks for, which is
    spread over a tenth more."""

    settings: AskingSettings

    def __call__(self, state: RetryCallState) -> float:
        backoff = min(self.settings.longest_wait, self.settings.first_wait * 2 ** (state.attempt_number - 1))
        asked = state.outcome.exception().retry_after if state.outcome and state.outcome.failed else 0.0
        return max(backoff * (0.5 + random.random()), asked * (1 + _PAUSE_SPREAD * random.random()))


def attempts(settings: AskingSettings) -> AsyncRetrying:
    """The attempts at one question; what the last one raised is raised again."""
    again = retry_if_exception(lambda error: isinstance(error, Passing) and error.retry_after <= LONGEST_PAUSE)
    return AsyncRetrying(stop=stop_after_attempt(settings.attempts), wait=Wait(settings), reraise=True, retry=again)
