"""The sections of params.yaml as frozen typed objects; `tasks.params` reads the file into them.

One section per stage, plus sections that several stages share (`SHARED`). A stage's config holds its own
section's fields and, as fields of the same name, the shared sections it names.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Mapping

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from models.divisibility import check_divides

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]
OpenRate = Annotated[float, Field(gt=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
SPLITS = ("pretrain", "sft", "compare", "rl", "select", "gate", "preferences", "gold")
CATEGORIES = ("instruction", "safety", "creative", "reasoning")


class Section(BaseModel):
    """A mapping in params.yaml: frozen, no unknown keys, no silent conversions between types, finite numbers only."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=()
    )

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


class AnchorsConfig(Section):
    """Fixed pairs that the judges are asked again; `file` null asks nobody."""

    file: str | None
    minimum_pairs: Positive
    max_drift: Rate
    max_calls: Positive | None
    max_cost: PositiveFloat | None


class RunBudget(Section):
    """What one run may cost, its failed attempts included; null is no limit."""

    seconds: PositiveFloat | None
    gpu_seconds: PositiveFloat | None
    calls: Positive | None
    cost: PositiveFloat | None


class FlowConfig(Section):
    stage_timeout_minutes: PositiveFloat
    retries: NonNegative
    retry_delay_seconds: NonNegativeFloat
    budget: RunBudget
    pools: dict[str, Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]] | None


class NearRepeatsConfig(Section):
    words: Positive
    resemblance: Annotated[float, Field(gt=0, le=1)]
    containment: Annotated[float, Field(gt=0, le=1)]
    contained_words: Positive


class IntakeConfig(Section):
    inbox: Annotated[str, Field(pattern=r"^s3://[^/]+(/.*)?$")] | None
    remote: str
    verdicts: Annotated[str, Field(pattern=r"^[\w.-]+\.jsonl$")]
    max_object_mb: PositiveFloat
    max_object_rows: Positive
    max_row_characters: Positive
    attempts: Positive
    near_repeats: NearRepeatsConfig


class GcConfig(Section):
    """What `plumb gc` keeps beside what serves: the last runs that made something different."""

    runs: Positive


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
    "anchors": AnchorsConfig,
    "intake": IntakeConfig,
    "promote": PromoteConfig,
    "gc": GcConfig,
}


# --- parts of stage sections ---


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


Monitor = Literal[
    "praise", "padding", "over_caution", "length", "loops", "one_answer", "truncation", "distinct", "adjusted_distinct",
    "self_bleu", "kl", "perplexity", "length_reward", "proxy_gold_gap", "displacement",
]
FALLING = ("distinct", "adjusted_distinct", "self_bleu")  # limits of diversity: lower is worse


class PrepareConfig(Section):
    data: DataConfig


class GoldConfig(Section):
    runtime: RuntimeConfig
    kind: Literal["oracle", "reward_model", "judge"]
    allow_same_judge: bool
    weights: dict[str, float]
    rows_per_batch: Positive
    training: RewardTraining | None
    judge: Annotated[OpenAIJudgeConfig | HfJudgeConfig, Field(discriminator="kind")] | None = None
    asking: AskingConfig | None = None  # null: 16 calls at a time, six attempts

    @model_validator(mode="after")
    def _a_judge_is_named_and_rates(self) -> "GoldConfig":
        if (self.kind == "judge") != (self.judge is not None):
            raise ValueError(f"kind is {self.kind} and judge is {'null' if self.judge is None else 'not null'}; give a "
                             "judge of kind openai or hf with kind judge, and null with other kinds")
        if self.judge is not None and not self.judge.rates:
            raise ValueError(f"judge {self.judge.name!r} has rates false; gold needs its ratings: set it to true")
        return self


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
        names = [judge.name for judge in self.judges]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"judge {twice[0]!r} stands twice in judges; give each judge its own name")
        return self

    @model_validator(mode="after")
    def _a_limit_in_money_knows_prices(self) -> "CompareConfig":
        if self.budget.max_cost is not None and (free := self.unpriced_judges):
            raise ValueError(
                f"budget.max_cost={self.budget.max_cost:g} would never end: judge {free[0]!r} has input_price and "
                "output_price 0; state its prices, or set budget.max_cost to null"
            )
        return self

    @property
    def unpriced_judges(self) -> list[str]:
        """Judges behind an endpoint, where none of them has a price: no limit in money can bind."""
        remote = [judge for judge in self.judges if judge.kind == "openai"]
        return [] if any(judge.input_price or judge.output_price for judge in remote) else [one.name for one in remote]


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
    lora: LoraWithoutDropout | None

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
    value_learning_rate: PositiveFloat | None
    temperature: PositiveFloat
    max_new_tokens: Positive
    rows_per_batch: Positive
    rows_per_backward: Positive | None
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

    @model_validator(mode="after")
    def _sizes_divide(self) -> "PpoConfig":
        check_divides(self.batch_size, "batch_size", self.minibatch_size, "minibatch_size", section="ppo.")
        check_divides(self.episodes, "episodes", self.batch_size, "batch_size", section="ppo.")
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


