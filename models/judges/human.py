"""People's verdicts, imported from a file: whatever cannot be used is counted by its reason, never just dropped.

A verdict belongs to the texts that a person saw. Samples may be drawn anew under the same ids; what was said about
texts that are gone is unusable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from models.judges.base import Ratings, Row, Verdict
from models.judges.shown import prompt_sha256, text_sha256
from models.judges.verdict_files import verdict_rows
from models.judges.verdict_form import (
    NO_TIME, PREFERENCES, TEXTS, Unusable, VerdictForm, canonical, missing_columns,
)  # fmt: skip

Pair = tuple[str, str, str]  # hashes: of the prompt, and of two texts of which the first sorts before the second
Timed = tuple[str | None, float]  # when, and the preference for the pair's first text
COLUMNS_SHOWN, WORD_SHOWN = 12, 40
POLICY = re.compile("[0-9a-f]{16,64}")  # the name under which a server offers a model says nothing of its weights
WAY_OUT = (
    "a verdict needs annotator, verdict, and the texts that were judged (prompt, first_text, second_text, or their "
    "sha256), or ids of samples with the policy's hash; `plumb pairs` writes files that have them, and the judge's "
    "columns say what yours are called"
)


@dataclass
class ImportCounts:
    """What became of a file's rows; every row is in exactly one.

    corrected: a later row of the same person says otherwise. contradictory: so does another, and no row says when, or
    both the same; none of them counts. unknown_times: so it is, and a row's time cannot be read. other_texts: the
    prompt or a text is none of the samples'. without_texts: no texts and no policy's hash. other_policies: ids of
    another policy's samples.
    """

    used: int = 0
    repeated: int = 0
    corrected: int = 0
    contradictory: int = 0
    unknown_times: int = 0
    not_submitted: int = 0
    broken_lines: int = 0
    missing_columns: int = 0
    unknown_verdicts: int = 0
    without_texts: int = 0
    other_texts: int = 0
    other_policies: int = 0
    unknown_ids: int = 0
    same_texts: int = 0

    def count(self, name: str, rows: int = 1) -> None:
        setattr(self, name, getattr(self, name) + rows)

    @property
    def named(self) -> str:
        """What is not zero, in words."""
        counts = [(one.name, getattr(self, one.name)) for one in fields(self)]
        return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts if count) or "it has no rows"


@dataclass
class HumanJudge:
    """Says what people said: the mean over annotators. A verdict on one order holds for the other, mirrored: people
    judge texts, and mostly see them in one order. A pair that nobody judged is invalid.

    `verdicts`: pair -> annotator -> preference for the pair's first text, 0, 0.5 or 1. `unknown`: words of rows that
    no rule reads as a verdict: where it is the word for a tie, all ties are missing.
    """

    name: str
    verdicts: Mapping[Pair, Mapping[str, float]]
    counts: ImportCounts = field(default_factory=ImportCounts)
    unknown: Iterable[str] = ()

    @property
    def imported(self) -> str:
        """What became of the rows, in words."""
        return "; ".join(filter(None, (self.counts.named, _meaning(self.unknown))))

    def compare(self, row: Row, first: str, second: str, *, key: str) -> Verdict:
        annotations = self.annotations(row, first, second)
        if not annotations:
            return Verdict(0.5, valid=False)
        raw = ", ".join(f"{who}: {value:g}" for who, value in sorted(annotations.items()))
        return Verdict(sum(annotations.values()) / len(annotations), raw=raw)

    def annotations(self, row: Row, first: str, second: str) -> dict[str, float]:
        """Annotator -> preference for `first`, for each who judged the pair."""
        one, other = text_sha256(first), text_sha256(second)
        annotations = self.verdicts.get(_pair(prompt_sha256(row["prompt"]), one, other), {})
        return {who: value if one <= other else 1 - value for who, value in annotations.items()}

    def rate(self, row: Row, response: str) -> Ratings:
        return {}


class ShownTexts:
    """The texts of samples: rows with `id`, `prompt_id`, `prompt` (its turns), `response` and `policy`."""

    def __init__(self, samples: Sequence[Row]):
        self.texts: set[tuple[str, str]] = set()  # hashes of prompt and response
        self.by_id: dict[tuple[str, str], tuple[str, str]] = {}
        self.policies: set[str] = set()
        for sample in samples:
            key = prompt_sha256(sample["prompt"]), text_sha256(sample["response"])
            self.texts.add(key)
            self.by_id[sample["prompt_id"], sample["id"]] = key
            self.policies.add(str(sample.get("policy")))

    def pair_of(self, verdict: Mapping[str, str]) -> tuple[str, str, str]:
        """The hashes of prompt, first and second text that a verdict belongs to. Raises Unusable."""
        if all(name in verdict for name in TEXTS):
            prompt, first, second = (verdict[name] for name in TEXTS)
            if (prompt, first) not in self.texts or (prompt, second) not in self.texts:
                raise Unusable("other_texts")
        else:
            if {verdict["policy"]} != self.policies or not POLICY.fullmatch(verdict["policy"]):
                raise Unusable("other_policies")
            keys = [self.by_id.get((verdict["prompt_id"], verdict[side])) for side in ("first", "second")]
            if None in keys:
                raise Unusable("unknown_ids")
            (prompt, first), (_, second) = keys
        if first == second:
            raise Unusable("same_texts")
        return prompt, first, second


def read_verdicts(name: str, path: Path, samples: Sequence[Row], form: VerdictForm = VerdictForm()) -> HumanJudge:
    """The judge that a file of verdicts makes; `samples` are rows as `ShownTexts` takes them.

    Raises ValueError as `verdict_rows` does, for a file that lacks a column altogether, and for one of which no row can
    be used; the message says what was wrong with how many.
    """
    shown, counts, given, columns, words = ShownTexts(samples), ImportCounts(), {}, {}, {}
    rows = list(verdict_rows(path))
    form = form.of_file(rows)
    for row in rows:
        try:
            verdict = canonical(_mapping(row, columns), form)
            prompt, first, second = shown.pair_of(verdict)
        except Unusable as reason:
            counts.count(str(reason))
            words[reason.word] = None
            continue
        preference = PREFERENCES[verdict["verdict"]]
        by_annotator = given.setdefault(_pair(prompt, first, second), {})
        timed = (verdict.get("at"), preference if first <= second else 1 - preference)
        by_annotator.setdefault(verdict["annotator"], []).append(timed)
    verdicts = _last_verdicts(given, counts)
    if not verdicts:
        raise ValueError(f"judge {name!r}: {_nothing_usable(path, counts, columns, words, form)}")
    return HumanJudge(name, verdicts, counts, tuple(words))


def check_verdicts(path: Path, form: VerdictForm) -> None:
    """Raises ValueError as `read_verdicts` does, but that whether texts are those of samples is not looked at."""
    counts, columns, words = ImportCounts(), {}, {}
    rows = list(verdict_rows(path))
    form = form.of_file(rows)
    for row in rows:
        try:
            canonical(_mapping(row, columns), form)
            return
        except Unusable as reason:
            counts.count(str(reason))
            words[reason.word] = None
    raise ValueError(_nothing_usable(path, counts, columns, words, form))


def _mapping(row: Mapping | str, columns: dict[str, None]) -> Mapping:
    """The row itself, its columns noted in their order. Raises Unusable for what stands for a row without a verdict."""
    if isinstance(row, str):
        raise Unusable(row)
    columns.update(dict.fromkeys(map(str, row)))
    return row


def _last_verdicts(
    given: Mapping[Pair, Mapping[str, Sequence[Timed]]], counts: ImportCounts
) -> dict[Pair, dict[str, float]]:
    """Each annotator's last preference on each pair; none where rows contradict each other and no time decides."""
    verdicts: dict[Pair, dict[str, float]] = {}
    for pair, by_annotator in given.items():
        for annotator, rows in by_annotator.items():
            times = [at for at, _ in rows]
            ordered = not {None, NO_TIME} & {*times}
            latest = max(times) if ordered else None
            held = {value for at, value in rows if not ordered or at == latest}
            if len(held) > 1:
                counts.count("unknown_times" if NO_TIME in times else "contradictory", len(rows))
                continue
            (value,) = held
            same = sum(one == value for _, one in rows)
            counts.count("used")
            counts.count("repeated", same - 1)
            counts.count("corrected", len(rows) - same)
            verdicts.setdefault(pair, {})[annotator] = value
    return verdicts


def _pair(prompt: str, first: str, second: str) -> Pair:
    return (prompt, first, second) if first <= second else (prompt, second, first)


def _nothing_usable(
    path: Path, counts: ImportCounts, columns: Mapping[str, None], words: Mapping[str, None], form: VerdictForm
) -> str:
    if missing := missing_columns(columns.keys(), form):
        known = ", ".join(list(columns)[:COLUMNS_SHOWN]) or "none"
        return f"{path} has no column {', '.join(missing)}; its columns are {known}: name them in the judge's columns"
    parts = (f"no row of {path} can be used ({counts.named})", _meaning(words), WAY_OUT)
    return "; ".join(filter(None, parts))


def _meaning(words: Iterable[str]) -> str:
    unknown = ", ".join(repr(word[:WORD_SHOWN]) for word in list(words)[:COLUMNS_SHOWN] if word)
    return f"say in the judge's words what {unknown} means: first, second or tie" if unknown else ""
