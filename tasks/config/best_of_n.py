"""The section of `best_of_n`."""

from __future__ import annotations

from tasks.config.shared import Positive, RuntimeConfig, Section, ServingConfig


class BestOfNConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig
    n: Positive
