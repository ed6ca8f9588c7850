"""The section of `ppo`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, model_validator

from models.compute.divisibility import check_divides
from tasks.config.shared import (
    Extensible,
    NonNegative,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Rate,
    Registry,
    RuntimeConfig,
    Section,
)
from tasks.config.training import LoraWithoutDropout


class PpoGuards(Section):
    """A guard that is null is off."""

    kl_budget: PositiveFloat | None
    entropy_floor: NonNegativeFloat | None
    eos_rate_floor: Rate | None
    distinct_floor: Rate | None


SIGNALS = Registry("reward signal", "plumbline.rewards", {
    "reward_model": "models.reward.scoring:reward_model_signal",
    "length": "models.reward.scoring:length_signal",
})  # fmt: skip


def _the_critic_has_its_start(weights: dict[str, float]) -> dict[str, float]:
    if weights.get("reward_model", 0.0) <= 0:
        raise ValueError("the weight of reward_model must be above 0: the critic starts from it")
    return weights


class PpoConfig(Extensible):
    runtime: RuntimeConfig
    episodes: Positive
    batch_size: Positive
    minibatch_size: Positive
    epochs: Positive
    learning_rate: PositiveFloat
    value_learning_rate: PositiveFloat | None
    temperature: PositiveFloat
    max_new_tokens: Positive
    rows_per_batch: Positive
    rows_per_backward: Positive | None
    # What is maximised: the weighted sum of signals, each scaled to mean 0 and deviation 1 first; 0 leaves one out.
    rewards: Annotated[dict[str, float], AfterValidator(SIGNALS.checked), AfterValidator(_the_critic_has_its_start)]
    value_backbone: Literal["own", "shared"]
    kl_coefficient: NonNegativeFloat
    kl_target: PositiveFloat | None
    kl_horizon_episodes: Positive
    clip_range: PositiveFloat
    value_clip_range: PositiveFloat
    value_coefficient: PositiveFloat | None
    gamma: Rate
    lam: Rate
    missing_eos_penalty: NonNegativeFloat | None
    missing_eos_mode: Literal["subtract", "replace"]
    normalise_reward: bool
    normalise_samples: Positive
    whiten_rewards: bool
    max_grad_norm: PositiveFloat
    checkpoint_every: Positive
    snapshots: NonNegative
    examples: NonNegative
    guards: PpoGuards
    guard_patience: Positive
    lora: LoraWithoutDropout | None

    def packages(self) -> dict[str, str]:
        return SIGNALS.packages(self.rewards)

    @model_validator(mode="after")
    def _sizes_divide(self) -> "PpoConfig":
        check_divides(self.batch_size, "batch_size", self.minibatch_size, "minibatch_size", section="ppo.")
        check_divides(self.episodes, "episodes", self.batch_size, "batch_size", section="ppo.")
        return self

    @model_validator(mode="after")
    def _a_shared_critic_has_a_weight(self) -> "PpoConfig":
        """A critic of its own shares no weight with the policy, and Adam takes the scale out of its gradient."""
        if self.value_backbone == "own" and self.value_coefficient is not None:
            raise ValueError(
                f"value_coefficient={self.value_coefficient} does nothing to a critic of its own; set it to null (the "
                "critic's learning rate is value_learning_rate), or value_backbone to shared"
            )
        if self.value_backbone == "shared" and self.value_coefficient is None:
            raise ValueError("value_backbone is shared, so that the critic's loss pulls on the policy, too; set "
                             "value_coefficient to its weight, 0.1 for example")
        return self
