"""The section of `gold`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.config.judges import CallBudget, HfJudgeConfig, OpenAIJudgeConfig
from tasks.config.shared import AskingConfig, Positive, Rate, RuntimeConfig, Section
from tasks.config.training import RewardTraining


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
