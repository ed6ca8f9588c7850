"""The section of `generate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.config.shared import AskingConfig, Positive, PositiveFloat, RuntimeConfig, Section


class GenerateConfig(Section):
    runtime: RuntimeConfig
    samples_per_prompt: Positive
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    max_new_tokens: Positive
    rows_per_batch: Positive
    sampler: Literal["batched", "continuous", "vllm", "openai"]
    served_model: str | None
    asking: AskingConfig | None = None  # null: as params.yaml has it for judges

    @model_validator(mode="after")
    def _an_endpoint_serves_a_named_model(self) -> "GenerateConfig":
        if self.sampler == "openai" and not self.served_model:
            raise ValueError("sampler openai needs served_model, the model's name at the endpoint")
        if self.sampler != "openai" and self.served_model is not None:
            raise ValueError(f"served_model is for sampler openai; set it to null with sampler {self.sampler}")
        return self
