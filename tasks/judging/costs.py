"""How often judges across a network would be asked, and for how much, before anything is sampled: upper bounds.

Calls are prompts times ratings, pairs and orders, as `compare` and gold ask them; filters, equal answers and answers
that the store has make them fewer, and retries more. Money is tokens times price: of a call's words so many characters
a token, of each answer as many tokens as one may have, of the reply as many as the judge may say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.judges.base import Question
from models.judges.templates import messages
from tasks.answering.prompt_rows import has_an_answer, part_of
from tasks.common.rows import Row
from tasks.config.gold import GoldConfig
from tasks.config.judges import CallBudget, OpenAIJudgeConfig
from tasks.config.service import AnchorsConfig
from tasks.judging.anchors import read_anchors
from tasks.judging.making import make_judge
from tasks.judging.pairing import pairs_at_most, questions_of_prompt
from tasks.judging.templates import with_template
from tasks.runner.params import stage_config

CHARACTERS_PER_TOKEN = 3  # English has four and more
TOKENS_AROUND_MESSAGE = 16  # what a chat template puts around it
MODELS_EVALUATED = 4  # base, sft, dpo, ppo; best-of-n is judged with its pool
SIDES_OF_THE_GATE = 2

Rows = Mapping[str, Sequence[Row]]  # by the stem of the file that prepare writes


@dataclass(frozen=True)
class Forecast:
    """At most so many calls, for so much money in the currency of the judges' prices."""

    calls: int = 0
    cost: float = 0.0

    def __add__(self, other: Forecast) -> Forecast:
        return Forecast(self.calls + other.calls, self.cost + other.cost)

    def within(self, budget: CallBudget | None) -> Forecast:
        """What the budget leaves of it; where it ends the calls, the money goes with them."""
        if budget is None or not self.calls:
            return self
        calls = self.calls if budget.max_calls is None else min(self.calls, budget.max_calls)
        cost = self.cost * calls / self.calls
        return Forecast(calls, cost if budget.max_cost is None else min(cost, budget.max_cost))


def forecast(params: Mapping[str, Any], rows: Rows, champion: bool) -> dict[str, Forecast]:
    """By stage; stages that ask nobody across a network are left out. `champion`: whether a model is in service."""
    forecasts = {"compare": of_compare(params, rows)}
    if (gold := _gold(params)) is not None:
        rated = {"judge": of_judge_card(params, rows), "evaluate": of_evaluation(params, rows, champion)}
        rated["gate"] = of_gate(params, rows)
        forecasts |= {stage: one.within(gold.budget) for stage, one in rated.items()}
    return {stage: one for stage, one in forecasts.items() if one.calls}


def of_compare(params: Mapping[str, Any], rows: Rows) -> Forecast:
    """Ratings of every sample, and every pair in both orders, of each judge."""
    cfg, sampled = stage_config(params, "compare"), stage_config(params, "generate")
    remote = [_made(judge) for judge in cfg.judges if judge.kind == "openai"] if cfg.given != "only" else []
    if not remote or sampled.samples_per_prompt < 2:
        return Forecast()
    ratings, verdicts = questions_of_prompt(cfg, sampled.samples_per_prompt, network=True)

    def of_prompt(prompt: Row) -> Forecast:
        return _sum(
            _calls(judge, prompt, answers, sampled.max_new_tokens, count)
            for judge in remote
            for answers, count in ((1, ratings * judge.rates), (2, verdicts))
        )

    dearest = sorted((of_prompt(prompt) for prompt in rows["compare_prompts"]), key=lambda one: one.cost, reverse=True)
    return _sum(dearest[: cfg.budget.max_prompts]).within(cfg.budget)


def of_judge_card(params: Mapping[str, Any], rows: Rows) -> Forecast:
    """Gold rates every sample that stands in a pair."""
    compare, sampled = stage_config(params, "compare"), stage_config(params, "generate")
    if compare.given == "only":
        return Forecast()
    rated = min(sampled.samples_per_prompt, 2 * pairs_at_most(compare, sampled.samples_per_prompt))
    return _rated(params, rows["compare_prompts"][: compare.budget.max_prompts], sampled.max_new_tokens, rated)


def of_evaluation(params: Mapping[str, Any], rows: Rows, champion: bool) -> Forecast:
    """Gold rates the answers of every model and checkpoint, best-of-n's pool, and what was said in second turns."""
    cfg, prompts = stage_config(params, "answers"), rows["select_prompts"]
    checkpoints = sum(stage_config(params, stage).snapshots for stage in ("dpo", "ppo"))
    models, longest = MODELS_EVALUATED + champion, cfg.serving.max_new_tokens
    first = _rated(params, prompts, longest, models + checkpoints + stage_config(params, "best_of_n").n)
    doubted = [prompt for prompt in prompts if has_an_answer(prompt)] if cfg.challenge is not None else []
    # Its conversation holds the first answer, too.
    return first + _rated(params, doubted, 2 * longest, models)


def of_gate(params: Mapping[str, Any], rows: Rows) -> Forecast:
    """Gold rates candidate and reference on the prompts of this part."""
    cfg = stage_config(params, "gate")
    return _rated(params, part_of(rows["gate_prompts"], cfg.set, cfg.sets), cfg.serving.max_new_tokens, SIDES_OF_THE_GATE)


def of_anchors(params: Mapping[str, Any]) -> Forecast:
    """What asking the anchors once takes (`plumb retrain`, `plumb align --anchors`). Raises DataError for those that
    cannot be read."""
    anchors, cfg = AnchorsConfig.model_validate(params["anchors"]), stage_config(params, "compare")
    remote = [_made(judge) for judge in cfg.judges if judge.kind == "openai"] if cfg.given != "only" else []
    if anchors.file is None or not remote:
        return Forecast()
    rows = read_anchors(Path(anchors.file), anchors.minimum_pairs)
    longest = max(len(row[side]) for row in rows for side in "ab") // CHARACTERS_PER_TOKEN + 1
    total = _sum(_calls(judge, row, 2, longest, 2) for row in rows for judge in remote)
    return total.within(CallBudget(max_calls=anchors.max_calls, max_cost=anchors.max_cost))


def _gold(params: Mapping[str, Any]) -> GoldConfig | None:
    """Gold, where it is a judge across a network."""
    gold = stage_config(params, "gold")
    return gold if gold.judge is not None and gold.judge.kind == "openai" else None


def _rated(params: Mapping[str, Any], prompts: Iterable[Row], longest: int, each: int) -> Forecast:
    gold = _gold(params)
    if gold is None:
        return Forecast()
    judge = _made(gold.judge)
    return _sum(_calls(judge, prompt, 1, longest, each) for prompt in prompts)


def _made(judge: OpenAIJudgeConfig) -> Any:
    return make_judge(with_template(judge.model_dump()))


def _calls(judge: Any, prompt: Row, answers: int, longest: int, count: int) -> Forecast:
    """`count` questions about so many answers of `longest` tokens to a prompt."""
    sent = messages(Question(prompt, "", None if answers == 1 else ""), list(judge.weights), judge.template)
    tokens = sum(len(message["content"]) / CHARACTERS_PER_TOKEN + TOKENS_AROUND_MESSAGE for message in sent)
    return Forecast(count, count * judge.cost(tokens + answers * longest, judge.max_tokens))


def _sum(forecasts: Iterable[Forecast]) -> Forecast:
    return sum(forecasts, Forecast())
