"""The section of `select`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tasks.config.shared import STAGES_OF_OTHERS, Section, is_here

NO_CANDIDATES = ("sft", "best_of_n")


def _trained_by_a_stage(method: str) -> str:
    if not is_here(method):
        STAGES_OF_OTHERS.outside(method)
    elif method in NO_CANDIDATES:
        raise ValueError(f"{method!r} is no method that candidates come from; name ppo, dpo or another that is trained")
    return method


class SelectConfig(Section):
    methods: Annotated[tuple[Annotated[str, AfterValidator(_trained_by_a_stage)], ...], Field(min_length=1)]
    checkpoints: Literal["all", "final"]
