"""The section of `reward`."""

from __future__ import annotations

from tasks.config.shared import RuntimeConfig
from tasks.config.training import RewardTraining


class RewardConfig(RewardTraining):
    runtime: RuntimeConfig
