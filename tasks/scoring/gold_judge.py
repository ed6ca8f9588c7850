"""Gold by one judge that rates: a language model that training never asks. Its ratings go to the store of verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from models.endpoints.retries import AskingSettings
from models.judges.asking import Asker
from models.judges.base import Question, Ratings, weighted_mean
from models.judges.budget import Budget
from models.judges.store import Store, question_key
from tasks.common.errors import ConfigError
from tasks.common.rows import Row
from tasks.judging.call_log import CallLog
from tasks.judging.making import make_judge
from tasks.judging.templates import with_template
from tasks.runner.state import STORE_FILE, state_root

KIND = "judge"


class JudgeScorer:
    """A Scorer whose axes are the judge's criteria, rated 1 to 5 and mapped to [0, 1]; gold is their weighted mean.

    `spec`: the judge as params name it; `asking`: the settings of section compare.asking, None for their defaults;
    `max_left_out`: share of the prompts that may lack a rating; `budget`: what all that this scorer is asked may cost,
    stored ratings included, None for no limit; `date`: what the chat template of a local judge takes for today.
    """

    kind = KIND

    def __init__(
        self, spec: Mapping[str, Any], asking: Mapping[str, Any] | None, budget: Mapping[str, Any] | None, date: str,
        max_left_out: float = 0.0,
    ) -> None:
        self.judge = make_judge(with_template(spec), date=date)
        self.weights, self.axes = dict(spec["weights"]), tuple(spec["weights"])
        self.max_left_out = max_left_out
        self._log, self._known = CallLog(), {}
        self._store, limit = Store(state_root() / STORE_FILE), Budget(**budget or {})
        self._asker = Asker(self._store, limit, AskingSettings.of(asking), heard=self._log.heard)

    def score(
        self, rows: Sequence[Row], responses: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[dict[str, float]]:
        """One dict per (row, response); a pair that was rated before is not asked, and not counted, again.

        All numbers are NaN where the judge gave no usable rating: left_out.py says what becomes of the prompt.
        Raises ConfigError where the budget ends; JudgeError and JudgeUnreachable from a judge across a network.
        """
        questions = [Question(row, text) for row, text in zip(rows, responses, strict=True)]
        keys = [question_key(self.judge.description, question) for question in questions]
        new = {key: question for key, question in zip(keys, questions, strict=True) if key not in self._known}
        try:
            ratings = self._asker.ask([(self.judge, question) for question in new.values()])
        finally:
            self._log.write(self._asker, [self.judge])
        self._check_paid(ratings)
        self._known |= dict(zip(new, ratings, strict=True))
        return [self._scores(self._known[key]) for key in keys]

    def forget_unrated(self) -> None:
        """What the judge said that could not be read is forgotten, so that another run asks for it again."""
        self._store.forget([key for key, ratings in self._known.items() if not ratings])

    def _scores(self, ratings: Ratings) -> dict[str, float]:
        if not ratings:
            return dict.fromkeys(("gold", *self.axes), math.nan)
        return {"gold": weighted_mean(ratings, self.weights), **ratings}

    def _check_paid(self, ratings: Sequence[Ratings | None]) -> None:
        if unasked := sum(rating is None for rating in ratings):
            budget = self._asker.budget
            raise ConfigError(
                f"gold.budget ended after {budget.calls} calls for {budget.cost:g}, with {unasked} of {len(ratings)} "
                f"answers not rated by gold judge {self.judge.name!r}: scores of a part would lie; ratings so far are "
                "kept and not asked again: raise max_calls or max_cost of gold.budget, which count them for each stage "
                "that asks, and run again"
            )
