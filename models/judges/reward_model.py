"""A reward model as gold, where there is no oracle (trained on pairs that the proxy never saw), and as a judge."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from models.chat import template as chat_template
from models.judges.base import Answer, Question, Ratings, Row, Verdict
from models.reward.model import load_reward_model
from models.reward.scoring import score


@dataclass(frozen=True)
class RewardModelScorer:
    """Scores texts by a sequence-classification model; the only value is "gold", in the model's own unit (logits)."""

    model: Any
    tokenizer: Any
    rows_per_batch: int = 64
    kind: str = field(default="reward_model", init=False)
    axes: tuple[str, ...] = field(default=(), init=False)

    @classmethod
    def load(
        cls, path: Path, base: Path | None = None, rows_per_batch: int = 64, date: str | None = None
    ) -> "RewardModelScorer":
        """date: what chat templates take for today; None: the day it is."""
        model = load_reward_model(path, base=base)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return cls(model.to(device), chat_template.load_tokenizer(path, date), rows_per_batch)

    def score(
        self, rows: Sequence[Row], responses: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[dict[str, float]]:
        return [{"gold": value} for value in self.values(rows, responses, finished)]

    def values(
        self, rows: Sequence[Row], responses: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[float]:
        """One logit per (prompt, response), read at the token that ends its turn; at its last one where it was cut.

        finished: which responses end their turn; None: all do. Equal responses (by the id of the prompt) are scored
        once.
        """
        prompts = {row["id"]: row for row in rows}
        ends = [True] * len(responses) if finished is None else finished
        keys = [(row["id"], text, ended) for row, text, ended in zip(rows, responses, ends, strict=True)]
        distinct = list(dict.fromkeys(keys))
        if not distinct:
            return []
        sequences = [self.sequence(prompts[name], text, ended) for name, text, ended in distinct]
        known = dict(zip(distinct, score(self.model, sequences, self.rows_per_batch).tolist(), strict=True))
        return [known[response] for response in keys]

    def sequence(self, row: Row, text: str, ended: bool = True) -> list[int]:
        """The token ids of prompt and response, as they are scored."""
        turns = [*row["prompt"], {"role": "assistant", "content": text}]
        return list(chain(*chat_template.encode_example(self.tokenizer, turns, row.get("tools"), ended)))


@dataclass(frozen=True)
class RewardModelJudge:
    """Prefers by the difference of two rewards: sigmoid(difference / temperature), Bradley-Terry's probability at 1.

    It sees each response alone, so order cannot matter. Its ratings are one criterion, `reward`, through the same
    sigmoid: 0.5 at a reward of 0.
    """

    name: str
    scorer: RewardModelScorer
    description: Mapping[str, Any]
    temperature: float = 1.0
    batch_size: int = 512  # questions between two writes to the store

    def compare(self, row: Row, first: str, second: str, *, key: str) -> Verdict:
        return self.answer_all([Question(row, first, second, key)])[0]

    def rate(self, row: Row, response: str) -> Ratings:
        return self.answer_all([Question(row, response)])[0]

    def answer_all(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer per question, in order; a response that stands in several is scored once."""
        texts = [
            (question.row, text, finished)
            for question in questions
            for text, finished in zip((question.first, question.second), question.finished, strict=True)
            if text is not None
        ]
        values = iter(self.scorer.values(*map(list, zip(*texts, strict=True))) if texts else ())
        return [
            self._rating(next(values)) if question.second is None else self._verdict(next(values), next(values))
            for question in questions
        ]

    def _rating(self, value: float) -> Ratings:
        return {"reward": _sigmoid(value / self.temperature)}

    def _verdict(self, first: float, second: float) -> Verdict:
        return Verdict(_sigmoid((first - second) / self.temperature), raw=f"{first:.6g} against {second:.6g}")


def _sigmoid(value: float) -> float:
    return 0.5 * (1 + math.tanh(value / 2))
