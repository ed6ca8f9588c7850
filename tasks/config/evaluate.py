"""The section of `evaluate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.config.shared import NonNegative, OpenRate, Positive, RuntimeConfig, Section


class EvaluateConfig(Section):
    runtime: RuntimeConfig
    resamples: Annotated[int, Field(ge=100)]
    confidence: OpenRate
    examples: NonNegative
    rows_per_batch: Positive
