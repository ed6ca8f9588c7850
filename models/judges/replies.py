"""What a language model said, as a verdict or as ratings: JSON where it kept to the schema, else plain lines.

A reply may quote the candidates, and a candidate may hold a verdict on itself. So a reply that holds two verdicts is
malformed, as is one whose only verdict stands in the middle of a sentence: whoever gets quoted wins nothing by it.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from models.judges.base import Ratings, Verdict, weighted_mean

READER = 2  # stands in the key of every stored answer: raise it when replies are read differently
PREFERENCES = {"a": 1.0, "b": 0.0, "tie": 0.5}
LOWEST, HIGHEST = 1, 5
_REASONED = re.compile(r".*(?:</(?:think|thinking|thought|reasoning)>|\[/THINK\])", re.DOTALL | re.IGNORECASE)
_UNFINISHED = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]", re.IGNORECASE)
_BEFORE, _AFTER = r"[ \t\"'*_`#([-]*", r"[\"'*_`)\].,;]*[ \t]*"  # what may stand around a value that is all of its line
_VALUE = r"([A-Za-z]+|\d+(?:\.\d+)?)(?:[ \t]*/[ \t]*5)?"

Reader = Callable[[Any], float | None]  # None for a value that is no answer


class MalformedReply(ValueError):
    """A reply in which no answer to the question can be found, or more than one."""


def read_verdict(text: str, weights: Mapping[str, float]) -> Verdict:
    """The preference for the response shown first: the mean over the criteria, by weight, of A = 1, tie = 0.5, B = 0.

    Raises MalformedReply when a criterion has no verdict, or two.
    """
    criteria = read_values(text, list(weights), _preference)
    return Verdict(weighted_mean(criteria, weights), criteria=criteria, raw=text)


def read_ratings(text: str, criteria: Sequence[str]) -> Ratings:
    """Ratings from 1 to 5, mapped to [0, 1]. Raises MalformedReply when a criterion has none, or two."""
    values = read_values(text, criteria, _rating)
    return {name: (value - LOWEST) / (HIGHEST - LOWEST) for name, value in values.items()}


def read_values(text: str, criteria: Sequence[str], read: Reader) -> dict[str, float]:
    """Criterion -> value, where all objects and lines of `text` that answer for every criterion say the same.

    What a model thinks aloud before it answers is not read. Raises MalformedReply.
    """
    said = _REASONED.sub("", text, count=1)
    read_as = [] if _UNFINISHED.search(said) else [*_objects(said), *((one, True) for one in _lines(said, criteria))]
    found = [({name: read(reading.get(name)) for name in criteria}, meant) for reading, meant in read_as]
    answers = [(values, meant) for values, meant in found if None not in values.values()]
    if any(values != answers[0][0] for values, _ in answers):
        raise MalformedReply(f"more than one answer for {', '.join(criteria)} in the reply {text[:200]!r}")
    if not any(meant for _, meant in answers):
        raise MalformedReply(f"no answer for {', '.join(criteria)} in the reply {text[:200]!r}")
    return answers[0][0]


def is_unfinished(text: str) -> bool:
    """Whether a reply ends before it says anything: it is empty, or still thinks aloud."""
    return not text.strip() or bool(_UNFINISHED.search(_REASONED.sub("", text, count=1)))


def _objects(text: str) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """The JSON objects in `text`, nested ones as well, and whether each is the reply's own word: it ends the reply, or
    has its lines to itself. Others are quoted in a sentence."""
    decoder, place = json.JSONDecoder(object_pairs_hook=_contradictions_out), 0
    while (place := text.find("{", place)) >= 0:
        try:
            found, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        before, after = text[:place].rpartition("\n")[2], text[end:].strip(" \t\r`*.]")
        alone = re.fullmatch(r"[ \t`*[]*(?:json)?[ \t]*", before) and after.startswith("\n")
        yield from ((one, bool(alone or not after.strip())) for one in _mappings(found))
        place = end


def _contradictions_out(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a key that stands twice with different values has none."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = value if found.get(key, value) == value else None
    return found


def _mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from _mappings(part)


def _lines(text: str, criteria: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Lines `criterion: value` and nothing else on them, each way of taking one for every criterion that differs; and
    a value that is the whole reply, for all criteria."""
    values = {
        name: re.findall(
            rf"^{_BEFORE}(?:\d+[.)]{_BEFORE})?{re.escape(name)}[\"'*_`]*[ \t]*[:=-][ \t\"'*_`(]*{_VALUE}{_AFTER}$",
            text, re.IGNORECASE | re.MULTILINE,
        )
        for name in criteria
    }
    for take in (0, -1):
        yield {name: said[take] for name, said in values.items() if said}
    yield dict.fromkeys(criteria, text.strip().strip("\"'*_`.[]()"))


def _preference(value: Any) -> float | None:
    return PREFERENCES.get(value.strip().lower()) if isinstance(value, str) else None


def _rating(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number.is_integer() and LOWEST <= number <= HIGHEST else None
