"""Fields and the mapping that every section of params.yaml is made of, and sections that several stages share."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Mapping

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]
OpenRate = Annotated[float, Field(gt=0, lt=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


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


SPLITS = ("pretrain", "sft", "compare", "rl", "select", "gate", "preferences", "gold")
CATEGORIES = ("instruction", "safety", "creative", "reasoning")
# What a row says, and what else of it is read (tasks/data/fields.py has the types).
CONTENT_FIELDS = (
    "messages", "prompt", "context", "history", "completion", "system", "tools", "media", "chosen", "rejected",
    "answers", "scores", "ranks", "best", "preference", "winner", "score",
)  # fmt: skip
ROW_FIELDS = (
    "id", "root", "category", "split", "origin", "kind", "harmful", "attack", "insisted", "polarity",
    "expected_facts", "other_facts", "topic", "score_gap", "soft_label",
)  # fmt: skip


class RuntimeConfig(Section):
    seed: NonNegative
    threads: Positive
    dtype: Literal["float32", "bfloat16"]
    date: str

    @field_validator("date")
    @classmethod
    def _is_a_day(cls, value: str) -> str:
        """Raises ValueError unless it is a day as templates' `strftime_now` needs it."""
        try:
            day = date.fromisoformat(value)
        except ValueError:
            day = None
        if day is None or day.isoformat() != value:
            raise ValueError(f'{value!r} is no day; write it as "2026-01-31", in quotes')
        return value


class ServingConfig(Section):
    temperature: PositiveFloat
    max_new_tokens: Positive
    rows_per_batch: Positive


class ContractsConfig(Section):
    """What each stage owes the next, and which of it keeps no candidate from promotion when it is broken: `waived`."""

    kl_at_start: NonNegativeFloat
    single_sample_share: Rate
    waived: tuple[
        Literal[
            "sft_beats_base", "judge_beats_longest", "reward_beats_length", "reward_beats_words", "ppo_starts_at_sft",
            "training_reaches_best_of_n",
        ],
        ...,
    ]


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


class NearRepeatsConfig(Section):
    """When a text nearly repeats a held-out prompt; see tasks/data/near_repeats.py."""

    words: Positive
    resemblance: Annotated[float, Field(gt=0, le=1)]
    containment: Annotated[float, Field(gt=0, le=1)]
    contained_words: Positive


def _known_columns(columns: dict[str, str | list[str] | None]) -> dict[str, str | list[str] | None]:
    known = ("form", "marks", *CONTENT_FIELDS, *ROW_FIELDS)
    for name, column in columns.items():
        if name not in known:
            raise ValueError(f"{name!r} is no field of ours; write {{our field: column of the file}}, with a field of "
                             f"{', '.join(known)}")  # fmt: skip
        if name in ("form", "marks") and not isinstance(column, str):
            raise ValueError(f"{name} must be a name, found {column!r}")
        if isinstance(column, list) and name not in ("answers", "scores", "ranks"):
            raise ValueError(f"{name} is one column, found {column!r}; only answers, scores and ranks may be several")
    return columns


# Our field -> the file's column, a path such as `completions.response`, or a column for each answer; null leaves a column
# out. `form` names one of tasks/data/forms.py, `marks` one of tasks/data/marks.py.
ColumnMap = Annotated[dict[str, str | list[str] | None], AfterValidator(_known_columns)]


class Columns(Section):
    """What the columns of a file are, where its form is not recognised by them."""

    demonstrations: ColumnMap | None
    prompts: ColumnMap | None
    preferences: ColumnMap | None


class PairsConfig(Section):
    """Which pairs are made of several answers with scores or ranks: the best against each that is clearly worse."""

    minimum_gap: PositiveFloat


class DataConfig(Section):
    path: str
    demonstrations: str
    prompts: str | None
    preferences: str | None
    columns: Columns
    pairs: PairsConfig
    bad_rows: Literal["refuse", "skip"]
    max_characters: Positive | None
    near_repeats: NearRepeatsConfig
    splits: SplitShares


class ModelConfig(Section):
    path: str


class TrackingConfig(Section):
    experiment: str
    max_artifact_mb: PositiveFloat


class PrepareConfig(Section):
    data: DataConfig
