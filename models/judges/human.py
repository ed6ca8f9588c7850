"""People's verdicts, imported from JSONL or CSV: whatever cannot be used is counted by its reason, never just dropped.

Columns: `prompt_id`, `first` and `second` (ids of samples, in the order shown), `annotator`, `verdict` (first, second
or tie).
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from models.judges.base import Ratings, Row, Verdict

COLUMNS = ("prompt_id", "first", "second", "annotator", "verdict")
PREFERENCES = {"first": 1.0, "second": 0.0, "tie": 0.5}
Pair = tuple[str, str, str]  # prompt id, and two texts of which the first sorts before the second


@dataclass
class ImportCounts:
    """What became of a file's rows. Every row is in exactly one of all but the last; `same_texts` are verdicts on two
    samples that read alike. `contradictions` counts (annotator, pair) with verdicts that differ: each counts as that
    annotator's tie."""

    used: int = 0
    repeated: int = 0
    broken_lines: int = 0
    missing_columns: int = 0
    unknown_ids: int = 0
    unknown_verdicts: int = 0
    same_texts: int = 0
    contradictions: int = 0


@dataclass
class HumanJudge:
    """Says what people said: the mean over annotators. A verdict on one order holds for the other, mirrored: people
    judge texts, and mostly see them in one order. A pair that nobody judged is invalid.

    `verdicts`: pair -> annotator -> preference for the pair's first text, 0, 0.5 or 1.
    """

    name: str
    verdicts: Mapping[Pair, Mapping[str, float]]
    counts: ImportCounts = field(default_factory=ImportCounts)

    def compare(self, row: Row, first: str, second: str, *, key: str) -> Verdict:
        said = self.said(row, first, second)
        if not said:
            return Verdict(0.5, valid=False)
        raw = ", ".join(f"{who}: {value:g}" for who, value in sorted(said.items()))
        return Verdict(sum(said.values()) / len(said), raw=raw)

    def said(self, row: Row, first: str, second: str) -> dict[str, float]:
        """Annotator -> preference for `first`, for each who judged the pair."""
        said = self.verdicts.get(_pair(row["id"], first, second), {})
        return {who: value if first <= second else 1 - value for who, value in said.items()}

    def rate(self, row: Row, response: str) -> Ratings:
        return {}


def read_verdicts(name: str, path: Path, samples: Sequence[Row]) -> HumanJudge:
    """The judge that a file of verdicts makes; `samples` are rows with `id`, `prompt_id` and `response`.

    Raises ValueError for a file that is neither .jsonl nor .csv, that lacks a column altogether, that is not UTF-8,
    or of which no row can be used; the message says what was wrong with how many.
    """
    texts = {(sample["prompt_id"], sample["id"]): sample["response"] for sample in samples}
    counts, said = ImportCounts(), {}
    for row in verdict_rows(path):
        verdict = _classified(row, texts, counts)
        if verdict is not None:
            pair, annotator, preference = verdict
            said.setdefault(pair, {}).setdefault(annotator, []).append(preference)
    verdicts: dict[Pair, dict[str, float]] = {}
    for pair, by_annotator in said.items():
        for annotator, values in by_annotator.items():
            contradicts = len(set(values)) > 1
            counts.contradictions += contradicts
            counts.repeated += len(values) - 1
            counts.used -= len(values) - 1
            verdicts.setdefault(pair, {})[annotator] = 0.5 if contradicts else values[0]
    if not verdicts:
        problems = _problems(counts)
        raise ValueError(f"judge {name!r}: no row of {path} can be used ({problems}); ids are those of samples.jsonl")
    return HumanJudge(name, verdicts, counts)


def _classified(
    row: object, texts: Mapping[tuple[str, str], str], counts: ImportCounts
) -> tuple[Pair, str, float] | None:
    """(pair, annotator, preference for the pair's first text), or None for a row that is counted as unusable."""
    if not isinstance(row, Mapping):
        counts.broken_lines += 1
        return None
    if any(row.get(column) is None or not str(row[column]).strip() for column in COLUMNS):
        counts.missing_columns += 1
        return None
    prompt_id, first, second = str(row["prompt_id"]), str(row["first"]), str(row["second"])
    if first == second or (prompt_id, first) not in texts or (prompt_id, second) not in texts:
        counts.unknown_ids += 1
        return None
    preference = PREFERENCES.get(str(row["verdict"]).strip().lower())
    if preference is None:
        counts.unknown_verdicts += 1
        return None
    shown, other = texts[prompt_id, first], texts[prompt_id, second]
    if shown.strip() == other.strip():
        counts.same_texts += 1
        return None
    counts.used += 1
    return _pair(prompt_id, shown, other), _person(row["annotator"]), preference if shown <= other else 1 - preference


def _person(annotator: object) -> str:
    """One name for one person, however it was typed: without spaces around it, in small letters."""
    return " ".join(str(annotator).split()).casefold()


def _pair(prompt_id: str, first: str, second: str) -> Pair:
    return (prompt_id, first, second) if first <= second else (prompt_id, second, first)


def verdict_rows(path: Path) -> Iterator[object]:
    """One mapping per row; None for a line that is no JSON object. Raises ValueError as `read_verdicts` does, but that
    whether a row can be used hangs on the samples."""
    try:
        yield from _rows(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None


def _rows(path: Path) -> Iterator[object]:
    if path.suffix == ".csv":
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path} has no column {', '.join(missing)}; its first line is {','.join(COLUMNS)}")
            yield from reader
    elif path.suffix == ".jsonl":
        with open(path, encoding="utf-8-sig") as file:  # with or without a byte order mark
            for line in file:
                if line.strip():
                    yield _parsed(line)
    else:
        raise ValueError(f"{path} is neither .jsonl nor .csv; give human verdicts in one of them")


def _parsed(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _problems(counts: ImportCounts) -> str:
    names = ("broken_lines", "missing_columns", "unknown_ids", "unknown_verdicts", "same_texts")
    return ", ".join(f"{getattr(counts, name)} {name.replace('_', ' ')}" for name in names)
