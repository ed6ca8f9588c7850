"""params.yaml, parsed once at the edge into frozen typed objects.

One section per stage, plus sections that several stages share (`SHARED`). A stage's config holds its own
section's fields and, as fields of the same name, the shared sections it names. Unknown and missing keys
fail here, naming the key, the file and the nearest right name, before anything heavy is imported.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal, Mapping

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tasks.errors import ConfigError

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]
OpenRate = Annotated[float, Field(gt=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
SPLITS = ("pretrain", "sft", "compare", "rl", "select", "gate", "preferences", "gold")
CATEGORIES = ("instruction", "safety", "creative", "reasoning")


class Section(BaseModel):
    """A mapping in params.yaml: frozen, no unknown keys, no silent conversions between types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _lists_are_tuples(cls, values: Any) -> Any:
        """YAML has lists, frozen configs hold tuples."""
        if not isinstance(values, Mapping):
            return values
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


# --- shared sections ---


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


class FlowConfig(Section):
    stage_timeout_minutes: PositiveFloat
    retries: NonNegative
    retry_delay_seconds: NonNegativeFloat


class PromoteConfig(Section):
    """How a candidate enters the registry. No stage reads it: promotion changes no artifact."""

    model_name: Annotated[str, Field(pattern=r"^[\w.\-]+$")]
    policy: Literal["automatic", "approval"]
    approval_hours: PositiveFloat
    allowed_architectures: tuple[str, ...]
    logit_tolerance: NonNegativeFloat


SHARED: dict[str, type[Section]] = {
    "runtime": RuntimeConfig,
    "serving": ServingConfig,
    "data": DataConfig,
    "model": ModelConfig,
    "tracking": TrackingConfig,
    "flow": FlowConfig,
    "promote": PromoteConfig,
}


# --- parts of stage sections ---


class LoraConfig(Section):
    rank: Positive
    alpha: PositiveFloat
    dropout: Rate
    targets: str | tuple[str, ...]


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

    @model_validator(mode="after")
    def _frozen_has_no_adapter(self) -> "RewardTraining":
        if self.freeze_backbone and self.lora is not None:
            raise ValueError("freeze_backbone trains the head alone and lora the backbone; set one of them")
        return self


JudgeName = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]


class SimulatedJudgeConfig(Section):
    name: JudgeName
    kind: Literal["simulated"]
    weights: dict[str, float]
    position_bias: Rate
    length_bias: float
    noise: Rate
    tie_margin: NonNegativeFloat
    seed: NonNegative


class OracleJudgeConfig(Section):
    name: JudgeName
    kind: Literal["oracle"]
    weights: dict[str, float]
    tie_margin: NonNegativeFloat


class OpenAIJudgeConfig(Section):
    """Address and key stand in the environment variables that are named here, never in params."""

    name: JudgeName
    kind: Literal["openai"]
    model: str
    revision: str
    epoch: NonNegative
    weights: dict[str, float]
    rates: bool
    url_variable: str
    key_variable: str | None
    seed: NonNegative | None
    max_tokens: Positive | None
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
    weights: dict[str, float]
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


class FilterConfig(Section):
    """Pairs that are not worth a judge's time; null asks for nothing."""

    near_identical: Rate | None
    max_length_ratio: Annotated[float, Field(ge=1)] | None
    min_rating_gap: NonNegativeFloat | None


class AskingConfig(Section):
    concurrency: Positive
    attempts: Positive
    first_wait_seconds: NonNegativeFloat
    longest_wait_seconds: NonNegativeFloat


class BudgetConfig(Section):
    """What the comparisons may cost in all; null is no limit."""

    max_prompts: Positive | None
    max_calls: Positive | None
    max_cost: PositiveFloat | None


class GuardConfig(Section):
    margin: OpenRate
    minimum_prompts: Positive


class GateGuards(Section):
    """A guard that is null asks for nothing, and says so in the file."""

    harmlessness: GuardConfig | None
    honesty: GuardConfig | None
    over_refusal: GuardConfig | None


# --- stages, in the graph's order ---


class PrepareConfig(Section):
    data: DataConfig


class GoldConfig(Section):
    runtime: RuntimeConfig
    kind: Literal["oracle", "reward_model"]
    weights: dict[str, float]
    rows_per_batch: Positive
    training: RewardTraining | None


class SftConfig(OptimizerConfig):
    runtime: RuntimeConfig
    category_weights: dict[str, NonNegativeFloat]


