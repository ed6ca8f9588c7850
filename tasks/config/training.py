"""What the sections of training stages have in common."""

from __future__ import annotations

from pydantic import field_validator, model_validator

from tasks.config.shared import NonNegativeFloat, Positive, PositiveFloat, Rate, Section


class LoraConfig(Section):
    rank: Positive
    alpha: PositiveFloat
    dropout: Rate
    targets: str | tuple[str, ...]


class LoraWithoutDropout(LoraConfig):
    """Of stages whose models run without dropout: comparisons with a reference or between responses would be noise."""

    @field_validator("dropout")
    @classmethod
    def _dropout_is_off(cls, dropout: float) -> float:
        if dropout:
            raise ValueError(f"{dropout} would have no effect, this stage trains without dropout; set it to 0.0")
        return dropout


class OptimizerConfig(Section):
    """What every training stage that TRL runs has in common."""

    epochs: PositiveFloat
    batch_size: Positive
    gradient_accumulation: Positive
    learning_rate: PositiveFloat
    warmup_ratio: Rate
    max_length: Positive
    checkpoint_every: Positive
    lora: LoraConfig | None


class RewardTraining(OptimizerConfig):
    freeze_backbone: bool
    centre: NonNegativeFloat
    use_margin: bool
    lora: LoraWithoutDropout | None

    @model_validator(mode="after")
    def _frozen_has_no_adapter(self) -> "RewardTraining":
        if self.freeze_backbone and self.lora is not None:
            raise ValueError("freeze_backbone trains the head alone and lora the backbone; set one of them")
        return self
