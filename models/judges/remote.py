"""A judge across a network: what it can be asked, what one call brings, and how a call can fail."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from models.endpoints.failures import EndpointError as JudgeError
from models.endpoints.failures import Passing, Refused
from models.judges.base import Answer, Question

__all__ = ["JudgeError", "JudgeUnreachable", "Passing", "Refused", "RemoteJudge", "Reply", "Unusable"]


class JudgeUnreachable(ConnectionError):
    """A judge that did not answer although it was asked again and again; it may pass by itself."""


class Unusable(Passing):
    """The judge answered, and said nothing that answers the question; after the last attempt the answer is invalid.

    `final`: asked the same, it would say the same.
    """

    def __init__(self, message: str, reply: "Reply", final: bool = False) -> None:
        super().__init__(message, cost=reply.cost, tokens=(reply.input_tokens, reply.output_tokens))
        self.reply, self.final = reply, final


@dataclass(frozen=True)
class Reply:
    """What one call brought: the answer, the judge's own words, tokens, and money in the currency of its prices."""

    answer: Answer
    raw: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


@runtime_checkable
class RemoteJudge(Protocol):
    """A judge across a network; `async with` opens and closes its connections."""

    name: str
    description: Mapping[str, Any]

    def worst_cost(self, question: Question) -> float:
        """More than a call can cost, in the currency of its prices."""

    async def turn(self) -> None:
        """Wait until its server may be asked again."""

    async def ask(self, question: Question, before_another: Callable[[], None]) -> Reply:
        """One call, not repeated; `before_another` is called before each further request that a server takes which
        refuses a format or a field. Raises Passing, Unusable, Refused or JudgeError."""

    async def __aenter__(self) -> "RemoteJudge": ...

    async def __aexit__(self, *error: object) -> None: ...
