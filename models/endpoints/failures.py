"""How a call to an endpoint can fail, and what is said of it."""

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 20  # questions without an answer, one line each


def print_failures(owner: str, dropped: Mapping[str, str | None], failures: Sequence[str]) -> None:
    """Which fields of a request a server refused, and what was sent in their places; what it did not answer."""
    for name, place in dropped.items():
        instead = f"with {place} in its place" if place else "without it"
        print(f"{owner}: its server refuses {name}; it is asked {instead}")
    for failure in failures[:SHOWN]:
        print(failure)
    if more := failures[SHOWN:]:
        print(f"and {len(more)} more like these")


class EndpointError(ValueError):
    """An endpoint that cannot be asked until somebody changes something: a key, an address, a model's name. `cost` and
    `tokens`, read and written: of the call that showed it."""

    def __init__(self, message: str, cost: float = 0.0, tokens: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.cost, self.tokens = cost, tokens


class Passing(Exception):
    """One call failed in a way that may pass. `retry_after`: seconds the server asks for; `cost`: paid anyway; `busy`:
    the server has too much to do, so that nothing is said about the question; `may_be_paid`: the request was sent, and
    nobody knows what became of it; `usage`: what the server says that the call took all the same; `tokens`: read and
    written."""

    usage: Any = None

    def __init__(
        self, message: str, retry_after: float = 0.0, cost: float = 0.0, busy: bool = False, may_be_paid: bool = False,
        tokens: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.retry_after, self.cost, self.busy, self.may_be_paid = retry_after, cost, busy, may_be_paid


class Refused(Exception):
    """The server takes this request neither now nor later.

    `way_out`: what to change where it takes no other either; `status`: HTTP's; `field`: of the request, where the
    server names one; `for_its_text`: the text is too long, or not allowed; `cost`, `usage` and `tokens` as of Passing.
    """

    usage: Any = None
    may_be_paid = False

    def __init__(
        self, message: str, way_out: str, status: int, field: str | None = None, for_its_text: bool = False,
        cost: float = 0.0, tokens: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.way_out, self.status, self.field, self.for_its_text = way_out, status, field, for_its_text
        self.cost = cost
