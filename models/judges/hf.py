"""A local causal language model as judge: no sampling, but the probability of each verdict as the next token.

For every criterion the model is asked which candidate is better; the preference is p(A) / (p(A) + p(B)) at the place
where the assistant begins to speak (a soft label). Ratings are expectations over the tokens 1 to 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from pathlib import Path
from typing import Any

import torch

from models.chat import template as chat_template
from models.judges.base import Answer, Question, Ratings, Row, Verdict, checked_weights, weighted_mean
from models.judges.template_fields import check_template
from models.judges.templates import LETTER_TEMPLATE, Template, messages
from models.lm import loading
from models.lm.batching import by_length, context_length, device_of, evaluating
from models.lm.head import logits_of
from models.lm.logprobs import join, response_states

LETTERS = ("A", "B")
POINTS = ("1", "2", "3", "4", "5")


@dataclass
class HfJudge:
    """`model` and `tokenizer` as transformers loads them; `weights`: criterion -> weight of its preference.

    A verdict is invalid where the model gives the two letters together less than `minimum_mass` probability: it did
    not answer the question; also where a question is longer than the model's context. Raises ValueError for a template
    that lacks a field, for criteria that it does not have, or a tokenizer that cannot tell the answers apart.
    """

    name: str
    model: Any
    tokenizer: Any
    weights: Mapping[str, float]
    weights_sha256: str = ""
    revision: str = ""
    epoch: int = 0
    minimum_mass: float = 0.0
    batch_size: int = 64  # questions between two writes to the store
    rows_per_batch: int = 8
    rates: bool = True
    template: Template = LETTER_TEMPLATE
    _letters: list[int] = field(init=False, repr=False)
    _points: list[int] = field(init=False, repr=False)
    _lead: list[int] = field(init=False, repr=False)  # tokens that every answer begins with

    def __post_init__(self) -> None:
        check_template(self.template, "hf", f"judge {self.name!r}")
        checked_weights(self.weights, tuple(self.template.criteria), f"judge {self.name!r}")
        self._lead, (self._letters, self._points) = self._first_ids(LETTERS, POINTS)

    @classmethod
    def load(
        cls, name: str, path: Path, weights: Mapping[str, float], *, dtype: str = "float32", date: str | None = None,
        **more: Any,
    ) -> "HfJudge":
        """The judge in a model directory; `date` is what its chat template takes for today.

        Raises ValueError for a directory that is no causal model with a chat template.
        """
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = loading.load_policy(path, dtype=dtype).to(device)
        sha256 = loading.weights_hash(path)
        return cls(name, model, chat_template.load_tokenizer(path, date), weights, weights_sha256=sha256, **more)

    @property
    def description(self) -> dict[str, Any]:
        return {
            "kind": "hf",
            "name": self.name,
            "model": self.weights_sha256,
            "dtype": str(self.model.dtype),
            "revision": self.revision,
            "epoch": self.epoch,
            "weights": dict(self.weights),
            "minimum_mass": self.minimum_mass,
            "template": self.template.sha256,
            **chat_template.template_description(self.tokenizer),
        }

    def _first_ids(self, *kinds: Sequence[str]) -> tuple[list[int], list[list[int]]]:
        """The tokens that all answers begin with, and for each kind of answer the token with which each goes on.

        Raises ValueError where two of a kind go on alike.
        """
        question = {"role": "user", "content": "?"}
        answers = {word: self._answer_ids(question, word) for words in kinds for word in words}
        lead = commonprefix([ids[:-1] for ids in answers.values()])
        firsts = [[answers[word][len(lead)] for word in words] for words in kinds]
        for words, ids in zip(kinds, firsts, strict=True):
            if len(set(ids)) < len(ids):
                raise ValueError(
                    f"judge {self.name!r}: its tokenizer begins {' and '.join(words)} with the same token; use another "
                    "model as judge"
                )
        return lead, firsts

    def _answer_ids(self, question: Mapping[str, str], word: str) -> list[int]:
        turns = [question, {"role": "assistant", "content": word}]
        return chat_template.encode_example(self.tokenizer, turns, ended=False)[1]

    def compare(self, row: Row, first: str, second: str, *, key: str) -> Verdict:
        return self.answer_all([Question(row, first, second, key)])[0]

    def rate(self, row: Row, response: str) -> Ratings:
        return self.answer_all([Question(row, response)])[0]

    def answer_all(self, questions: Sequence[Question]) -> list[Answer]:
        """One answer per question, in order; each criterion is a prompt of its own. Ratings only if it `rates`."""
        queries = [
            (place, criterion)
            for place, question in enumerate(questions)
            if question.second is not None or self.rates
            for criterion in self.weights
        ]
        prompts = [
            chat_template.encode_prompt(self.tokenizer, messages(questions[place], [criterion], self.template))
            + self._lead
            for place, criterion in queries
        ]
        longest = context_length(self.model) - 1
        too_long = {place for (place, _), prompt in zip(queries, prompts, strict=True) if len(prompt) > longest}
        readable = [number for number, (place, _) in enumerate(queries) if place not in too_long]
        by_criterion: list[dict[str, torch.Tensor]] = [{} for _ in questions]
        for number, logprobs in zip(readable, self._next_token_logprobs([prompts[i] for i in readable]), strict=True):
            place, criterion = queries[number]
            by_criterion[place][criterion] = logprobs
        return list(map(self._answer, questions, by_criterion))

    def _next_token_logprobs(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Log-probabilities (prompts, letters and points) in nats of the tokens that can begin an answer."""
        ids = torch.tensor([*self._letters, *self._points], device=device_of(self.model))
        logprobs = torch.zeros(len(prompts), len(ids))
        with evaluating(self.model), torch.no_grad():
            for rows in by_length([len(prompt) for prompt in prompts], self.rows_per_batch):
                # The response is a filler: what is read is the distribution of the token in its place.
                batch = join([prompts[i] for i in rows], [[0]] * len(rows), device_of(self.model))
                logits = logits_of(self.model, response_states(self.model, batch))
                logprobs[rows] = torch.cat([part.log_softmax(-1)[:, ids].cpu() for part in logits])
        return logprobs

    def _answer(self, question: Question, by_criterion: Mapping[str, torch.Tensor]) -> Answer:
        letters, points = len(LETTERS), len(POINTS)
        if question.second is None:
            scale = torch.arange(points) / (points - 1)
            return {name: float(row[letters:].softmax(0) @ scale) for name, row in by_criterion.items()}
        if not by_criterion:
            return Verdict(0.5, valid=False, raw="the question is longer than the model's context")
        preferences = {name: float(row[:letters].softmax(0)[0]) for name, row in by_criterion.items()}
        masses = {name: float(row[:letters].exp().sum()) for name, row in by_criterion.items()}
        raw = ", ".join(f"{name}: p(A)={preferences[name]:.4f} mass={masses[name]:.4f}" for name in preferences)
        if min(masses.values()) < self.minimum_mass:
            return Verdict(0.5, valid=False, raw=raw)
        return Verdict(weighted_mean(preferences, self.weights), criteria=preferences, raw=raw)
