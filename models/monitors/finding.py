"""What a monitor says: a number, the threshold it is held against, a sentence for a person, and examples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic_core import to_jsonable_python

Level = Literal["ok", "warning", "veto"]
LEVELS: tuple[Level, ...] = ("ok", "warning", "veto")
WITHIN_NOISE = "too few answers to tell it from noise"


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
    """An answer that shows it, and what the reference answered to the same prompt, where that is known."""

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
        return to_jsonable_python(self)


def rising(number: float, limit: Limit) -> Level:
    """The level of a number that is bad when it is high."""
    if limit.veto is not None and number >= limit.veto:
        return "veto"
    return "warning" if number >= limit.warning else "ok"


def falling(number: float, limit: Limit) -> Level:
    """The level of a number that is bad when it is low."""
    return rising(-number, Limit(-limit.warning, None if limit.veto is None else -limit.veto))


def worst(levels: Sequence[Level]) -> Level:
    return max(levels, key=LEVELS.index, default="ok")


@dataclass(frozen=True)
class Ratio:
    """Σ parts / Σ wholes over prompts, with what each prompt contributes to its error."""

    value: float
    residuals: Mapping[str, float]

    @classmethod
    def of(cls, prompts: Sequence[str], parts: Sequence[float], wholes: Sequence[float]) -> "Ratio":
        """A mean where the wholes are 1. Rows of one prompt belong together. 0 where the wholes are."""
        sums: dict[str, np.ndarray] = {}
        for prompt, part, whole in zip(prompts, parts, wholes, strict=True):
            sums[prompt] = sums.get(prompt, np.zeros(2)) + (part, whole)
        total = sum(sums.values(), np.zeros(2))
        if total[1] == 0:
            return cls(0.0, dict.fromkeys(sums, 0.0))
        value, mean = float(total[0] / total[1]), total[1] / len(sums)
        return cls(value, {prompt: float((part - value * whole) / mean) for prompt, (part, whole) in sums.items()})


def standard_error(ours: Ratio, theirs: Ratio) -> float:
    """Standard error of the difference, linearised; paired where the prompts are the same. Infinite for one prompt."""
    if set(ours.residuals) == set(theirs.residuals):
        return _error_of_mean([value - theirs.residuals[prompt] for prompt, value in ours.residuals.items()])
    return math.hypot(*(_error_of_mean(list(ratio.residuals.values())) for ratio in (ours, theirs)))


def _error_of_mean(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.inf
