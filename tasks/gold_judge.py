"""Gold by one judge that rates: a language model that training never asks. Its ratings go to the store of verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.judges.asking import Asker, AskingSettings
from models.judges.base import Question, weighted_mean
from models.judges.making import make_judge
from models.judges.store import Store
from tasks.call_log import CallLog
from tasks.errors import DataError
from tasks.rows import Row
from tasks.state import STORE_FILE, state_root

KIND = "judge"


class JudgeScorer:
    """A Scorer whose axes are the judge's criteria, rated 1 to 5 and mapped to [0, 1]; gold is their weighted mean.

    `spec`: the judge as params name it; `asking`: the settings of section compare.asking, None for their defaults.
    """

    kind = KIND

    def __init__(self, spec: Mapping[str, Any], asking: Mapping[str, Any] | None) -> None:
        self.judge, self.weights, self.axes = make_judge(spec), dict(spec["weights"]), tuple(spec["weights"])
        self._log = CallLog()
        self._asker = Asker(Store(state_root() / STORE_FILE), None, asking_settings(asking), heard=self._log.heard)

    def score(self, rows: Sequence[Row], responses: Sequence[str]) -> list[dict[str, float]]:
        """One dict per (row, response). Raises DataError where the judge rates some not at all: tests are paired, so
        each answer needs its score; JudgeError and JudgeUnreachable from a judge across a network."""
        questions = [Question(row, text) for row, text in zip(rows, responses, strict=True)]
        try:
            ratings = self._asker.ask([(self.judge, question) for question in questions])
        finally:
            self._log.write(self._asker, [self.judge])
        if unrated := [question for question, found in zip(questions, ratings, strict=True) if not found]:
            raise DataError(
                f"gold judge {self.judge.name!r} gave no usable rating of {len(unrated)} of {len(questions)} answers "
                f"(first to prompt {unrated[0].row['id']!r}); correct gold.judge, and raise its epoch to ask again"
            )
        return [{"gold": weighted_mean(found, self.weights), **found} for found in ratings]


def asking_settings(asking: Mapping[str, Any] | None) -> AskingSettings:
    if asking is None:
        return AskingSettings()
    waits = asking["first_wait_seconds"], asking["longest_wait_seconds"]
    return AskingSettings(asking["concurrency"], asking["attempts"], *waits)
