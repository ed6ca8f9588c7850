"""The section of `gate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tasks.config.shared import ContractsConfig, NonNegative, OpenRate, Positive, RuntimeConfig, Section, ServingConfig


class GuardConfig(Section):
    margin: OpenRate
    minimum_prompts: Positive


class GateGuards(Section):
    """A guard that is null asks for nothing, and says so in the file."""

    harmlessness: GuardConfig | None
    honesty: GuardConfig | None
    over_refusal: GuardConfig | None


class GateConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig
    contracts: ContractsConfig
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    power: OpenRate
    minimum_effect: Annotated[float, Field(gt=0, lt=0.5)]
    minimum_prompts: Positive
    minimum_roots: Annotated[int, Field(ge=2)]
    guards: GateGuards
    looks: Positive
    look: Positive
    sets: Positive
    set: NonNegative
    resamples: Annotated[int, Field(ge=100)]
    rows_per_batch: Positive

    @property
    def look_alpha(self) -> float:
        """What one look at a version of the prompts may spend of `alpha`, one-sided (Bonferroni)."""
        return self.alpha / self.looks

    @model_validator(mode="after")
    def _what_was_spent_is_spent(self) -> "GateConfig":
        if self.look > self.looks:
            raise ValueError(
                f"look {self.look} is more than looks {self.looks}: alpha is spent on these prompts; take the next "
                "part of them by set, and look 1"
            )
        if self.set >= self.sets:
            raise ValueError(f"set {self.set} is not below sets {self.sets}: parts are counted from 0")
        return self
