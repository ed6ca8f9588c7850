"""The section of `report`."""

from __future__ import annotations

from tasks.config.shared import ContractsConfig, NonNegative, Section


class ReportConfig(Section):
    title: str
    examples: NonNegative
    contracts: ContractsConfig
