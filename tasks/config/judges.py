"""Judges as data: what is asked, of whom, at which price."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tasks.config.base import NonNegative, NonNegativeFloat, Positive, PositiveFloat, Rate, Section

JudgeName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]  # of the environment
Axis = Literal["helpfulness", "harmlessness", "honesty", "friendliness", "conciseness"]  # of hearth's oracle
Criterion = Literal[  # that a language model is asked about
    "overall", "helpfulness", "harmlessness", "honesty", "factuality", "friendliness", "conciseness"
]


def _weighs_something(weights: dict[str, float]) -> dict[str, float]:
    if not any(weights.values()):
        raise ValueError("the sum of the weights must be above 0; give one of them a weight")
    return weights


AxisWeights = Annotated[dict[Axis, NonNegativeFloat], AfterValidator(_weighs_something)]
CriterionWeights = Annotated[dict[Criterion, NonNegativeFloat], AfterValidator(_weighs_something)]


class SimulatedJudgeConfig(Section):
    name: JudgeName
    kind: Literal["simulated"]
    weights: AxisWeights
    position_bias: Rate
    length_bias: float
    praise_bias: float
    refusal_bias: float
    noise: Rate
    tie_margin: NonNegativeFloat
    seed: NonNegative


class OracleJudgeConfig(Section):
    name: JudgeName
    kind: Literal["oracle"]
    weights: AxisWeights
    tie_margin: NonNegativeFloat


class OpenAIJudgeConfig(Section):
    """Address and key stand in the environment variables that are named here, never in params."""

    name: JudgeName
    kind: Literal["openai"]
    model: Annotated[str, Field(min_length=1)]
    revision: str
    epoch: NonNegative
    weights: CriterionWeights
    rates: bool
    url_variable: Variable
    key_variable: Variable | None
    seed: NonNegative | None
    max_tokens: Positive | None
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # OpenAI's reasoning models: the second
    temperature: NonNegativeFloat | None = 0.0
    input_price: NonNegativeFloat
    output_price: NonNegativeFloat
    timeout_seconds: PositiveFloat


class HfJudgeConfig(Section):
    name: JudgeName
    kind: Literal["hf"]
    path: str
    sha256: str
    revision: str
    epoch: NonNegative
    weights: CriterionWeights
    rates: bool
    dtype: Literal["float32", "bfloat16"]
    minimum_mass: Rate
    rows_per_batch: Positive


class RewardModelJudgeConfig(Section):
    name: JudgeName
    kind: Literal["reward_model"]
    path: str
    sha256: str
    epoch: NonNegative
    temperature: PositiveFloat
    rows_per_batch: Positive


class HumanJudgeConfig(Section):
    name: JudgeName
    kind: Literal["human"]
    file: str
    sha256: str


JudgeConfig = Annotated[
    SimulatedJudgeConfig | OracleJudgeConfig | OpenAIJudgeConfig | HfJudgeConfig | RewardModelJudgeConfig
    | HumanJudgeConfig,
    Field(discriminator="kind"),
]


class AskingConfig(Section):
    concurrency: Positive
    attempts: Positive
    first_wait_seconds: NonNegativeFloat
    longest_wait_seconds: NonNegativeFloat
