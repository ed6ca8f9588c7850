"""Sections of the stages that sample, judge and count: generate, compare, judge, gold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.config.judges import AskingConfig, HfJudgeConfig, JudgeConfig, OpenAIJudgeConfig
from tasks.config.shared import NonNegativeFloat, OpenRate, Positive, PositiveFloat, Rate, RuntimeConfig, Section
from tasks.config.training import RewardTraining


class GenerateConfig(Section):
    runtime: RuntimeConfig
    samples_per_prompt: Positive
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    max_new_tokens: Positive
    rows_per_batch: Positive
    sampler: Literal["batched", "continuous", "vllm", "openai"]
    served_model: str | None
    asking: AskingConfig | None = None  # null: as params.yaml has it for judges

    @model_validator(mode="after")
    def _an_endpoint_serves_a_named_model(self) -> "GenerateConfig":
        if self.sampler == "openai" and not self.served_model:
            raise ValueError("sampler openai needs served_model, the model's name at the endpoint")
        if self.sampler != "openai" and self.served_model is not None:
            raise ValueError(f"served_model is for sampler openai; set it to null with sampler {self.sampler}")
        return self


class FilterConfig(Section):
    """Pairs that are not worth a judge's time; null asks for nothing."""

    near_identical: Rate | None
    max_length_ratio: Annotated[float, Field(ge=1)] | None
    min_rating_gap: NonNegativeFloat | None


class CallBudget(Section):
    """What asking judges across a network may cost, answers included that were paid before; null is no limit."""

    max_calls: Positive | None
    max_cost: PositiveFloat | None

    def check_prices(self, judges: Iterable[OpenAIJudgeConfig], where: str) -> None:
        """Raises ValueError for a limit in money that no price can bring to an end."""
        if self.max_cost is not None and (free := unpriced(judges)):
            raise ValueError(
                f"{where}.max_cost={self.max_cost:g} would never end: judge {free[0]!r} has input_price and "
                f"output_price 0; state its prices, or set {where}.max_cost to null"
            )


class BudgetConfig(CallBudget):
    """What the comparisons may cost in all."""

    max_prompts: Positive | None


def unpriced(judges: Iterable[OpenAIJudgeConfig]) -> list[str]:
    """The names of judges behind an endpoint, where none of them has a price; else none."""
    remote = list(judges)
    return [] if any(judge.input_price or judge.output_price for judge in remote) else [one.name for one in remote]


class CompareConfig(Section):
    runtime: RuntimeConfig
    given: Literal["none", "only", "mixed"]
    strategy: Literal["random", "best_vs_worst", "nearest_margin", "all"]
    labels: Literal["verdicts", "ratings"]
    panel: Literal["mean", "majority"]
    pairs_per_prompt: Positive
    tie_margin: Annotated[float, Field(ge=0, lt=0.5)]
    heldout_fraction: OpenRate
    filters: FilterConfig
    budget: BudgetConfig
    asking: AskingConfig
    judges: tuple[JudgeConfig, ...]

    @model_validator(mode="after")
    def _somebody_judges(self) -> "CompareConfig":
        if self.given != "only" and not self.judges:
            raise ValueError("judges is empty; name at least one judge, or set given to 'only'")
        names = [judge.name for judge in self.judges]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"judge {twice[0]!r} stands twice in judges; give each judge its own name")
        return self

    @model_validator(mode="after")
    def _a_limit_in_money_knows_prices(self) -> "CompareConfig":
        self.budget.check_prices(self._remote, "budget")
        return self

    @property
    def unpriced_judges(self) -> list[str]:
        """Judges behind an endpoint, where none of them has a price: no limit in money can bind."""
        return unpriced(self._remote)

    @property
    def _remote(self) -> list[OpenAIJudgeConfig]:
        return [judge for judge in self.judges if judge.kind == "openai"]


class JudgeCardConfig(Section):
    runtime: RuntimeConfig
    confidence: OpenRate


class GoldConfig(Section):
    runtime: RuntimeConfig
    kind: Literal["oracle", "reward_model", "judge"]
    allow_same_judge: bool
    weights: dict[str, float]
    rows_per_batch: Positive
    training: RewardTraining | None
    judge: Annotated[OpenAIJudgeConfig | HfJudgeConfig, Field(discriminator="kind")] | None = None
    asking: AskingConfig | None = None  # null: 16 calls at a time, six attempts
    budget: CallBudget | None = None  # of each stage that asks gold
    max_left_out: Rate = 0.02

    @model_validator(mode="after")
    def _a_judge_is_named_and_rates(self) -> "GoldConfig":
        if (self.kind == "judge") != (self.judge is not None):
            raise ValueError(f"kind is {self.kind} and judge is {'null' if self.judge is None else 'not null'}; give a "
                             "judge of kind openai or hf with kind judge, and null with other kinds")
        if self.judge is not None and not self.judge.rates:
            raise ValueError(f"judge {self.judge.name!r} has rates false; gold needs its ratings: set it to true")
        return self

    @model_validator(mode="after")
    def _a_reward_model_is_trained(self) -> "GoldConfig":
        if self.kind == "reward_model" and self.training is None:
            raise ValueError("kind is reward_model and training is null; give it the keys of section reward")
        return self

    @model_validator(mode="after")
    def _a_budget_can_end(self) -> "GoldConfig":
        if self.budget is None:
            return self
        if self.judge is None or self.judge.kind != "openai":
            raise ValueError("budget limits calls across a network, and gold makes none; set it to null, or give a "
                             "judge of kind openai")
        self.budget.check_prices([self.judge], "budget")
        return self
