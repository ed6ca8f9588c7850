"""The section of `dpo`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.config.shared import NonNegative, PositiveFloat, RuntimeConfig
from tasks.config.training import LoraWithoutDropout, OptimizerConfig

DpoLoss = Literal[
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
]
NEEDS_SMOOTHING = ("exo_pair", "robust")  # without it the one is not defined, and the other is `sigmoid`
SORTS_THE_BATCH = ("aot", "aot_unpaired")
READS_SMOOTHING = (*NEEDS_SMOOTHING, *SORTS_THE_BATCH)


class DpoConfig(OptimizerConfig):
    runtime: RuntimeConfig
    beta: PositiveFloat
    loss_types: Annotated[tuple[DpoLoss, ...], Field(min_length=1)]
    loss_weights: tuple[float, ...]
    label_smoothing: Annotated[float, Field(gt=0, lt=0.5)] | None
    snapshots: NonNegative
    lora: LoraWithoutDropout | None

    @model_validator(mode="after")
    def _one_weight_per_loss(self) -> "DpoConfig":
        if len(self.loss_types) != len(self.loss_weights):
            raise ValueError(f"loss_weights has {len(self.loss_weights)} values for {len(self.loss_types)} loss_types")
        if twice := [loss for loss in self.loss_types if self.loss_types.count(loss) > 1]:
            raise ValueError(f"loss {twice[0]!r} stands twice in loss_types; name it once, with the sum of its weights")
        return self

    @model_validator(mode="after")
    def _smoothing_is_read(self) -> "DpoConfig":
        """TRL reads label_smoothing in some losses and passes over it in the others."""
        needs = [loss for loss in self.loss_types if loss in NEEDS_SMOOTHING]
        if needs and self.label_smoothing is None:
            raise ValueError(f"loss {needs[0]!r} needs label_smoothing, the share of comparisons that are taken to be "
                             "the wrong way round; set it to a number above 0 and below 0.5, 0.001 for example")
        if self.label_smoothing is not None and not set(self.loss_types) & set(READS_SMOOTHING):
            raise ValueError(f"label_smoothing={self.label_smoothing} is read by none of {', '.join(self.loss_types)}; "
                             f"set it to null, or name one of {', '.join(READS_SMOOTHING)} in loss_types")
        return self

    @model_validator(mode="after")
    def _sorted_batches_are_whole(self) -> "DpoConfig":
        sorting = [loss for loss in self.loss_types if loss in SORTS_THE_BATCH]
        if sorting and self.gradient_accumulation > 1:
            raise ValueError(f"loss {sorting[0]!r} sorts the pairs of a batch, and gradient_accumulation="
                             f"{self.gradient_accumulation} splits them; set it to 1 and raise batch_size")
        return self
