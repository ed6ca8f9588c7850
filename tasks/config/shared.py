"""Sections that several stages share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.config.base import NonNegative, Positive, PositiveFloat, Rate, Section

SPLITS = ("pretrain", "sft", "compare", "rl", "select", "gate", "preferences", "gold")
CATEGORIES = ("instruction", "safety", "creative", "reasoning")


class RuntimeConfig(Section):
    seed: NonNegative
    threads: Positive
    dtype: Literal["float32", "bfloat16"]


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


class NearRepeatsConfig(Section):
    """When a text nearly repeats a held-out prompt; see tasks/near_repeats.py."""

    words: Positive
    resemblance: Annotated[float, Field(gt=0, le=1)]
    containment: Annotated[float, Field(gt=0, le=1)]
    contained_words: Positive


class DataConfig(Section):
    path: str
    demonstrations: str
    prompts: str | None
    preferences: str | None
    bad_rows: Literal["refuse", "skip"]
    max_characters: Positive | None
    near_repeats: NearRepeatsConfig
    splits: SplitShares


class ModelConfig(Section):
    path: str


class TrackingConfig(Section):
    experiment: str
    max_artifact_mb: PositiveFloat


class PrepareConfig(Section):
    data: DataConfig
