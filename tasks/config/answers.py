"""The section of `answers`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.config.shared import RuntimeConfig, Section, ServingConfig


class AnswersConfig(Section):
    """`challenge` doubts each answer to a question of fact in a second turn; null asks none."""

    runtime: RuntimeConfig
    serving: ServingConfig
    challenge: Annotated[str, Field(min_length=1)] | None
