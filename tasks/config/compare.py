"""The section of `compare`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.config.judges import JUDGES, CallBudget, JudgeConfig, OpenAIJudgeConfig, unpriced
from tasks.config.shared import (
    AskingConfig,
    Extensible,
    NonNegativeFloat,
    OpenRate,
    Positive,
    Rate,
    RuntimeConfig,
    Section,
)


class FilterConfig(Section):
    """Pairs that are not worth a judge's time; null asks for nothing."""

    near_identical: Rate | None
    max_length_ratio: Annotated[float, Field(ge=1)] | None
    min_rating_gap: NonNegativeFloat | None


class BudgetConfig(CallBudget):
    """What the comparisons may cost in all."""

    max_prompts: Positive | None


class CompareConfig(Extensible):
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

    def packages(self) -> dict[str, str]:
        return JUDGES.packages(judge.kind for judge in self.judges)

    @property
    def unpriced_judges(self) -> list[str]:
        """Judges behind an endpoint, where none of them has a price: no limit in money can bind."""
        return unpriced(self._remote)

    @property
    def _remote(self) -> list[OpenAIJudgeConfig]:
        return [judge for judge in self.judges if judge.kind == "openai"]
