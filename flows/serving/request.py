"""What a promotion is asked for, where it works, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows.history import registry
from flows.history.registry import State
from flows.serving.verifying import logit_difference
from tasks.config.service import PromoteConfig

SHA256, COMMIT_ID = "[0-9a-f]{64}", "[0-9a-f]{7,64}"
Verify = Callable[[Path, Path], float]


@dataclass(frozen=True)
class Request:
    """What is to be promoted, on which evidence. `compared` is the champion at the gate; None when there was none."""

    candidate: str
    gate: str
    commit: str
    compared: int | None

    def __post_init__(self):
        for name, value, shape in (
            ("candidate", self.candidate, SHA256), ("gate", self.gate, SHA256), ("commit", self.commit, COMMIT_ID),
        ):  # fmt: skip
            if not re.fullmatch(shape, value):
                raise ValueError(f"{name} {value!r} is not a hash ({shape}); take it from what plumb align made")


@dataclass(frozen=True)
class Place:
    """Where a promotion works: MLflow's client, the project with its DVC cache, PLUMB_STATE, and the policy."""

    client: object
    root: Path
    state: Path
    config: PromoteConfig
    verify: Verify = logit_difference

    @property
    def name(self) -> str:
        return self.config.model_name

    def read(self) -> State:
        return registry.read(self.client, self.name)


@dataclass(frozen=True)
class Outcome:
    """How it ended: promoted, refused or waiting; `text` is one line for a person."""

    word: str
    version: int | None
    text: str
