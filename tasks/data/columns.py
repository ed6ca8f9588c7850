"""From a file's columns to our fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.data.values import is_null, unpacked

Column = str | Sequence[str]  # a name, a path such as `completions.response`, or one column for each answer


def look_up(row: Mapping[str, Any], column: Column) -> Any:
    """What stands in a column, along a path through mappings and, item by item, lists; None where nothing is."""
    if not isinstance(column, str):
        found = [look_up(row, one) for one in column]
        return None if all(one is None for one in found) else found
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
        found = [_step(unpacked(one), key) for one in value]
        return None if all(one is None for one in found) else found
    return None


def head(column: Column) -> tuple[str, ...]:
    """The columns of the file, at its top, that a column is found in."""
    return tuple(part for one in ([column] if isinstance(column, str) else column) for part in (one, one.split(".")[0]))
