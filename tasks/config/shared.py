"""Fields and the mapping that every section of params.yaml is made of, and sections that several stages share."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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


@dataclass(frozen=True)
class Registry:
    """What params name and other packages add to: ours in a table, theirs by entry points (docs/extending.md).

    `what` is one of its things in words. A text in place of the table or of a thing (module:object) names what is
    imported only when it is wanted.
    """

    what: str
    group: str
    table: Mapping[str, Any] | str

    @property
    def ours(self) -> Mapping[str, Any]:
        return resolved(self.table)

    def checked(self, settings: Any) -> Any:
        """A mapping by the names of such things, as it is. Raises as `outside` does."""
        self.packages(settings)
        return settings

    def __getitem__(self, name: str) -> Any:
        """What is registered under a name. Raises ValueError for an unknown one, and where it cannot be imported."""
        if name in self.ours:
            return resolved(self.ours[name])
        entry = self.outside(name)
        try:
            return entry.load()
        except (ImportError, AttributeError) as error:
            what = f"{self.what} {name!r} ({entry.value} of {entry.dist.name} {entry.dist.version})"
            raise ValueError(f"{what} cannot be imported: {error}; correct the package's entry point, or install what "
                             "it needs") from error

    def has(self, name: str) -> bool:
        return name in self.ours or name in entry_points(group=self.group).names

    def outside(self, name: str) -> EntryPoint:
        """The entry point of an installed package. Raises ValueError where none has the name, or several."""
        entries = entry_points(group=self.group)
        named = {entry.dist.name: entry for entry in entries if entry.name == name}
        if not named:
            known = ", ".join(map(repr, dict.fromkeys([*self.ours, *entries.names])))
            raise ValueError(f"{name!r} is no {self.what}; known are {known}; correct it, or install the package that "
                             f"registers it as an entry point in the group {self.group}")
        if len(named) > 1:
            raise ValueError(f"{' and '.join(sorted(named))} both register the {self.what} {name!r}; uninstall one")
        return next(iter(named.values()))

    def packages(self, names: Iterable[str]) -> dict[str, str]:
        """The packages that register these names, with their versions; ours are of none. Raises as `outside` does."""
        entries = [self.outside(name) for name in names if name not in self.ours]
        return {entry.dist.name: entry.dist.version for entry in entries}


STAGES_OF_OTHERS = Registry("stage", "plumbline.stages", {})


def is_here(stage: str) -> bool:
    """Whether a stage is a file at the top of tasks/; those of other packages are registered."""
    return stage.isidentifier() and Path(__file__).parent.with_name(f"{stage}.py").is_file()


def resolved(reference: Any) -> Any:
    """What a text (module:object) names; anything else is itself."""
    return pkgutil.resolve_name(reference) if isinstance(reference, str) else reference


class Extensible(Section):
    """A section that may name what other packages register.

    `plugins` states those packages with their versions: nothing else in a stage's key says that one has changed.
    """

    plugins: dict[str, str] = {}

    def packages(self) -> dict[str, str]:
        """Package -> version, of all that this section names and is not ours."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _packages_are_stated(self) -> "Extensible":
        check_plugins(self.plugins, self.packages())
        return self


def check_plugins(stated: Any, used: Mapping[str, str]) -> None:
    """Raises ValueError unless params state the packages that they name things of, with the installed versions."""
    if stated != used:
        raise ValueError(f"plugins is {stated}, and what is named here comes from {used}; set plugins to that, so that "
                         "another version of a package makes the stage run again")


class RuntimeConfig(Section):
    seed: NonNegative
    threads: Positive
    dtype: Literal["float32", "bfloat16"]
    date: str
    logits_mb: PositiveFloat = 256.0

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


class AskingConfig(Section):
    concurrency: Positive
    attempts: Positive
    first_wait_seconds: NonNegativeFloat
    longest_wait_seconds: NonNegativeFloat
    patience_seconds: PositiveFloat = 1800.0
    failed_share: Rate = 0.02


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