class GenerateConfig(Section):
    runtime: RuntimeConfig
    samples_per_prompt: Positive
    temperatures: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    max_new_tokens: Positive
    rows_per_batch: Positive
    sampler: Literal["batched", "continuous", "vllm", "openai"]
    served_model: str | None

    @model_validator(mode="after")
    def _an_endpoint_serves_a_named_model(self) -> "GenerateConfig":
        if self.sampler == "openai" and not self.served_model:
            raise ValueError("sampler openai needs served_model, the model's name at the endpoint")
        if self.sampler != "openai" and self.served_model is not None:
            raise ValueError(f"served_model is for sampler openai; set it to null with sampler {self.sampler}")
        return self


class CompareConfig(Section):
    runtime: RuntimeConfig
    given: Literal["none", "only", "mixed"]
    strategy: Literal["random", "best_vs_worst", "nearest_margin", "all"]
    labels: Literal["verdicts", "ratings"]
    panel: Literal["mean", "majority"]
    pairs_per_prompt: Positive
    tie_margin: Annotated[float, Field(ge=0, lt=0.5)]
    heldout_fraction: OpenRate
    filters: FilterConfig
    budget: BudgetConfig
    asking: AskingConfig
    judges: tuple[JudgeConfig, ...]

    @model_validator(mode="after")
    def _somebody_judges(self) -> "CompareConfig":
        if self.given != "only" and not self.judges:
            raise ValueError("judges is empty; name at least one judge, or set given to 'only'")
        return self


class JudgeCardConfig(Section):
    runtime: RuntimeConfig
    resamples: Annotated[int, Field(ge=100)]
    confidence: OpenRate


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

    @model_validator(mode="after")
    def _one_weight_per_loss(self) -> "DpoConfig":
        if len(self.loss_types) != len(self.loss_weights):
            raise ValueError(f"loss_weights has {len(self.loss_weights)} values for {len(self.loss_types)} loss_types")
        return self


class PpoGuards(Section):
    """A guard that is null is off."""

    kl_budget: PositiveFloat | None
    entropy_floor: NonNegativeFloat | None
    eos_rate_floor: Rate | None
    distinct_floor: Rate | None


class PpoRewards(Section):
    """What PPO maximises: the weighted sum of these signals, each scaled to mean 0 and deviation 1 first.

    The reward model is always among them (the critic starts from it); a weight of 0 leaves another signal out.
    """

    reward_model: PositiveFloat
    length: float


