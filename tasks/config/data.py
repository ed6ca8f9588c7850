"""The section of `prepare`: whose data, what its columns are, how it is split."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from tasks.config.shared import Extensible, Positive, PositiveFloat, Rate, Registry, Section

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


# Our field -> the file's column, a path such as `completions.response`, or a column for each answer; null leaves a
# column out. `form` names one of tasks/data/forms.py, `marks` one of tasks/data/marks.py.
ColumnMap = Annotated[dict[str, str | list[str] | None], AfterValidator(_known_columns)]


class Columns(Section):
    """What the columns of a file are, where its form is not recognised by them."""

    demonstrations: ColumnMap | None
    prompts: ColumnMap | None
    preferences: ColumnMap | None


class PairsConfig(Section):
    """Which pairs are made of several answers with scores or ranks: the best against each that is clearly worse."""

    minimum_gap: PositiveFloat


FORMS = Registry("data form", "plumbline.forms", "tasks.data.forms:BY_NAME")


class DataConfig(Extensible):
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

    def packages(self) -> dict[str, str]:
        columns = self.columns.model_dump().values()
        return FORMS.packages(one["form"] for one in columns if one and "form" in one)


class PrepareConfig(Section):
    data: DataConfig
