"""The prompts and answers in a table that somebody brings, its columns by their usual names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.monitors.answers import Answers
from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.data.fields import FALSE, TRUE
from tasks.data.messages import Messages, as_messages
from tasks.data.values import BadRow, unpacked

PROMPT_NAMES = ("prompt", "instruction", "question", "query", "input")
RESPONSE_NAMES = ("response", "output", "answer", "completion", "text")
SCORE_NAMES = ("reward", "score", "proxy")
CONVERSATION_NAMES = ("messages", "conversations", "conversation")


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None: the first of the usual names that the table has."""

    prompt: str | None = None
    response: str | None = None
    score: str | None = None
    model: str | None = None


def by_model(rows: Sequence[Row], column: str, path: Path) -> dict[str, list[Row]]:
    """Rows of each model, in the order of their names' first appearance. Raises DataError without the column."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.get(column) in (None, ""):
            raise DataError(f"{path} has no {column!r} in some row; its columns are {_names(rows)}")
        groups.setdefault(str(row[column]), []).append(row)
    return groups


def answers_of(rows: Sequence[Row], columns: Columns, path: Path, keep_empty: bool = False) -> Answers:
    """The table's prompts and responses, and its scores, `gold`, `finished` and `harmful` where it has them.

    A column of conversations is read as what is asked and the last turn. Raises DataError, with one line, for missing
    columns, empty responses (unless kept), a score that is no finite number, or a single prompt.
    """
    named = column_names(rows)
    talks = next((name for name in CONVERSATION_NAMES if name in named), None)
    if columns.response is None and columns.prompt is None and talks is not None:
        pairs = [_conversation(row.get(talks), talks, number, path) for number, row in enumerate(rows, start=1)]
    else:
        prompt = _column(rows, columns.prompt, PROMPT_NAMES, "prompt", path)
        response = _column(rows, columns.response, RESPONSE_NAMES, "response", path)
        pairs = [
            (_text(row.get(prompt), prompt, number, path), _text(row.get(response), response, number, path, True))
            for number, row in enumerate(rows, start=1)
        ]
    prompts, responses = map(list, zip(*pairs, strict=True))
    empty = [number for number, response in enumerate(responses, start=1) if not response.strip()]
    if empty and not keep_empty:
        raise DataError(
            f"{path}: {len(empty)} of {len(rows)} responses are empty, the first in row {empty[0]}; drop them, or "
            "count them as broken answers with --keep-empty"
        )
    score = columns.score or next((name for name in SCORE_NAMES if name in named), None)
    try:
        return Answers(
            prompts=prompts, responses=responses,
            finished=_flags(rows, "finished", path), harmful=_flags(rows, "harmful", path, unknown=True),
            rewards=_numbers(rows, score, path), gold=_numbers(rows, "gold" if "gold" in named else None, path),
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def _column(rows: Sequence[Row], given: str | None, usual: Sequence[str], what: str, path: Path) -> str:
    named = column_names(rows)
    name = given or next((name for name in usual if name in named), None)
    if name is None or name not in named:
        wanted = repr(name) if name else f"none of {', '.join(usual)}"
        raise DataError(
            f"{path} has no {what} column: {wanted if name else wanted + ' found'}; its columns are {_names(rows)}: "
            f"name it with --{what}-column"
        )
    return name


def column_names(rows: Sequence[Row]) -> list[str]:
    """The columns of all rows, in the order of their first appearance: a row may leave some out."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(column_names(rows))


def _text(value: Any, name: str, number: int, path: Path, may_be_empty: bool = False) -> str:
    """A cell as text; of messages, all that is said."""
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(turn, Mapping) for turn in value):
        turns = _messages(value, name, number, path)
        value = "\n".join(turn["content"] for turn in turns if turn["role"] != "system")
    if value is None and may_be_empty:
        return ""
    if not isinstance(value, str) or not (may_be_empty or value.strip()):
        what = "not text" if value else "empty"
        raise DataError(f"{path}, row {number}: {name} is {what}; correct or drop the row")
    return value


def _messages(value: Sequence[Any], name: str, number: int, path: Path) -> Messages:
    """Its turns by our names; one without a text is empty, as a model leaves it that said nothing."""
    turns = [{**turn, "content": turn["content"] or ""} if "content" in turn else turn for turn in map(unpacked, value)]
    try:
        return as_messages(turns, "user")
    except BadRow as reason:
        raise DataError(f"{path}, row {number}: {name}: {reason.full}; correct or drop the row") from None


def _conversation(value: Any, name: str, number: int, path: Path) -> tuple[str, str]:
    value = unpacked(value)
    turns = _messages(value, name, number, path) if isinstance(value, list) else []
    if len(turns) < 2:
        raise DataError(f"{path}, row {number}: {name} must be a list of turns that ends in the answer")
    if turns[-1]["role"] != "assistant":
        role = turns[-1]["role"]
        raise DataError(f"{path}, row {number}: {name} must end with the assistant's turn, not {role!r}")
    return _text(turns[:-1], name, number, path), turns[-1]["content"]


def _numbers(rows: Sequence[Row], name: str | None, path: Path) -> list[float] | None:
    """A column of finite numbers. Raises DataError naming the first row that is none."""
    if name is None:
        return None
    values = []
    for number, row in enumerate(rows, start=1):
        try:
            values.append(float(row[name]))
        except (KeyError, TypeError, ValueError):
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            problem = f"{name} is {row.get(name)!r}, not a finite number"
            raise DataError(f"{path}, row {number}: {problem}; correct or drop the row")
    return values


def _flags(rows: Sequence[Row], name: str, path: Path, unknown: bool = False) -> list[Any] | None:
    """A column of yes and no; None without it. With `unknown`, an empty cell is None."""
    if name not in column_names(rows):
        return None
    flags: list[bool | None] = []
    for number, row in enumerate(rows, start=1):
        word = str(row.get(name) if row.get(name) is not None else "").strip().lower()
        if word not in (*TRUE, *FALSE, "") or (not unknown and row.get(name) is None):
            raise DataError(f"{path}, row {number}: {name} is {row.get(name)!r}; write true or false")
        flags.append(None if unknown and word == "" else word in TRUE)
    return flags
