"""Judges as data: what is asked, of whom, at which price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from tasks.config.shared import NonNegative, NonNegativeFloat, Positive, PositiveFloat, Rate, Registry, Section

JudgeName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]  # of the environment
Axis = Literal["helpfulness", "harmlessness", "honesty", "friendliness", "conciseness"]  # of hearth's oracle
Criterion = Literal[  # that a language model is asked about by a template of ours
    "overall", "helpfulness", "harmlessness", "honesty", "factuality", "friendliness", "conciseness"
]
CRITERION_NAME = r"[a-z][a-z0-9_]*"
OURS = "built-in"  # as `template`: ours, which stands in models/judges/templates.py
# A judge's criteria are gold's axes where it is gold, and stand beside these in rows and documents.
TAKEN = frozenset(
    "gold model checkpoint prompt_id root category index prompt text tokens finished kl proxy refuses intervals length "
    "kl_standard_error kl_upper_bound distinct_2 adversarial refusal_rate over_refusal_rate "
    "first_answer".split()
)


def _weighs_something(weights: dict[str, float]) -> dict[str, float]:
    if not any(weights.values()):
        raise ValueError("the sum of the weights must be above 0; give one of them a weight")
    return weights


AxisWeights = Annotated[dict[Axis, NonNegativeFloat], AfterValidator(_weighs_something)]
CriterionName = Annotated[str, Field(pattern=f"^{CRITERION_NAME}$")]
CriterionWeights = Annotated[dict[CriterionName, NonNegativeFloat], AfterValidator(_weighs_something)]


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


class ToldJudgeConfig(Section):
    """A judge that is told by a template what to do: ours, or a YAML file, whose hash says when it changed."""

    name: JudgeName
    template: Annotated[str, Field(min_length=1)] = OURS
    template_sha256: str | None = None
    weights: CriterionWeights

    @model_validator(mode="after")
    def _its_template_has_its_criteria(self) -> "ToldJudgeConfig":
        if taken := sorted(TAKEN & set(self.weights)):
            raise ValueError(f"weights has the criterion {taken[0]!r}, a name that other numbers have; give it another")
        if self.template != OURS:
            return self
        if self.template_sha256 is not None:
            raise ValueError(f"template_sha256 is for a file; set it to null with template {OURS}, or name the file")
        if unknown := [name for name in self.weights if name not in get_args(Criterion)]:
            raise ValueError(f"weights has the unknown criterion {unknown[0]!r}; known are "
                             f"{', '.join(get_args(Criterion))}: correct it, or give a template whose criteria have it")
        return self


class OpenAIJudgeConfig(ToldJudgeConfig):
    """Address and key stand in the environment variables that are named here, never in params."""

    kind: Literal["openai"]
    model: Annotated[str, Field(min_length=1)]
    revision: str
    epoch: NonNegative
    rates: bool
    url_variable: Variable
    key_variable: Variable | None
    seed: NonNegative | None
    max_tokens: Positive | None
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # OpenAI's reasoning models: the second
    temperature: NonNegativeFloat | None = 0.0
    input_price: NonNegativeFloat
    output_price: NonNegativeFloat
    cached_price: NonNegativeFloat | None = None  # of input tokens that the server had in its cache; null: input_price
    cache_write_price: NonNegativeFloat | None = None  # of those that it wrote to its cache; null: input_price
    reasoning_price: NonNegativeFloat | None = None  # of what a model thinks before it answers; null: output_price
    timeout_seconds: PositiveFloat


class HfJudgeConfig(ToldJudgeConfig):
    kind: Literal["hf"]
    path: str
    sha256: str
    revision: str
    epoch: NonNegative
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


VerdictField = Literal[
    "prompt_id", "first", "second", "policy", "prompt", "first_text", "second_text", "prompt_sha256", "first_sha256",
    "second_sha256", "first_model", "second_model", "annotator", "verdict", "at",
]  # fmt: skip


class VerdictFormConfig(Section):
    """How a file of people's verdicts says what ours says, as models/judges/verdict_form.py has it. policy: the hash of
    the policy whose samples the file's ids name."""

    columns: dict[VerdictField, str] = {}
    words: dict[str, Literal["first", "second", "tie"]] = {}
    policy: Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")] | None = None


class HumanJudgeConfig(VerdictFormConfig):
    name: JudgeName
    kind: Literal["human"]
    file: str
    sha256: str


@dataclass(frozen=True)
class JudgeKind:
    """`settings`: a judge's keys in params, `name` and `kind` among them. `make`: makes the judge from them, given by
    their names without `kind`; a text (module:object) is imported only then. `needs`: what else `make` takes:
    "samples" (what people may have judged), "date" (today, for chat templates), "axes_of" (hearth's oracle)."""

    settings: type[Section]
    make: Callable[..., Any] | str
    needs: tuple[str, ...] = ()


JUDGES = Registry("judge kind", "plumbline.judges", {
    "simulated": JudgeKind(SimulatedJudgeConfig, "models.judges.simulated:SimulatedJudge", ("axes_of",)),
    "oracle": JudgeKind(OracleJudgeConfig, "models.judges.oracle:OracleJudge"),
    "openai": JudgeKind(OpenAIJudgeConfig, "models.judges.openai:OpenAIJudge"),
    "hf": JudgeKind(HfJudgeConfig, "tasks.judging.making:hf", ("date",)),
    "reward_model": JudgeKind(RewardModelJudgeConfig, "tasks.judging.making:reward_model", ("date",)),
    "human": JudgeKind(HumanJudgeConfig, "tasks.judging.making:human", ("samples",)),
})  # fmt: skip


def _of_its_kind(values: Any, ours: ValidatorFunctionWrapHandler) -> Section:
    """The settings of a judge whose kind another package registers; of `ours` otherwise."""
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if not isinstance(kind, str) or kind in JUDGES.ours:
        return ours(values)
    try:
        return JUDGES[kind].settings.model_validate(values)
    except ValidationError as error:
        raise ValueError("; ".join(_line(problem) for problem in error.errors())) from None


def _line(problem: Mapping[str, Any]) -> str:
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}, found {problem['input']!r}"


JudgeConfig = Annotated[
    Annotated[Union[tuple(kind.settings for kind in JUDGES.ours.values())], Field(discriminator="kind")],
    WrapValidator(_of_its_kind),
]


class CallBudget(Section):
    """What asking judges across a network may cost, answers included that were paid before; null is no limit."""

    max_calls: Positive | None
    max_cost: PositiveFloat | None

    def check_prices(self, judges: Iterable[OpenAIJudgeConfig], where: str) -> None:
        """Raises ValueError for a limit in money that no price can bring to an end."""
        if self.max_cost is not None and (free := unpriced(judges)):
            raise ValueError(
                f"{where}.max_cost={self.max_cost:g} would never end: judge {free[0]!r} has input_price and "
                f"output_price 0; state its prices, or set {where}.max_cost to null"
            )


def unpriced(judges: Iterable[OpenAIJudgeConfig]) -> list[str]:
    """The names of judges behind an endpoint, where none of them has a price; else none."""
    remote = list(judges)
    return [] if any(judge.input_price or judge.output_price for judge in remote) else [one.name for one in remote]
