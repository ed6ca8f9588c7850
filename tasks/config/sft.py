"""The section of `sft`."""

from __future__ import annotations

from tasks.config.shared import NonNegativeFloat, RuntimeConfig
from tasks.config.training import OptimizerConfig


class SftConfig(OptimizerConfig):
    runtime: RuntimeConfig
    category_weights: dict[str, NonNegativeFloat]
