"""Sections that several stages share."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import field_validator, model_validator

from tasks.config.base import NonNegative, Positive, PositiveFloat, Rate, Section

SPLITS = ("pretrain", "sft", "compare", "rl", "select", "gate", "preferences", "gold")
CATEGORIES = ("instruction", "safety", "creative", "reasoning")


class RuntimeConfig(Section):
    seed: NonNegative
    threads: Positive
    dtype: Literal["float32", "bfloat16"]
    date: str

    @field_validator("date")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        """Raises ValueError unless it is a day as templates' `strftime_now` needs it."""
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:
            raise ValueError(f'{value!r} is no day; write it as "2026-01-31", in quotes')
        return value


class ServingConfig(Section):
    temperature: PositiveFloat
    max_new_tokens: Positive
    rows_per_batch: Positive


class SplitShares(Section):
    sft: Rate
    compare: Rate
    rl: Rate
    select: Rate
    gate: Rate
    preferences: Rate
    gold: Rate

    @model_validator(mode="after")
    def _held_out_leave_room(self) -> "SplitShares":
        if self.select + self.gate + self.gold >= 1:
            raise ValueError("select, gate and gold together must be below 1; the rest is what trains")
        return self


class DataConfig(Section):
    path: str
    demonstrations: str
    prompts: str | None
    preferences: str | None
    bad_rows: Literal["refuse", "skip"]
    max_characters: Positive | None
    splits: SplitShares


class ModelConfig(Section):
    path: str


class TrackingConfig(Section):
    experiment: str
    max_artifact_mb: PositiveFloat


class PrepareConfig(Section):
    data: DataConfig