class LimitConfig(Section):
    """From where on a monitor warns, and from where on it vetoes; null: it never does."""

    warning: float
    veto: float | None


class LimitsConfig(Section):
    """A monitor's limits for a table on its own and against a reference; null: not asked."""

    absolute: LimitConfig | None
    relative: LimitConfig | None


class MonitorsConfig(Section):
    runtime: RuntimeConfig
    noise: NonNegativeFloat
    minimum_answers: Positive
    examples: NonNegative
    words: Positive
    draws: Positive
    vocabulary: Positive
    demonstrations: Positive
    rows_per_batch: Positive
    limits: dict[Monitor, LimitsConfig]

    @model_validator(mode="after")
    def _a_veto_lies_beyond_its_warning(self) -> "MonitorsConfig":
        for name, limits in self.limits.items():
            for place, limit in limits:
                if limit is not None and limit.veto is not None and (limit.veto < limit.warning) != (name in FALLING):
                    side = "below" if name in FALLING else "above"
                    raise ValueError(
                        f"limits.{name}.{place}: veto {limit.veto:g} must lie {side} warning {limit.warning:g}"
                    )
        return self


class SelectConfig(Section):
    methods: Annotated[tuple[Literal["ppo", "dpo"], ...], Field(min_length=1)]
    checkpoints: Literal["all", "final"]


class GateConfig(Section):
    runtime: RuntimeConfig
    serving: ServingConfig
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    power: OpenRate
    minimum_effect: Annotated[float, Field(gt=0, lt=0.5)]
    minimum_prompts: Positive
    guards: GateGuards
    looks: Positive
    look: Positive
    sets: Positive
    set: NonNegative
    resamples: Annotated[int, Field(ge=100)]
    rows_per_batch: Positive

    @property
    def look_alpha(self) -> float:
        """What one look at a version of the prompts may spend of `alpha`, one-sided (Bonferroni)."""
        return self.alpha / self.looks

    @model_validator(mode="after")
    def _what_was_spent_is_spent(self) -> "GateConfig":
        if self.look > self.looks:
            raise ValueError(
                f"look {self.look} is more than looks {self.looks}: alpha is spent on these prompts; take the next "
                "part of them by set, and look 1"
            )
        if self.set >= self.sets:
            raise ValueError(f"set {self.set} is not below sets {self.sets}: parts are counted from 0")
        return self


class PackageConfig(Section):
    runtime: RuntimeConfig


class ContractsConfig(Section):
    kl_at_start: NonNegativeFloat
    single_sample_share: Rate


class ReportConfig(Section):
    title: str
    examples: NonNegative
    contracts: ContractsConfig


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
    "monitors": MonitorsConfig,
    "select": SelectConfig,
    "gate": GateConfig,
    "package": PackageConfig,
    "report": ReportConfig,
}


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
