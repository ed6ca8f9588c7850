"""Files of pairs with a known better response, as benchmarks of judges have them, and what was said about the pairs.

A row holds two responses and a label (JudgeBench, LLMBar), or better and worse ones, several of each where they are
lists (RewardBench 2; RM-Bench, whose lists are one answer in several styles). Every other form of preferences that the
data may have is read as well.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.judges.base import Verdict
from models.judges.labelled import UNUSABLE, LabelledPair
from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.data.contents import TIES, WINNERS
from tasks.data.fields import root_of
from tasks.data.forms import Form
from tasks.data.reading import reader_for
from tasks.data.values import BadRow, is_null, unpacked
from tasks.tools.tables import read_table

FORMS = (
    Form("judgebench", "ScalerLab/JudgeBench",
         {"prompt": "question", "answers": ("response_A", "response_B"), "winner": "label"}, {"subset": "source"}),
    Form("llmbar", "princeton-nlp/LLMBar",
         {"prompt": "input", "answers": ("output_1", "output_2"), "winner": "label"}, {"subset": "subset"}),
    Form("labelled", "two responses and a label",
         {"prompt": "prompt", "answers": ("response_a", "response_b"), "winner": "label"}, {"subset": "subset"}),
)  # fmt: skip
SCORES = (("score_chosen", "score_rejected"), ("scores_chosen", "scores_rejected"))
SWAPS = ("swap = False", "swap = True")  # LLMBar's results, which name the file's responses in both orders
PLACES: dict[str, float] = {  # the word for a place, as shown -> the preference for the response shown first
    **{name: 1.0 - place for name, place in WINNERS.items()},
    **dict.fromkeys(("a>b", "a>>b", "response_a", "output_1"), 1.0),
    **dict.fromkeys(("b>a", "b>>a", "response_b", "output_2"), 0.0),
    "a=b": 0.5,
}
NUMBERS = {"1": 1.0, "2": 0.0}  # LLMBar's; elsewhere 1 may be the second, counted from 0
NAMES = {"chosen": True, "better": True, "rejected": False, "worse": False}  # a verdict that names the response
ABSENT = object()  # of a verdict that no column has
Verdicts = tuple[Verdict | None, Verdict | None]


@dataclass(frozen=True)
class Columns:
    """Which columns say the subset, and the verdicts in the order shown and swapped; None: the usual names."""

    subset: str | None = None
    verdict: str = "verdict"
    swapped: str = "verdict_swapped"


@dataclass
class Labelled:
    """All pairs of the files, the prompt of each as judges read it, and what was left out by its reason."""

    pairs: list[LabelledPair] = field(default_factory=list)
    prompts: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Given:
    """One pair of a row, as `{prompt, chosen, rejected}` or any other form of preferences."""

    row: Row
    content: Row
    better_first: bool = True
    place: tuple[int, int] = (0, 0)  # in the lists of better and worse responses
    styles: bool = False


def read_labelled(paths: Sequence[Path], columns: Columns) -> Labelled:
    """The pairs of all files; a file's place among the others names the subset of rows that name none.

    Raises DataError for a file that cannot be read, or when no pair is left.
    """
    labelled = Labelled()
    for path, name in zip(paths, _names(paths), strict=True):
        _read(path, name, columns, labelled)
    if not labelled.pairs:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in labelled.left_out.most_common(3))
        raise DataError(f"{paths[0]} has no labelled pair: {reasons}")
    return labelled


def _names(paths: Sequence[Path]) -> list[str]:
    """What tells the files apart: their paths without what all share at either end."""
    if len(paths) == 1:
        return [paths[0].name.split(".")[0]]
    parts = [path.resolve().parts for path in paths]
    start = len(os.path.commonprefix(parts))
    end = len(os.path.commonprefix([one[start:][::-1] for one in parts]))
    return ["/".join(one[start : len(one) - end]) or path.name for one, path in zip(parts, paths, strict=True)]


def _read(path: Path, name: str, columns: Columns, labelled: Labelled) -> None:
    given: list[tuple[int, _Given]] = []
    rows = read_table(path)
    if columns.subset and not any(columns.subset in row for row in rows):
        raise DataError(f"{path} has no column {columns.subset!r}; its columns are {', '.join(rows[0])}")
    for number, row in enumerate(rows, start=1):
        try:
            given += [(number, one) for one in _pairs_of(row)]
        except BadRow as reason:
            labelled.left_out[str(reason)] += 1
    reader = reader_for([one.content for _, one in given], "preferences")
    for number, one in given:
        try:
            contents = reader.contents(one.content)
        except BadRow as reason:
            labelled.left_out[str(reason)] += 1
            continue
        for content in contents:
            prompt = {**content, "id": f"{name}-{number}", "root": root_of(content["prompt"])}
            labelled.prompts.append(prompt)
            labelled.pairs.append(_labelled(one, prompt, str(_subset(one, columns) or name), columns))


def _labelled(given: _Given, prompt: Row, subset: str, columns: Columns) -> LabelledPair:
    texts = [prompt[name][-1]["content"] for name in ("chosen", "rejected")]
    a, b = texts if given.better_first else texts[::-1]
    verdicts, is_scored = _verdicts(given, columns)
    return LabelledPair(
        row=prompt["id"], root=prompt["root"], subset=subset, a=a, b=b, a_is_better=given.better_first,
        verdicts=verdicts, is_shown=_form(given.row) is not None, is_scored=is_scored,
        styles=given.place if given.styles else None,
    )  # fmt: skip


# --- pairs ---


def _pairs_of(row: Row) -> Iterator[_Given]:
    """The pairs of a row, each with one better and one worse response. Raises BadRow for a label that names none."""
    form = _form(row)
    if form is not None:
        fields = form.fields(row)
        preference = _preference(_word(fields["winner"]), form)
        if preference in (None, 0.5):
            raise BadRow("its label names neither response" if preference is None else "its label is a tie")
        better, worse = fields["answers"] if preference == 1.0 else fields["answers"][::-1]
        yield _Given(row, {"prompt": fields["prompt"], "chosen": better, "rejected": worse}, preference == 1.0)
        return
    better, worse = (unpacked(row.get(name)) for name in ("chosen", "rejected"))
    if not (_is_texts(better) or _is_texts(worse)):
        yield _Given(row, row)
        return
    better, worse = (value if _is_texts(value) else [value] for value in (better, worse))
    styles = len(better) == len(worse) > 1 and "num_correct" not in row  # RewardBench 2 has it
    for i, one in enumerate(better):
        for j, other in enumerate(worse):
            yield _Given(row, {**row, "chosen": one, "rejected": other}, True, (i, j), styles)


def _form(row: Row) -> Form | None:
    return next((form for form in FORMS if form.fits(row)), None)


def _preference(word: str, form: Form | None) -> float | None:
    """For the response that is shown first; None for a word that names no place."""
    known = {**PLACES, **NUMBERS} if form is not None and form.name == "llmbar" else PLACES
    return 0.5 if word.startswith(TIES) else known.get(word)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _subset(given: _Given, columns: Columns) -> Any:
    """What the row says; None where it says nothing."""
    if columns.subset:
        return given.row.get(columns.subset)
    if form := _form(given.row):
        return form.fields(given.row).get("subset")
    return given.row.get("domain" if given.styles else "subset")


# --- verdicts ---


def _verdicts(given: _Given, columns: Columns) -> tuple[Verdicts, bool]:
    """What the row says was said about this pair, with its first response shown first and second; whether by scores."""
    row, form = given.row, _form(given.row)
    if isinstance(judgments := unpacked(row.get("judgments")), list):
        words = [one.get("decision") if isinstance(one, Mapping) else None for one in judgments]
    elif results := _swaps(row):
        one, other = (_verdict(results[name].get("winner"), True, form) for name in SWAPS)
        return (one, Verdict(1 - other.p_first, other.valid)), False
    elif (gap := _score_gap(given)) is not None:
        return (verdict_of_gap(gap), None), True
    else:
        words = [row.get(name, ABSENT) for name in (columns.verdict, columns.swapped)]
    orders = (given.better_first, not given.better_first)
    one, other = (
        None if word is ABSENT else _verdict(word, better_first, form)
        for word, better_first in zip([*words, ABSENT, ABSENT], orders)
    )
    return (one, other), False


def verdict_of_gap(gap: float) -> Verdict:
    """That of a score which is higher by `gap` for the response shown first; equal scores are a tie, nan is none."""
    return UNUSABLE if math.isnan(gap) else Verdict(0.5 + 0.5 * ((gap > 0) - (gap < 0)))


def _swaps(row: Row) -> Mapping[str, Any] | None:
    results = unpacked(row.get("results"))
    last = results[-1] if isinstance(results, list) and results else None
    return last if isinstance(last, Mapping) and all(isinstance(last.get(name), Mapping) for name in SWAPS) else None


def _verdict(value: Any, better_first: bool, form: Form | None) -> Verdict:
    """A verdict in words of places as shown, or of responses; anything else is unusable."""
    word = _word(value)
    preference = float(NAMES[word] == better_first) if word in NAMES else _preference(word, form)
    return UNUSABLE if preference is None else Verdict(preference)


def _word(value: Any) -> str:
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    return "" if is_null(value) else str(whole).strip().strip("[]").lower()


def _score_gap(given: _Given) -> float | None:
    """A reward of the better response less that of the worse, seen from the response shown first."""
    for names in SCORES:
        if all(name in given.row for name in names):
            better, worse = (_score(unpacked(given.row[name]), place)
                             for name, place in zip(names, given.place, strict=True))  # fmt: skip
            return better - worse if given.better_first else worse - better
    return None


def _score(value: Any, place: int) -> float:
    try:
        return float(value[place] if isinstance(value, list) else value)
    except (TypeError, ValueError, IndexError):
        return math.nan
