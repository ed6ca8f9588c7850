"""The section of `judge`."""

from __future__ import annotations

from tasks.config.shared import OpenRate, RuntimeConfig, Section


class JudgeCardConfig(Section):
    runtime: RuntimeConfig
    confidence: OpenRate
