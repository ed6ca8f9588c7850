"""The fields of a row beside what it says: every one that some stage reads, with its type. All others are left out."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from tasks.common.rows import Row
from tasks.config.data import CATEGORIES, SPLITS
from tasks.data.near_repeats import words_of
from tasks.data.values import BadRow, as_text, present, unpacked

TRUE, FALSE = ("true", "yes", "y", "1", "1.0"), ("false", "no", "n", "0", "0.0")


def text(value: Any) -> str:
    """A text, a number as it is written in JSON, a date as ISO 8601. Raises BadRow for anything else, and no text."""
    value = as_text(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadRow("must be text", f"found {value!r}")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadRow("must be text", f"found {value!r}")
        value = int(value) if value.is_integer() else value  # a column of whole numbers with gaps is one of floats
    return str(value)


def texts(value: Any) -> list[str]:
    """A text, or a list of texts. Raises BadRow for anything else; an empty text would be found in every answer."""
    value = unpacked(value)
    some = [text(one) for one in (value if isinstance(value, (list, tuple)) else [value])]
    if not all(one.strip() for one in some):
        raise BadRow("must be a text or a list of texts, none of them empty", f"found {value!r}")
    return some


def flag(value: Any) -> bool:
    """True or false, 1 or 0, yes or no. Raises BadRow for anything else."""
    word = str(value).strip().lower()
    if word not in TRUE + FALSE:
        raise BadRow("must be true or false", f"found {value!r}")
    return word in TRUE


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadRow("must be a finite number", f"found {value!r}")
    return value


def split(value: Any) -> str:
    if value not in SPLITS:
        raise BadRow(f"must be one of {', '.join(SPLITS)}", f"found {value!r}")
    return value


FIELDS: dict[str, Callable[[Any], Any]] = {
    "id": text, "root": text, "category": text, "split": split, "origin": text,
    "kind": text, "harmful": flag, "attack": text, "insisted": text, "polarity": text,
    "expected_facts": texts, "other_facts": texts, "topic": texts,
    "score_gap": number, "soft_label": number,
}  # fmt: skip


def fields_of(source: Mapping[str, Any], columns: Mapping[str, Any] | None = None) -> Row:
    """The fields that a row brings, from its own columns or from those that params name; nulls count as absent.

    Raises BadRow naming the field for a value of another type.
    """
    columns, given, fields = columns or {}, present(source), {}
    for name, typed in FIELDS.items():
        column = columns.get(name, name)
        if column is not None and column not in source:
            column = name  # a row that was added in our own form
        if column not in given:
            continue
        try:
            fields[name] = typed(given[column])
        except BadRow as reason:
            left_out = f"data.columns: {{{name}: null}} leaves a column of another meaning out"
            raise BadRow(f"{name} {reason}", f"{reason.detail}; {left_out}") from None
    return fields


def root_of(messages: list[dict[str, str]]) -> str:
    """Variants of one question share their root: here, the first thing the user says, by its words run together.

    Case, width, spaces and punctuation make no difference, signs of arithmetic do; a text without any word is taken as
    it stands.
    """
    first = next(m["content"] for m in messages if m["role"] == "user")
    words = words_of(first)
    # Numbers stay apart: 1, 2 is not 12.
    question = "".join(f" {word}" if word[0].isdigit() else word for word in words) or " ".join(first.split())
    return hashlib.sha256(question.encode()).hexdigest()[:16]


def named(given: Row, content: Row, default_id: str) -> Row:
    """A row with id, root and category, its own where it has them. Raises BadRow for what no file can hold."""
    _check_writable({**given, **content})
    return {
        **given,
        **content,
        "id": given.get("id", default_id),
        "root": given.get("root") or root_of(content.get("prompt") or content["messages"]),
        "category": given.get("category", CATEGORIES[0]),
    }


def _check_writable(row: Row) -> None:
    try:
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise BadRow("it holds half of a character (a lone surrogate), which no file can hold", f"{half!r}") from None
    except (TypeError, ValueError) as error:
        raise BadRow("a field cannot be written as JSON", str(error)) from None
