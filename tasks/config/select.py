"""The section of `select`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.config.shared import Section


class SelectConfig(Section):
    methods: Annotated[tuple[Literal["ppo", "dpo"], ...], Field(min_length=1)]
    checkpoints: Literal["all", "final"]
