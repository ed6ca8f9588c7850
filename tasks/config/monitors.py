"""The section of `monitors`."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, model_validator

from tasks.config.shared import Extensible, NonNegative, NonNegativeFloat, Positive, Registry, RuntimeConfig, Section

MONITORS = Registry("monitor", "plumbline.monitors", dict.fromkeys((
    "praise", "padding", "over_caution", "length", "loops", "one_answer", "truncation", "distinct", "adjusted_distinct",
    "self_bleu", "kl", "perplexity", "length_reward", "proxy_gold_gap", "displacement",
)))  # fmt: skip
FALLING = ("distinct", "adjusted_distinct", "self_bleu")  # limits of diversity: lower is worse


class LimitConfig(Section):
    """From where on a monitor warns, and from where on it vetoes; null: it never does."""

    warning: float
    veto: float | None


class LimitsConfig(Section):
    """A monitor's limits for a table on its own and against a reference; null: not asked."""

    absolute: LimitConfig | None
    relative: LimitConfig | None


class MonitorsConfig(Extensible):
    runtime: RuntimeConfig
    noise: NonNegativeFloat
    minimum_answers: Positive
    examples: NonNegative
    words: Positive
    draws: Positive
    vocabulary: Positive
    demonstrations: Positive
    rows_per_batch: Positive
    limits: Annotated[dict[str, LimitsConfig], AfterValidator(MONITORS.checked)]

    def packages(self) -> dict[str, str]:
        return MONITORS.packages(self.limits)

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
