"""What a monitor says: a number, the threshold it is held against, a sentence for a person, and examples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Level = Literal["ok", "warning", "veto"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "veto")


@dataclass(frozen=True)
class Limit:
    """From where on a number is a warning, and from where on it vetoes a promotion; None: it never does."""

    warning: float
    veto: float | None = None


@dataclass(frozen=True)
class Limits:
    """The limits of one monitor: for a table on its own, and against a reference; None: not asked."""

    absolute: Limit | None = None
    relative: Limit | None = None


@dataclass(frozen=True)
class Example:
    """An answer that shows what was found, and what the reference said to the same prompt, where it is known."""

    prompt: str
    response: str
    reference: str | None = None


@dataclass(frozen=True)
class Finding:
    """One monitor's result, in the unit of `number`.

    `threshold` and `veto` are what `number` was held against, `reference` the same number of the reference model.
    """

    name: str
    number: float
    threshold: float
    veto: float | None
    reference: float | None
    level: Level
    sentence: str
    examples: tuple[Example, ...] = ()

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"examples": [asdict(example) for example in self.examples]}


def rising(number: float, limit: Limit) -> Level:
    """The level of a number that is bad when it is high."""
    if limit.veto is not None and number >= limit.veto:
        return "veto"
    return "warning" if number >= limit.warning else "ok"


def falling(number: float, limit: Limit) -> Level:
    """The level of a number that is bad when it is low."""
    if limit.veto is not None and number <= limit.veto:
        return "veto"
    return "warning" if number <= limit.warning else "ok"


def worst(levels: Sequence[Level]) -> Level:
    return max(levels, key=LEVELS.index, default="ok")


def by_prompt(prompts: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Mean value of each different prompt."""
    found: dict[str, list[float]] = {}
    for prompt, value in zip(prompts, values, strict=True):
        found.setdefault(prompt, []).append(float(value))
    return {prompt: sum(of_prompt) / len(of_prompt) for prompt, of_prompt in found.items()}


def standard_error(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float:
    """Standard error of the difference of two means over prompts: paired where the prompts are the same."""
    if set(ours) == set(theirs):
        differences = [ours[prompt] - theirs[prompt] for prompt in ours]
        return float(np.std(differences, ddof=1)) / math.sqrt(len(differences)) if len(differences) > 1 else math.inf
    return math.hypot(*(_error_of_mean(list(values.values())) for values in (ours, theirs)))


def _error_of_mean(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
