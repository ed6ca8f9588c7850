"""The section of `package`."""

from __future__ import annotations

from tasks.config.shared import RuntimeConfig, Section, ServingConfig


class PackageConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig
