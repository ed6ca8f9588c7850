"""Asking many questions of several judges: once each, side by side where a judge is remote, kept as they arrive.

Three kinds of judges: those that answer at once (`Judge`), those that answer a batch (`BatchJudge`: a local model) and
those across a network (`RemoteJudge`). Answers of the last two go to the store. An answer that the store has is not
asked again, and counts against the budget as when it was paid: a run that is killed and begun anew asks what was left
out, spends no more in all, and ends in the same numbers.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from models.endpoints.retries import AskingSettings
from models.judges.base import Answer, Judge, Question
from models.judges.budget import Budget
from models.judges.remote import JudgeError, JudgeUnreachable, Passing, Refused, RemoteJudge, Reply, Unusable
from models.judges.remote_round import answers_of
from models.judges.store import Record, Store, question_key, record_of
from models.judges.tally import Tally

__all__ = [
    "Asker", "AskingSettings", "BatchJudge", "JudgeError", "JudgeUnreachable", "Passing", "Refused", "RemoteJudge",
    "Reply", "Tally", "Unusable", "ask_at_once",
]  # fmt: skip

Progress = Callable[[int, int], None]
Item = tuple[Judge | RemoteJudge, Question]
Heard = Callable[[RemoteJudge, Question, Record], None]  # told of every answer that came across the network


@runtime_checkable
class BatchJudge(Judge, Protocol):
    """A judge that is fast only when it reads many questions at once."""

    description: Mapping[str, Any]
    batch_size: int

    def answer_all(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer per question, in order."""


class Asker:
    """Asks the judges of one pool, with one store and one budget for all they are asked.

    `failures`: one line for each question that a judge across a network refused, or never answered, although it
    answered others.
    """

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
        self.failures: list[str] = []
        self.answered_by: Counter[str] = Counter()  # judges across a network, stored answers included
        self.failed_by: Counter[str] = Counter()
        self.readable: Counter[tuple[str, str]] = Counter()  # by judge and kind of question, stored answers included
        self.unreadable: dict[tuple[str, str], list[str]] = {}  # likewise; what each reply was

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
            for place, answer in zip(remote, answers_of(self, [items[place] for place in remote]), strict=True):
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
                records[key] = record_of(judge.name, key, question, answer, getattr(answer, "raw", ""), calls=1)
                self.keep(records[key])
            self.progress(min(start + judge.batch_size, len(todo)), len(todo))
        for place, key in zip(places, keys, strict=True):
            answers[place] = records[key].read()


def ask_at_once(judge: Judge, question: Question) -> Answer:
    """A verdict where the question has two responses, else ratings."""
    if question.second is None:
        return judge.rate(question.row, question.first)
    return judge.compare(question.row, question.first, question.second, key=question.key)
