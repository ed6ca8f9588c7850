"""Rows on disk: JSONL in and out, one object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterable

from tasks.errors import DataError

Row = dict[str, Any]
SIDES = ("chosen", "rejected")


def parse_jsonl(lines: Iterable[str], name: str) -> list[Row]:
    """Parse JSONL text; `name` is the file's, for the error message.

    Raises DataError naming the line for invalid JSON or a line that is not an object.
    """
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{name}, line {number}: invalid JSON ({error.msg} at column {error.colno})") from None
        except (ValueError, RecursionError):
            raise DataError(f"{name}, line {number}: invalid JSON (a number too long, or nested too deeply)") from None
        if not isinstance(row, dict):
            raise DataError(f"{name}, line {number}: expected a JSON object, found {type(row).__name__}")
        rows.append(row)
    return rows


def is_finished(comparison: Row, side: str) -> bool:
    """Whether the `chosen` or `rejected` response ends its turn, or was cut at the longest answer.

    Nothing appends an end to a response that was cut: it would be learned as one, and scored as one. What people wrote
    says nothing, and is whole.
    """
    return comparison.get(f"{side}_finished", True)


def read_jsonl(path: Path) -> list[Row]:
    with open(path, encoding="utf-8-sig") as file:
        return parse_jsonl(file, str(path))


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write rows with sorted keys, so that equal rows give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
