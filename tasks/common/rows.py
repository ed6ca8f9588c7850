"""Rows on disk: JSONL in and out, one object a line; and files that appear whole.

A line ends with a newline and nothing else. `str.splitlines` cuts at U+2028, U+2029, U+0085 and some control characters
too, which stand in texts as they are: never use it on what a file holds.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.common.errors import DataError

Row = dict[str, Any]


def json_lines(lines: Iterable[str]) -> Iterator[tuple[int, Row | str]]:
    """Each line that is not blank with its number, as the object that it holds, or why it holds none."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            yield number, f"invalid JSON ({error.msg} at column {error.colno})"
        except (ValueError, RecursionError):
            yield number, "invalid JSON (a number too long, or nested too deeply)"
        else:
            yield number, row if isinstance(row, dict) else f"expected a JSON object, found {type(row).__name__}"


def parse_jsonl(lines: Iterable[str], name: str) -> list[Row]:
    """Parse JSONL text; `name` is the file's, for the error message.

    Raises DataError naming the line for invalid JSON or a line that is not an object.
    """
    rows = []
    for number, row in json_lines(lines):
        if isinstance(row, str):
            raise DataError(f"{name}, line {number}: {row}")
        rows.append(row)
    return rows


def read_jsonl(path: Path) -> list[Row]:
    with open(path, encoding="utf-8-sig") as file:
        return parse_jsonl(file, str(path))


def append_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Add rows, with sorted keys, in one write: of two processes that append, neither cuts the other's lines.

    A last line that a full disk or a kill has torn stays a line of its own.
    """
    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+", buffering=0) as file:
        if text and file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            text = text if file.read(1) == b"\n" else "\n" + text
        file.write(text.encode())


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write rows with sorted keys, so that equal rows give equal bytes.

    Raises ValueError for NaN and infinity, which JSON has not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n")


@contextmanager
def appears_whole(path: Path) -> Iterator[Path]:
    """Where to write what takes the place of `path` when the block ends without an error.

    `path` may be a link into a cache, so it is replaced and never written into.
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(partial, path)