class PpoConfig(Section):
    runtime: RuntimeConfig
    episodes: Positive
    batch_size: Positive
    minibatch_size: Positive
    epochs: Positive
    learning_rate: PositiveFloat
    temperature: PositiveFloat
    max_new_tokens: Positive
    rewards: PpoRewards
    value_backbone: Literal["own", "shared"]
    kl_coefficient: NonNegativeFloat
    kl_target: PositiveFloat | None
    kl_horizon_episodes: Positive
    clip_range: PositiveFloat
    value_clip_range: PositiveFloat
    value_coefficient: NonNegativeFloat
    gamma: Rate
    lam: Rate
    missing_eos_penalty: NonNegativeFloat
    normalise_reward: bool
    whiten_rewards: bool
    max_grad_norm: PositiveFloat
    checkpoint_every: Positive
    snapshots: NonNegative
    examples: NonNegative
    guards: PpoGuards
    lora: LoraConfig | None

    @model_validator(mode="after")
    def _sizes_divide(self) -> "PpoConfig":
        for whole, part in (("batch_size", "minibatch_size"), ("episodes", "batch_size")):
            size, divisor = getattr(self, whole), getattr(self, part)
            if size % divisor:
                works = [n for n in (size // divisor * divisor, (size // divisor + 1) * divisor) if n]
                raise ValueError(f"{whole}={size} is not divisible by {part}={divisor}; "
                                 f"set ppo.{whole} to {' or '.join(map(str, works))}")
        return self


class BestOfNConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig
    n: Positive


class AnswersConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig


class EvaluateConfig(Section):
    runtime: RuntimeConfig
    resamples: Annotated[int, Field(ge=100)]
    confidence: OpenRate
    examples: NonNegative
    rows_per_batch: Positive


class SelectConfig(Section):
    methods: Annotated[tuple[Literal["ppo", "dpo"], ...], Field(min_length=1)]


class GateConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    power: OpenRate
    minimum_effect: Annotated[float, Field(gt=0, lt=0.5)]
    minimum_prompts: Positive
    guards: GateGuards
    resamples: Annotated[int, Field(ge=100)]
    rows_per_batch: Positive


class PackageConfig(Section):
    runtime: RuntimeConfig


class ReportConfig(Section):
    title: str
    examples: NonNegative


STAGES: dict[str, type[Section]] = {
    "prepare": PrepareConfig,
    "gold": GoldConfig,
    "sft": SftConfig,
    "generate": GenerateConfig,
    "compare": CompareConfig,
    "judge": JudgeCardConfig,
    "reward": RewardConfig,
    "dpo": DpoConfig,
    "ppo": PpoConfig,
    "best_of_n": BestOfNConfig,
    "answers": AnswersConfig,
    "evaluate": EvaluateConfig,
    "select": SelectConfig,
    "gate": GateConfig,
    "package": PackageConfig,
    "report": ReportConfig,
}


# --- reading ---


def shared_sections(stage: str) -> list[str]:
    """The shared sections that a stage's config names."""
    return [name for name in STAGES[stage].model_fields if name in SHARED]


def own_fields(stage: str) -> list[str]:
    return [name for name in STAGES[stage].model_fields if name not in SHARED]


def sections(stage: str) -> list[str]:
    """The sections of params.yaml that a stage reads: what dvc.yaml must list for it."""
    return ([stage] if own_fields(stage) else []) + shared_sections(stage)


def known_sections() -> list[str]:
    return [*SHARED, *(stage for stage in STAGES if own_fields(stage))]


def read_params(path: Path) -> dict[str, Any]:
    """Read and check a whole params file; returns it as plain mappings.

    Raises ConfigError naming the key, the file and the nearest right name.
    """
    try:
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; copy the project's params.yaml and edit it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise ConfigError(f"{path} must be a mapping of sections, found {type(params).__name__}")
    for section in params:
        if section not in known_sections():
            raise ConfigError(f"{path}: unknown section {section!r}{_nearest(str(section), known_sections())}")
    for section, model in SHARED.items():
        _validate(model, _section(params, section, path), section, path)
    for stage in STAGES:
        stage_config(params, stage, path)
    return params


def stage_config(params: Mapping[str, Any], stage: str, path: Path = Path("params.yaml")) -> Any:
    """The typed config of one stage (`answers` for `answers@dpo`)."""
    name = stage.partition("@")[0]
    values = {shared: _section(params, shared, path) for shared in shared_sections(name)}
    if own_fields(name):
        own = _section(params, name, path)
        clash = [key for key in own if key in values]
        if clash:
            raise ConfigError(f"{path}: unknown key {name}.{clash[0]}; {clash[0]!r} is a section of its own")
        values.update(own)
    return _validate(STAGES[name], values, name, path)


def _section(params: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    if name not in params:
        raise ConfigError(f"{path}: section {name!r} is missing")
    if not isinstance(params[name], Mapping):
        raise ConfigError(f"{path}: section {name!r} must be a mapping, found {type(params[name]).__name__}")
    return params[name]


def _validate(model: type[Section], values: Mapping[str, Any], section: str, path: Path) -> Section:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error, model, section)}") from None


def _explain(error: ValidationError, model: type[Section], section: str) -> str:
    """The first problem of a validation, as one line about one key."""
    unknown_first = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = unknown_first[0]
    location, beside = _without_tags(model, first["loc"])
    if location and location[0] in SHARED and location[0] in model.model_fields:
        dotted = ".".join(location)
    else:
        dotted = ".".join([section, *location])
    if first["type"] == "extra_forbidden":
        return f"unknown key {dotted}{_nearest(location[-1], list(beside.model_fields))}"
    if first["type"] == "missing":
        return f"missing key {dotted}"
    if first["type"] == "union_tag_not_found":
        return f"missing key {dotted}.kind"
    found = "" if first["type"] in ("value_error", "union_tag_invalid") else f", found {first['input']!r}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{dotted}: {message[0].lower()}{message[1:]}{found}"


def _without_tags(model: type[Section], place: tuple[str | int, ...]) -> tuple[list[str], type[Section]]:
    """(the keys of a place as they stand in the file, the section that the last of them belongs to).

    Where sections are told apart by their kind, pydantic puts the kind into the place.
    """
    keys: list[str] = []
    options: list[type[Section]] = []
    for part in place:
        tagged = [option for option in options if part in _tags(option)]
        if tagged:
            model, options = tagged[0], []
            continue
        if len(options) == 1 and not isinstance(part, int):
            model = options[0]
        keys.append(str(part))
        if not isinstance(part, int):
            field = model.model_fields.get(part)
            options = [] if field is None else _sections_in(field.annotation)
    return keys, model


def _tags(option: type[Section]) -> tuple[str, ...]:
    """The kinds by which a section is told apart from others."""
    field = option.model_fields.get("kind")
    return getattr(field.annotation, "__args__", ()) if field is not None else ()


def _sections_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _sections_in(part)]


def _nearest(name: str, right: list[str]) -> str:
    close = difflib.get_close_matches(name, right, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(right)}"
