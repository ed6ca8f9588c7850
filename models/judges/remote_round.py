"""One round of questions to judges across a network: side by side, each once, kept as they arrive."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.endpoints.endpoint import run
from models.endpoints.retries import FAILURES_ALLOWED, attempts
from models.judges.base import Answer, Question, Verdict
from models.judges.budget import BudgetEnded
from models.judges.calls import Calls
from models.judges.remote import JudgeError, JudgeUnreachable, Passing, Refused, RemoteJudge, Reply, Unusable
from models.judges.store import KINDS, Record, kind_of, question_key, record_of
from models.judges.tally import PAID

if TYPE_CHECKING:
    from models.judges.asking import Asker

_LOOK_AHEAD = 256  # questions whose keys are looked up in the store at once
_FEW_UNREADABLE = 5  # replies; more of them than of others are a judge that cannot be read
PROBE = Question({"id": "", "prompt": [{"role": "user", "content": "Say good morning."}]}, "Good morning.", "No.")


def answers_of(asker: "Asker", items: Sequence[tuple[RemoteJudge, Question]]) -> list[Answer | None]:
    """One answer per item, in order; None for what the budget left unasked. Raises JudgeError or JudgeUnreachable."""
    return run(_Round(asker, items).answers())


@dataclass
class _Spent:
    """What one question took so far; `reserved`: a call of it is set aside in the budget."""

    calls: int = 0
    cost: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    latency: float = 0.0
    reserved: bool = True

    def read(self, input_tokens: int, output_tokens: int) -> None:
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens


class _Round:
    """The questions of one round, in their order."""

    def __init__(self, asker: "Asker", items: Sequence[tuple[RemoteJudge, Question]]) -> None:
        self.asker, self.items, self.budget = asker, items, asker.budget
        self.judges = {id(judge): judge for judge, _ in items}
        self.questions = Counter(judge.name for judge, _ in items)
        self.described = {name: judge.description for name, judge in self.judges.items()}
        self.keys: list[str] = []
        self.stored: dict[str, Record] = {}
        self.known: dict[str, Answer] = {}

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
        return [self.known.get(key) for key in self.keys]

    async def _ask_all(self) -> None:
        """Each judge's first question goes alone: a wrong key or address costs one call, not a whole round of them. A
        few go side by side until one reply can be read."""
        window = 2 * self.asker.settings.concurrency * len(self.judges)  # those that wait for a retry hold no slot
        greeted: set[int] = set()
        async for judge, question, key, worst in self._admitted():
            if record := self.stored.get(key):
                self.budget.settle(worst, record.cost, record.calls)
                self._count(judge, record, stored=True)
                continue
            self.calls.start(self._answer(judge, question, key, worst))
            was_read = any(self.asker.readable[judge.name, kind] for kind in KINDS)
            limit = 1 if id(judge) not in greeted else window if was_read else _FEW_UNREADABLE
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
        spent, answered = _Spent(), False
        try:
            reply = await self._reply(judge, question, worst, spent)
            if reply is not None:
                answered = True
                self._keep(judge, question, key, reply, spent)
        except (Passing, Refused) as failure:
            await self._leave_out(judge, question, failure, spent.calls)
            self.known[key] = {} if question.second is None else Verdict(0.5, valid=False)
        finally:
            if not answered:
                self.asker.tally.lose(spent)

    async def _reply(self, judge: RemoteJudge, question: Question, worst: float, spent: _Spent) -> Reply | None:
        """What the judge said at last; None where the budget ends before. Raises what the last attempt raised."""
        try:
            async for attempt in attempts(self.asker.settings):
                with attempt:
                    if not spent.reserved and not await self.budget.reserve(worst):
                        return None
                    try:
                        return await self._call(judge, question, worst, spent)
                    except Unusable as failure:
                        if not failure.final:
                            raise
                        return self._unreadable(judge, question, failure)
        except BudgetEnded:
            return None
        except Unusable as failure:
            return self._unreadable(judge, question, failure)

    def _unreadable(self, judge: RemoteJudge, question: Question, failure: Unusable) -> Reply:
        """The invalid answer. Raises JudgeError where most of what the judge says to such questions cannot be read."""
        kind = kind_of(question)
        replies = self.asker.unreadable.setdefault((judge.name, kind), [])
        replies.append(str(failure))
        total = len(replies) + self.asker.readable[judge.name, kind]
        if len(replies) >= _FEW_UNREADABLE and 2 * len(replies) > total:
            raise JudgeError(f"judge {judge.name!r}: {len(replies)} of {total} replies to {kind} cannot be read; "
                             f"the first: {replies[0]}")
        return failure.reply

    async def _call(self, judge: RemoteJudge, question: Question, worst: float, spent: _Spent) -> Reply:
        """One call, reserved before; what it cost is settled however it ends. Raises BudgetEnded where its server
        refuses a format or a field, and the budget has no room for another call."""
        spent.reserved, paid, calls, began = False, 0.0, 0, time.monotonic()

        def count_another() -> None:
            self.budget.call_again()
            spent.calls += 1

        try:
            async with self.slots[id(judge)]:
                await judge.turn()
                paid, calls, began = worst, 1, time.monotonic()
                reply = await judge.ask(question, count_another)
                paid = reply.cost
                spent.read(reply.input_tokens, reply.output_tokens)
                return reply
        except (Passing, Refused, JudgeError) as failure:
            paid = failure.cost
            spent.read(*failure.tokens)
            raise
        except BudgetEnded:  # refused before any model read it
            paid = 0.0
            raise
        finally:
            spent.latency = time.monotonic() - began
            spent.calls += calls
            spent.cost += paid
            self.budget.settle(worst, paid, calls)

    async def _leave_out(
        self, judge: RemoteJudge, question: Question, failure: Passing | Refused, calls: int
    ) -> None:
        """Count one question as failed where it is the question that the judge's server cannot answer, or refuses: it
        answers others, and few have failed. Such an answer is invalid, and not kept: another run asks again.

        Raises JudgeUnreachable or JudgeError elsewhere.
        """
        asker = self.asker
        asker.failed_by[judge.name] += 1
        questions = max(self.questions[judge.name], asker.answered_by[judge.name])
        few = asker.settings.allows(asker.failed_by[judge.name], questions)
        if isinstance(failure, Refused):
            await self._refuse(judge, question, failure, few)
        elif failure.busy or not few or not await self._answers_another(judge, question):
            raise self._unreachable(judge, failure, calls) from None
        asker.tally.failed += 1
        refused = isinstance(failure, Refused)
        what = "refuses one for good" if refused else f"answered others, but not one in {calls} attempts"
        asker.failures.append(f"judge {judge.name!r} {what}: {failure}")

    async def _refuse(self, judge: RemoteJudge, question: Question, refusal: Refused, few: bool) -> None:
        """Raises JudgeError where it is not the question's fault: too many are refused, or a harmless one as well."""
        answered, failed = self.asker.answered_by[judge.name], self.asker.failed_by[judge.name]
        if not few:
            share = f"{FAILURES_ALLOWED} and {self.asker.settings.failed_share:g} of all (asking.failed_share)"
            raise JudgeError(f"{refusal}; so judge {judge.name!r} left {failed} questions without an answer, more than "
                             f"{share}, and answered {answered}, which are kept: {refusal.way_out}") from None
        if not answered and not await self._answers_another(judge, question):
            raise JudgeError(f"{refusal}, whatever is asked; {refusal.way_out}") from None

    def _unreachable(self, judge: RemoteJudge, failure: Passing, calls: int) -> JudgeUnreachable:
        answered, failed = self.asker.answered_by[judge.name], self.asker.failed_by[judge.name]
        patience = self.asker.settings.patience
        pause = f"; it asks for a pause of {failure.retry_after:g} s" if failure.retry_after else ""
        ended = f"{pause}, and asking.patience_seconds is {patience:g}" if failure.busy else pause
        kept = f"it answered {answered} questions, which are kept, and failed {failed}: run again"
        never = "it answered nothing yet: see that its server is up and has room, and that its address is right"
        return JudgeUnreachable(f"judge {judge.name!r} gave no answer in {calls} attempts: {failure}{ended}; "
                                f"{kept if answered else never}")

    async def _answers_another(self, judge: RemoteJudge, question: Question) -> bool:
        """Whether the judge answers a harmless question of that kind, asked once. Where the budget has no room, nothing
        is said."""
        probe = PROBE if question.second is not None else replace(PROBE, second=None)
        worst, spent = judge.worst_cost(probe), _Spent()
        if not await self.budget.reserve(worst):
            return True
        try:
            await self._call(judge, probe, worst, spent)
        except (Unusable, BudgetEnded):
            pass
        except (Passing, Refused):
            return False
        finally:
            self.asker.tally.lose(spent)
        return True

    def _keep(self, judge: RemoteJudge, question: Question, key: str, reply: Reply, spent: _Spent) -> None:
        usage = {name: getattr(spent, name) for name in PAID}
        record = record_of(judge.name, key, question, reply.answer, reply.raw, latency_seconds=spent.latency, **usage)
        self.asker.keep(record)
        self.asker.heard(judge, question, record)
        self._count(judge, record, stored=False)

    def _count(self, judge: RemoteJudge, record: Record, stored: bool) -> None:
        self.known[record.key] = record.read()
        self.asker.answered_by[judge.name] += 1
        self.asker.readable[judge.name, record.kind] += record.valid
        self.asker.tally.add(record, stored)
        self.asker.progress(len(self.known), len(self.items))
