"""One person's verdict in our own form, whatever columns and words it came in.

Ours: `annotator`; `verdict` (first, second or tie); `at` (when, where the row says so); and what it belongs to, either
`prompt_sha256`, `first_sha256` and `second_sha256` (see shown.py), or `prompt_id`, `first` and `second`, ids of samples
that mean texts only together with `policy`, the hash of the policy that made the samples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from models.judges.shown import prompt_text, text_sha256

TEXTS = {"prompt_sha256": "prompt", "first_sha256": "first_text", "second_sha256": "second_text"}
IDS = ("prompt_id", "first", "second", "policy")
MODELS = ("first_model", "second_model")  # for verdicts that name a model
NEEDED = ("annotator", "verdict")
FIELDS = (*IDS, *TEXTS, *TEXTS.values(), *MODELS, *NEEDED, "at")
PREFERENCES = {"first": 1.0, "second": 0.0, "tie": 0.5}
_NOUNS = ("model", "response", "answer", "option", "candidate", "assistant", "text")
WORDS = {
    **dict.fromkeys(("first", "1", "left", "a"), "first"),
    **dict.fromkeys(("second", "2", "right", "b"), "second"),
    **{f"{noun}{between}{mark}": meant for noun in _NOUNS for between in ("_", "-", " ", "")
       for mark, meant in (("a", "first"), ("1", "first"), ("b", "second"), ("2", "second"))},
    **dict.fromkeys(("tie", "draw", "equal", "same", "both", "neither", "tie (bothbad)", "no preference",
                     "both good", "both bad", "equally good", "equally bad"), "tie"),
}
CLEAR_NUMBERS = {"1", "2"}
TEXT_OF = {"first_text": "first", "second_text": "second"}
NAMES_OF_PEOPLE = ("email", "username", "id")  # of an annotator that is an object
DATES = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M")  # beside ISO 8601
NO_TIME = "no time"  # in the place of what cannot be read as one
SHEET_EPOCH, EPOCH = datetime(1899, 12, 30, tzinfo=timezone.utc), datetime(1970, 1, 1, tzinfo=timezone.utc)


class Unusable(ValueError):
    """A row that is no verdict; its text is the name of the reason, as ImportCounts has it. `word`: an unknown one."""

    def __init__(self, reason: str, word: str = "") -> None:
        super().__init__(reason)
        self.word = word


@dataclass(frozen=True)
class VerdictForm:
    """How a file says what ours says.

    columns: field of FIELDS -> column, or the path to it (`data.answer`), or several of which one is filled
    (`better|same`); the others have our own names. words: word -> first, second or tie, beside WORDS. policy: of files
    whose ids come without it. unclear: numbers that mean nothing in this file unless `words` has them.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None
    unclear: frozenset[str] = frozenset()

    def of_file(self, rows: Iterable[Any]) -> VerdictForm:
        """This form for all rows of one file. Beside a 0, a 3 or a 4.5 a 1 need not be the first of two: it may be the
        second, or a grade."""
        column = self.columns.get("verdict", "verdict")
        cells = (cell for row in rows if isinstance(row, Mapping) for cell in _filled(row, column))
        words = {*map(_word, cells)} - {*map(_word, self.words)}
        numbers = frozenset(word for word in words if re.fullmatch(r"[-+]?\d+([.,]\d+)?", word))
        return self if numbers <= CLEAR_NUMBERS else replace(self, unclear=numbers)


def canonical(row: Mapping[str, Any], form: VerdictForm = VerdictForm()) -> dict[str, str]:
    """The row in our own form. Raises Unusable."""
    values = {name: _value(row, form.columns.get(name, name)) for name in FIELDS}
    cells = {name: value for name, value in values.items() if not _is_empty(value)}
    if any(name not in cells for name in NEEDED):
        raise Unusable("missing_columns")
    said = _filled(row, form.columns.get("verdict", "verdict"))
    verdicts = {_verdict({**cells, "verdict": one}, form) for one in said}
    if len(verdicts) > 1:  # left, and equally good
        raise Unusable("unknown_verdicts", " and ".join(map(_word, said)))
    ours = {"annotator": person(cells["annotator"]), "verdict": verdicts.pop()}
    if "at" in cells:
        ours["at"] = _moment(cells["at"]) or NO_TIME
    return {**ours, **_belongs_to(cells, form)}


def _belongs_to(cells: Mapping[str, Any], form: VerdictForm) -> dict[str, str]:
    """The hashes; ids with the policy's hash where a row has neither hashes nor texts."""
    ids = {name: str(cells[name]).strip() for name in IDS if name in cells}
    hashes = {}
    for name, text in TEXTS.items():
        if name in cells:
            hashes[name] = str(cells[name]).strip().lower()
        elif text in cells:
            hashes[name] = text_sha256(_text(cells[text]))
    if len(hashes) == len(TEXTS):
        return {**ids, **hashes}
    ids = {"policy": form.policy, **ids} if form.policy else ids
    if len(ids) == len(IDS):
        return ids
    raise Unusable("without_texts")


