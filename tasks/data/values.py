"""Single values of a row, as JSONL and Parquet bring them, and the columns that they stand in."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

Column = str | Sequence[str]  # a name, a path such as `completions.response`, or one column for each answer


class BadRow(ValueError):
    """A row that cannot be used. The reason quotes nothing of the row, so that it can be kept where nothing can be
    forgotten; `detail` may. `by`: the key in params that decided it, or what of the data did."""

    def __init__(self, reason: str, detail: str = "", by: str | None = None):
        super().__init__(reason)
        self.detail, self.by = detail, by

    @property
    def full(self) -> str:
        """Reason and detail, for whoever may see the row."""
        return f"{self}: {self.detail}" if self.detail else str(self)


def is_null(value: Any) -> bool:
    """Whether a value counts as absent: None, and NaN, which tables have where a number is missing."""
    return value is None or isinstance(value, float) and math.isnan(value)


def says_something(value: Any) -> bool:
    """Whether a value is more than absent or empty."""
    return not is_null(value) and value not in ("", [], {}) and not (isinstance(value, str) and not value.strip())


def present(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not is_null(value)}


def without_nulls(value: Any) -> Any:
    """A value of a Parquet file without the keys that only other rows have: all structs of a column share theirs."""
    if isinstance(value, Mapping):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def as_text(value: Any) -> Any:
    """Dates as ISO 8601 text (`2024-05-01`, `2024-05-01T12:30:00`): Parquet writers make them of texts that look so."""
    if isinstance(value, datetime.datetime):
        at_midnight = value.time() == datetime.time() and value.tzinfo is None
        return value.date().isoformat() if at_midnight else value.isoformat()
    return value.isoformat() if isinstance(value, datetime.date) else value


def unpacked(value: Any) -> Any:
    """A list or a mapping that a table holds as JSON text; all else as it is."""
    return unpacked_json(value) if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") else value


def unpacked_json(value: Any) -> Any:
    """What a JSON text says; all else, and a text that is no JSON, as it is."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


# --- columns ---


def look_up(row: Mapping[str, Any], column: Column) -> Any:
    """What stands in a column, along a path through mappings and, item by item, lists; None where nothing is."""
    if not isinstance(column, str):
        values = [look_up(row, one) for one in column]
        return None if all(one is None for one in values) else values
    if column in row or "." not in column:
        return None if is_null(row.get(column)) else row[column]
    value: Any = row
    for key in column.split("."):
        value = _step(unpacked(value), key)
    return value


def _step(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return None if is_null(value.get(key)) else value[key]
    if isinstance(value, list):
        values = [_step(unpacked(one), key) for one in value]
        return None if all(one is None for one in values) else values
    return None


def head(column: Column) -> tuple[str, ...]:
    """The columns of the file, at its top, that a column is found in."""
    return tuple(part for one in ([column] if isinstance(column, str) else column) for part in (one, one.split(".")[0]))
