"""What a language model said, as a verdict or as ratings: JSON where it kept to the schema, else as it reads."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.judges.base import Ratings, Verdict, weighted_mean

PREFERENCES = {"a": 1.0, "b": 0.0, "tie": 0.5}
LOWEST, HIGHEST = 1, 5


class MalformedReply(ValueError):
    """A reply in which no answer to the question can be found."""


def read_verdict(text: str, weights: Mapping[str, float]) -> Verdict:
    """The preference for the response shown first: the mean over the criteria, by weight, of A = 1, tie = 0.5, B = 0.

    Raises MalformedReply when a criterion has no verdict.
    """
    criteria = {name: _preference(value) for name, value in read_values(text, list(weights), _is_verdict).items()}
    return Verdict(weighted_mean(criteria, weights), criteria=criteria, raw=text)


def read_ratings(text: str, criteria: Sequence[str]) -> Ratings:
    """Ratings from 1 to 5, mapped to [0, 1]. Raises MalformedReply when a criterion has none."""
    values = read_values(text, criteria, _is_rating)
    return {name: (int(float(value)) - LOWEST) / (HIGHEST - LOWEST) for name, value in values.items()}


def read_values(text: str, criteria: Sequence[str], fits: Any) -> dict[str, Any]:
    """Criterion -> value, from the first reading of `text` that has a fitting value for every criterion."""
    for reading in _readings(text, criteria):
        if all(name in reading and fits(reading[name]) for name in criteria):
            return {name: reading[name] for name in criteria}
    raise MalformedReply(f"no answer for {', '.join(criteria)} in the reply {text[:200]!r}")


def _readings(text: str, criteria: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """From the strictest to the loosest: JSON objects in the text, lines `criterion: value`, a bare value for all."""
    decoder = json.JSONDecoder()
    for start in (place for place, character in enumerate(text) if character == "{"):
        try:
            found, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, Mapping):
            yield found
    yield {
        name: match.group(1).rstrip(".")
        for name in criteria
        if (match := re.search(rf"\b{re.escape(name)}\b[\"'*]*\s*[:=-]\s*[\"'*]*([\w.]+)", text, re.IGNORECASE))
    }
    bare = text.strip().strip("\"'*.[]()")
    yield {name: bare for name in criteria}


def _is_verdict(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in PREFERENCES


def _preference(value: str) -> float:
    return PREFERENCES[value.strip().lower()]


def _is_rating(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        number = float(value)
    except (TypeError, ValueError):
        return False
    return number.is_integer() and LOWEST <= number <= HIGHEST