def missing_columns(columns: Set[str], form: VerdictForm) -> list[str]:
    """Columns that the form names, or that every verdict needs, and that no row of a file has."""
    wanted = [*form.columns.values(), *(name for name in NEEDED if name not in form.columns)]
    parts = {column: {*column.split("|"), *(one.split(".")[0] for one in column.split("|"))} for column in wanted}
    return [column for column in wanted if not columns & parts[column]]


def person(annotator: Any) -> str:
    """One name for one person, however it was typed: without spaces around it, in small letters."""
    if isinstance(annotator, Mapping):
        annotator = next((annotator[key] for key in NAMES_OF_PEOPLE if annotator.get(key)), "")
    return " ".join(_number_as_text(annotator).split()).casefold()


# --- cells ---


def _value(row: Mapping[str, Any], path: str) -> Any:
    """The cell of a column; where no column has the name, what its parts between dots lead to, the first that is filled
    of several between strokes."""
    if path in row:
        return row[path]
    if "|" in path:
        return next(iter(_filled(row, path)), None)
    value: Any = row
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _filled(row: Mapping[str, Any], path: str) -> list[Any]:
    """What stands in the columns between strokes."""
    paths = [path] if path in row else path.split("|")
    return [value for one in paths if not _is_empty(value := _value(row, one))]


def _is_empty(value: Any) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _text(value: Any) -> str:
    """A text, or a conversation: a list of turns, or its JSON, as a table holds it."""
    turns = _unpacked(value)
    if isinstance(turns, list) and turns and all(isinstance(turn, Mapping) and "content" in turn for turn in turns):
        roles = [turn.get("role") for turn in turns]
        return str(turns[0]["content"] or "") if roles == ["assistant"] else prompt_text(turns)
    return str(value)


def _unpacked(value: Any) -> Any:
    """A list or a mapping that a table holds as JSON text; all else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _number_as_text(value: Any) -> str:
    """1 for 1, "1", 1.0, "1.0" and "1,0": a spreadsheet may make any of another."""
    whole = re.fullmatch(r"(\d+)[.,]0+", str(value).strip())
    return whole[1] if whole else str(value)


def _verdict(cells: Mapping[str, Any], form: VerdictForm) -> str:
    """first, second or tie: by the models' names, the form's own words, the names of the texts' columns, and WORDS.

    Raises Unusable.
    """
    word = _word(cells["verdict"])
    models = [_word(cells[name]) for name in MODELS if name in cells]
    if len(models) == 2 and models.count(word) == 1:
        return ("first", "second")[models.index(word)]
    own = {_word(given): meant for given, meant in form.words.items()}
    shown = {_word(form.columns[name].split(".")[-1]): meant for name, meant in TEXT_OF.items() if name in form.columns}
    known = {**{given: meant for given, meant in WORDS.items() if given not in form.unclear}, **shown, **own}
    if word not in known or (len(models) == 2 and models.count(word) == 2):
        raise Unusable("unknown_verdicts", word)
    return known[word]


def _word(value: Any) -> str:
    """A choice, out of the list or object that a labelling tool keeps it in, in small letters."""
    value = _unpacked(value)
    while isinstance(value, list | Mapping) and len(value) >= 1:
        if isinstance(value, Mapping):
            value = next((value[key] for key in ("selected", "choices", "value") if key in value), "")
        elif len(value) == 1:
            value = value[0]
        else:
            break
    return " ".join(_number_as_text(value).split()).strip("[]").casefold()


def _moment(value: Any) -> str | None:
    """When, as ISO 8601 in UTC, so that texts are in the order of times; None for what is no time.

    A number is seconds since 1970 (or milliseconds, or the days of a spreadsheet); a time without a zone is UTC. Of
    5/1/2026 nobody knows whether it is in May.
    """
    if isinstance(value, bool):
        return None
    text = str(value).strip()
    try:
        moment = _of_number(float(text.replace(",", "."))) if re.fullmatch(r"\d+([.,]\d+)?", text) else _of_text(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc).isoformat(
            timespec="microseconds"
        )
    except (ValueError, OverflowError):
        return None


def _of_number(number: float) -> datetime:
    if number < 1e5:
        return SHEET_EPOCH + timedelta(days=number)
    return EPOCH + timedelta(seconds=number / 1000 if number > 1e11 else number)


def _of_text(text: str) -> datetime:
    for form in DATES:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return datetime.fromisoformat(text)
