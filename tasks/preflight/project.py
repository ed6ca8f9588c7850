"""What the checks of a preflight look at: params, the rows of every split, tokenizer and config of the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from models.chat.template import load_tokenizer
from models.judges.tally import Tally
from models.lm.weights import check_model_directory, read_config
from tasks.common.rows import Row
from tasks.preflight.outside import file_digest, variable_digest
from tasks.prepare import Survey, survey
from tasks.runner.params import stage_config

USAGE = ("calls", "input_tokens", "output_tokens", "cost")
ROLES = ("sampler", "compare", "gold")  # who may be asked across a network: of generate, of compare, of the rest


@dataclass(frozen=True)
class Shape:
    """Stands where a stage has its model and reads no more than the config."""

    config: Any


@dataclass
class Project:
    """`roles`: those of ROLES that what runs next needs; `asks`: judges may be called.

    `variables` and `files`: digests of what checks read beside data, model and params. `tally`: what calls took.
    Whatever cannot be read raises each time that a check asks for it; `checks.examine` names it once.
    """

    params: Mapping[str, Any]
    roles: frozenset[str] = frozenset(ROLES)
    asks: bool = False
    variables: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def config(self, stage: str) -> Any:
        """The typed config of a stage."""
        return stage_config(self.params, stage)

    def reads_variable(self, name: str | None) -> None:
        if name is not None:
            self.variables[name] = variable_digest(name)

    def reads_file(self, path: str) -> Path:
        self.files[path] = file_digest(Path(path))
        return Path(path)

    def add(self, tally: Tally) -> None:
        """Count what asking took."""
        for name in USAGE:
            setattr(self.tally, name, getattr(self.tally, name) + getattr(tally, name))

    def judges(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(the section of params, the judge's settings) of those whose roles are needed."""
        compare, gold = self.config("compare"), self.config("gold")
        if "compare" in self.roles and compare.given != "only":
            yield from (("compare.judges", judge.model_dump()) for judge in compare.judges)
        if "gold" in self.roles and gold.judge is not None:
            yield "gold.judge", gold.judge.model_dump()

    @property
    def model_path(self) -> Path:
        return Path(self.params["model"]["path"])

    @cached_property
    def shape(self) -> Shape:
        """Raises ValueError for a directory that no stage would load."""
        check_model_directory(self.model_path)
        return Shape(read_config(self.model_path))

    @cached_property
    def tokenizer(self) -> Any:
        """Raises ValueError as `load_tokenizer` does."""
        return load_tokenizer(self.model_path, self.config("sft").runtime.date)

    @cached_property
    def prepared(self) -> Survey:
        """What `prepare` would write. A template that cannot be read is asked of no row: `tokenizer` says so."""
        data = self.config("prepare").data
        try:
            model = self.model_path if self.tokenizer else None
        except ValueError:
            model = None
        return survey(data, Path(data.path), model)

    def rows(self, name: str) -> Sequence[Row]:
        """The rows of a file that `prepare` writes, by its stem; none where the data cannot be read."""
        return self.prepared.files.get(name, [])
