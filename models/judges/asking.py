"""Asking many questions of several judges: once each, side by side where a judge is remote, kept as they arrive.

Three kinds of judges: those that answer at once (`Judge`), those that answer a batch (`BatchJudge`: a local model) and
those across a network (`RemoteJudge`). Answers of the last two go to the store. An answer that the store has is not
asked again, and counts against the budget as when it was paid: a run that is killed and begun anew asks what was left
out, spends no more in all, and ends in the same numbers.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from models.judges.base import Answer, Judge, Question, Verdict
from models.judges.budget import Budget
from models.judges.calls import Calls
from models.judges.store import Record, Store, answer_text, question_key

Progress = Callable[[int, int], None]
_LOOK_AHEAD = 256  # questions whose keys are looked up in the store at once


class JudgeError(ValueError):
    """A judge that cannot be asked until somebody changes something: a key, an address, a model's name."""


class JudgeUnreachable(ConnectionError):
    """A judge that did not answer although it was asked again and again; it may pass by itself."""


class Passing(Exception):
    """One call failed in a way that may pass. `retry_after`: seconds the server asks for; `cost`: paid anyway."""

    def __init__(self, message: str, retry_after: float = 0.0, cost: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after, self.cost = retry_after, cost


class Unusable(Passing):
    """The judge answered, and said nothing that answers the question; after the last attempt the answer is invalid."""

    def __init__(self, message: str, reply: "Reply") -> None:
        super().__init__(message, cost=reply.cost)
        self.reply = reply


@dataclass(frozen=True)
class Reply:
    """What one call brought: the answer, the judge's own words, tokens, and money in the currency of its prices."""

    answer: Answer
    raw: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


@runtime_checkable
class BatchJudge(Judge, Protocol):
    """A judge that is fast only when it reads many questions at once."""

    description: Mapping[str, Any]
    batch_size: int

    def answer_all(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer per question, in order."""


@runtime_checkable
class RemoteJudge(Protocol):
    """A judge across a network; `async with` opens and closes its connections."""

    name: str
    description: Mapping[str, Any]

    def worst_cost(self, question: Question) -> float:
        """More than a call can cost, in the currency of its prices."""

    async def ask(self, question: Question) -> Reply:
        """One call, not repeated. Raises Passing, Unusable or JudgeError."""

    async def __aenter__(self) -> "RemoteJudge": ...

    async def __aexit__(self, *error: object) -> None: ...


Item = tuple[Judge | RemoteJudge, Question]
Heard = Callable[[RemoteJudge, Question, Record], None]  # told of every answer that came across the network


@dataclass(frozen=True)
class AskingSettings:
    """`concurrency`: calls to one judge at a time. Before attempt n + 1 come `first_wait` * 2^(n-1) seconds, at most
    `longest_wait`, times a random number in [0.5, 1.5), and never less than the server's Retry-After."""

    concurrency: int = 16
    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0


@dataclass
class Tally:
    """What asking took. All but `latencies` and `stored` are the same for a run begun anew after a kill."""

    answered: int = 0
    unasked: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    stored: int = 0
    latencies: list[float] = field(default_factory=list)

    def add(self, record: Record, stored: bool) -> None:
        self.calls += record.calls
        self.input_tokens += record.input_tokens
        self.output_tokens += record.output_tokens
        self.cost += record.cost
        self.stored += stored
        self.latencies.append(record.latency_seconds)


class Asker:
    """Asks the judges of one pool, with one store and one budget for all they are asked."""

    def __init__(
        self,
        store: Store | None = None,
        budget: Budget | None = None,
        settings: AskingSettings = AskingSettings(),
        progress: Progress = lambda done, total: None,
        heard: Heard = lambda judge, question, record: None,
    ) -> None:
        self.store, self.budget, self.settings, self.progress = store, budget or Budget(), settings, progress
        self.heard = heard
        self.tally = Tally()

    def ask(self, items: Sequence[Item]) -> list[Answer | None]:
        """One answer per item, in order; None for what the budget left unasked.

        Raises JudgeError or JudgeUnreachable; what had arrived by then is in the store.
        """
        answers: list[Answer | None] = [None] * len(items)
        remote, batches = [], {}
        for place, (judge, question) in enumerate(items):
            if isinstance(judge, RemoteJudge):
                remote.append(place)
            elif isinstance(judge, BatchJudge):
                batches.setdefault(id(judge), []).append(place)
            else:
                answers[place] = ask_at_once(judge, question)
        for places in batches.values():
            self._ask_in_batches(items[places[0]][0], [items[place][1] for place in places], places, answers)
        if remote:
            found = _run(_Remote(self, [items[place] for place in remote]).answers())
            for place, answer in zip(remote, found, strict=True):
                answers[place] = answer
        self.tally.answered += sum(answer is not None for answer in answers)
        self.tally.unasked += sum(answer is None for answer in answers)
        return answers

    def known(self, keys: Sequence[str]) -> dict[str, Record]:
        return self.store.read(list(dict.fromkeys(keys))) if self.store else {}

    def keep(self, record: Record) -> None:
        if self.store:
            self.store.write(record)

    def _ask_in_batches(
        self, judge: BatchJudge, questions: Sequence[Question], places: Sequence[int], answers: list[Answer | None]
    ) -> None:
        """A local model's answers cost time alone: stored like the others, but outside the budget."""
        keys = [question_key(judge.description, question) for question in questions]
        records = self.known(keys)
        todo = {key: question for key, question in zip(keys, questions, strict=True) if key not in records}
        for start in range(0, len(todo), judge.batch_size):
            part = list(todo.items())[start : start + judge.batch_size]
            for (key, question), answer in zip(part, judge.answer_all([question for _, question in part]), strict=True):
                records[key] = _record(judge, key, question, answer, getattr(answer, "raw", ""), calls=1)
                self.keep(records[key])
            self.progress(min(start + judge.batch_size, len(todo)), len(todo))
        for place, key in zip(places, keys, strict=True):
            answers[place] = records[key].read()


def ask_at_once(judge: Judge, question: Question) -> Answer:
    """A verdict where the question has two responses, else ratings."""
    if question.second is None:
        return judge.rate(question.row, question.first)
    return judge.compare(question.row, question.first, question.second, key=question.key)


class _Remote:
    """One round of questions to remote judges, in their order."""

    def __init__(self, asker: Asker, items: Sequence[tuple[RemoteJudge, Question]]) -> None:
        self.asker, self.items, self.budget = asker, items, asker.budget
        self.judges = {id(judge): judge for judge, _ in items}
        self.described = {name: judge.description for name, judge in self.judges.items()}
        self.keys: list[str] = []
        self.stored: dict[str, Record] = {}
        self.found: dict[str, Answer] = {}

    async def answers(self) -> list[Answer | None]:
        self.budget.enter_loop()
        self.calls = Calls()
        self.slots = {name: asyncio.Semaphore(self.asker.settings.concurrency) for name in self.judges}
        async with AsyncExitStack() as stack:
            for judge in self.judges.values():
                await stack.enter_async_context(judge)
            try:
                await self._ask_all()
            finally:
                await self.calls.stop()
        self._look_ahead(len(self.items))  # an answer serves all questions that are the same
        return [self.found.get(key) for key in self.keys]

    async def _ask_all(self) -> None:
        """Each judge's first question goes alone: a wrong key or address costs one call, not a whole round of them."""
        window = 2 * self.asker.settings.concurrency * len(self.judges)  # those that wait for a retry hold no slot
        greeted: set[int] = set()
        async for judge, question, key, worst in self._admitted():
            if record := self.stored.get(key):
                self.budget.settle(worst, record.cost, record.calls)
                self._count(record, stored=True)
                continue
            self.calls.start(self._answer(judge, question, key, worst))
            limit = 1 if id(judge) not in greeted else window
            greeted.add(id(judge))
            await self.calls.until_fewer_than(limit)
        await self.calls.until_fewer_than(1)

    async def _admitted(self) -> AsyncIterator[tuple[RemoteJudge, Question, str, float]]:
        """The questions, each key once, for as long as the budget has room for the next one."""
        seen: set[str] = set()
        for place, (judge, question) in enumerate(self.items):
            if place == len(self.keys):
                self._look_ahead(place + _LOOK_AHEAD)
            if (key := self.keys[place]) in seen:
                continue
            seen.add(key)
            worst = judge.worst_cost(question)
            if not await self._reserve(worst):
                return
            yield judge, question, key, worst

    def _look_ahead(self, end: int) -> None:
        """The keys of the items up to `end`, and what the store has of them; in parts, while calls are under way."""
        part = self.items[len(self.keys) : end]
        keys = [question_key(self.described[id(judge)], question) for judge, question in part]
        self.keys += keys
        self.stored |= self.asker.known(keys)

    async def _reserve(self, worst: float) -> bool:
        """As Budget.reserve, but a call that fails meanwhile ends the wait."""
        if self.budget.fits(worst):  # mostly; then there is nothing to wait for
            return await self.budget.reserve(worst)
        return await self.calls.unless_one_fails(self.budget.reserve(worst))

    async def _answer(self, judge: RemoteJudge, question: Question, key: str, worst: float) -> None:
        """One question until it is answered, its attempts are used up or the budget ends; an answer is kept at once."""
        settings, calls, cost, began = self.asker.settings, 0, 0.0, 0.0
        latency = 0.0
        reserved = True  # by _admitted
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(settings.attempts), wait=_Wait(settings), reraise=True,
                retry=retry_if_exception_type(Passing),
            ):
                with attempt:
                    if not reserved and not await self.budget.reserve(worst):
                        return
                    reserved, paid, calls = False, worst, calls + 1
                    try:
                        async with self.slots[id(judge)]:
                            began = time.monotonic()
                            reply = await judge.ask(question)
                            paid = reply.cost
                    except Passing as failure:
                        paid = failure.cost
                        raise
                    finally:
                        latency = time.monotonic() - began
                        cost += paid
                        self.budget.settle(worst, paid)
        except Unusable as failure:
            reply = failure.reply
        except Passing as failure:
            raise JudgeUnreachable(
                f"judge {judge.name!r} gave no answer in {calls} attempts: {failure}; its answers are kept: run again"
            ) from None
        usage = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens, "cost": cost}
        record = _record(judge, key, question, reply.answer, reply.raw, calls=calls, latency_seconds=latency, **usage)
        self.asker.keep(record)
        self.asker.heard(judge, question, record)
        self._count(record, stored=False)

    def _count(self, record: Record, stored: bool) -> None:
        self.found[record.key] = record.read()
        self.asker.tally.add(record, stored)
        self.asker.progress(len(self.found), len(self.items))


def _record(judge: Any, key: str, question: Question, answer: Answer, raw: str, **usage: Any) -> Record:
    paired = question.second is not None
    return Record(
        key=key,
        judge=judge.name,
        prompt_id=str(question.row.get("id", "")),
        kind="compare" if paired else "rate",
        answer=answer_text(answer),
        raw=raw,
        valid=answer.valid if isinstance(answer, Verdict) else bool(answer),
        **usage,
    )


@dataclass(frozen=True)
class _Wait:
    """Seconds before the next attempt: exponential with jitter, and never less than what the server asks for."""

    settings: AskingSettings

    def __call__(self, state: RetryCallState) -> float:
        backoff = min(self.settings.longest_wait, self.settings.first_wait * 2 ** (state.attempt_number - 1))
        jittered = backoff * (0.5 + random.random())
        asked = state.outcome.exception().retry_after if state.outcome and state.outcome.failed else 0.0
        return max(jittered, asked)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end, also where a notebook's loop is already running in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
