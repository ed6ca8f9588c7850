"""Data files, row by row: JSONL (also gzipped) and Parquet."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.data.values import BadRow, without_nulls
from tasks.errors import DataError
from tasks.rows import Row, json_lines, parse_jsonl


def read_table(path: Path) -> list[Row]:
    """All rows of a .jsonl, .jsonl.gz or .parquet file.

    Raises DataError for a missing or empty file, another ending, or invalid JSON (with the line).
    """
    return _read(path, lambda file: parse_jsonl(file, str(path)))


def read_rows(path: Path) -> list[Row | BadRow]:
    """The same, with a BadRow for each line that holds no JSON object. Raises DataError for all else."""
    return _read(path, lambda file: [_row_or_reason(number, found) for number, found in json_lines(file)])


def _row_or_reason(number: int, found: Row | str) -> Row | BadRow:
    return BadRow("the line is no JSON object", f"line {number}: {found}") if isinstance(found, str) else found


def _read(path: Path, parse: Callable[[Any], list[Any]]) -> list[Any]:
    if not path.is_file():
        raise DataError(f"data file {path} does not exist; set data.path and the file names under data in params.yaml")
    try:
        rows = _read_any(path, parse)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not rows:
        raise DataError(f"data file {path} has no rows")
    return rows


def _read_any(path: Path, parse: Callable[[Any], list[Any]]) -> list[Any]:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            return without_nulls(pyarrow.parquet.read_table(path).to_pylist())
        except pyarrow.ArrowException as error:
            raise DataError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from None
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig") as file:
            return parse(file)
    raise DataError(f"{path} is neither .jsonl, .jsonl.gz nor .parquet")
