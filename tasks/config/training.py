"""Sections of the stages that TRL trains: sft, reward, dpo; and what PPO shares with them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tasks.config.base import NonNegative, NonNegativeFloat, Positive, PositiveFloat, Rate, Section
from tasks.config.shared import RuntimeConfig


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


class SftConfig(OptimizerConfig):
    runtime: RuntimeConfig
    category_weights: dict[str, NonNegativeFloat]


class RewardConfig(RewardTraining):
    runtime: RuntimeConfig


DpoLoss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
]


class DpoConfig(OptimizerConfig):
    runtime: RuntimeConfig
    beta: PositiveFloat
    loss_types: Annotated[tuple[DpoLoss, ...], Field(min_length=1)]
    loss_weights: tuple[float, ...]
    snapshots: NonNegative
    lora: LoraWithoutDropout | None

    @model_validator(mode="after")
    def _one_weight_per_loss(self) -> "DpoConfig":
        if len(self.loss_types) != len(self.loss_weights):
            raise ValueError(f"loss_weights has {len(self.loss_weights)} values for {len(self.loss_types)} loss_types")
        return self
