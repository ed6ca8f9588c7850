"""Sections of the stages after training: answers, evaluation, monitors, selection, gate, package, report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.config.shared import (
    ContractsConfig,
    NonNegative,
    NonNegativeFloat,
    OpenRate,
    Positive,
    RuntimeConfig,
    Section,
    ServingConfig,
)


class BestOfNConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig
    n: Positive


class AnswersConfig(Section):
    """`challenge` doubts each answer to a question of fact in a second turn; null asks none."""

    runtime: RuntimeConfig
    serving: ServingConfig
    challenge: Annotated[str, Field(min_length=1)] | None


class EvaluateConfig(Section):
    runtime: RuntimeConfig
    resamples: Annotated[int, Field(ge=100)]
    confidence: OpenRate
    examples: NonNegative
    rows_per_batch: Positive


Monitor = Literal[
    "praise", "padding", "over_caution", "length", "loops", "one_answer", "truncation", "distinct", "adjusted_distinct",
    "self_bleu", "kl", "perplexity", "length_reward", "proxy_gold_gap", "displacement",
]
FALLING = ("distinct", "adjusted_distinct", "self_bleu")  # limits of diversity: lower is worse


class LimitConfig(Section):
    """From where on a monitor warns, and from where on it vetoes; null: it never does."""

    warning: float
    veto: float | None


class LimitsConfig(Section):
    """A monitor's limits for a table on its own and against a reference; null: not asked."""

    absolute: LimitConfig | None
    relative: LimitConfig | None


class MonitorsConfig(Section):
    runtime: RuntimeConfig
    noise: NonNegativeFloat
    minimum_answers: Positive
    examples: NonNegative
    words: Positive
    draws: Positive
    vocabulary: Positive
    demonstrations: Positive
    rows_per_batch: Positive
    limits: dict[Monitor, LimitsConfig]

    @model_validator(mode="after")
    def _a_veto_lies_beyond_its_warning(self) -> "MonitorsConfig":
        for name, limits in self.limits.items():
            for place, limit in limits:
                if limit is not None and limit.veto is not None and (limit.veto < limit.warning) != (name in FALLING):
                    side = "below" if name in FALLING else "above"
                    raise ValueError(
                        f"limits.{name}.{place}: veto {limit.veto:g} must lie {side} warning {limit.warning:g}"
                    )
        return self


class SelectConfig(Section):
    methods: Annotated[tuple[Literal["ppo", "dpo"], ...], Field(min_length=1)]
    checkpoints: Literal["all", "final"]


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


class PackageConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig


class ReportConfig(Section):
    title: str
    examples: NonNegative
    contracts: ContractsConfig
