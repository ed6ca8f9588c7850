"""Sections of the flows around the stages: runs, anchors, intake, promotion, collection of garbage."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.config.judges import VerdictFormConfig
from tasks.config.shared import NonNegative, NonNegativeFloat, Positive, PositiveFloat, Rate, Section


class ModelConfig(Section):
    path: str


class TrackingConfig(Section):
    experiment: str
    max_artifact_mb: PositiveFloat


class AnchorsConfig(Section):
    """Fixed pairs that the judges are asked again; `file` null asks nobody."""

    file: str | None
    minimum_pairs: Positive
    max_drift: Rate
    max_calls: Positive | None
    max_cost: PositiveFloat | None


class RunBudget(Section):
    """What one run may cost, its failed attempts included; null is no limit."""

    seconds: PositiveFloat | None
    gpu_seconds: PositiveFloat | None
    calls: Positive | None
    cost: PositiveFloat | None


class FlowConfig(Section):
    stage_timeout_minutes: PositiveFloat
    retries: NonNegative
    retry_delay_seconds: NonNegativeFloat
    budget: RunBudget
    pools: dict[str, Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]] | None


class IntakeConfig(Section):
    inbox: Annotated[str, Field(pattern=r"^s3://[^/]+(/.*)?$")] | None
    remote: str
    verdicts: Annotated[str, Field(pattern=r"^[\w.-]+\.jsonl$")]
    verdict_form: VerdictFormConfig = VerdictFormConfig()
    max_object_mb: PositiveFloat
    max_object_rows: Positive
    max_total_mb: PositiveFloat
    max_row_characters: Positive
    attempts: Positive


class GcConfig(Section):
    """What `plumb gc` keeps beside what serves: the last runs that made something different."""

    runs: Positive


class PromoteConfig(Section):
    """How a candidate enters the registry. No stage reads it: promotion changes no artifact."""

    model_name: Annotated[str, Field(pattern=r"^[\w.\-]+$")]
    policy: Literal["automatic", "approval"]
    approval_hours: PositiveFloat
    allowed_architectures: tuple[str, ...]
    logit_tolerance: NonNegativeFloat
