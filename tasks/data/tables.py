"""Data files, row by row: JSONL (also gzipped) and Parquet."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.common.errors import DataError
from tasks.common.rows import Row, json_lines, parse_jsonl
from tasks.data.values import BadRow, unpacked_json, without_nulls


class NoRows(DataError):
    """The file can be read, and is empty."""


def read_table(path: Path) -> list[Row]:
    """All rows of a .jsonl, .jsonl.gz or .parquet file.

    Raises DataError for a missing or empty file, another ending, or invalid JSON (with the line).
    """
    return _read(path, lambda file: parse_jsonl(file, str(path)))


def read_rows(path: Path) -> list[Row | BadRow]:
    """The same, with a BadRow for each line that holds no JSON object. Raises DataError for all else."""
    return _read(path, lambda file: [_row_or_reason(number, row) for number, row in json_lines(file)])


def _row_or_reason(number: int, row: Row | str) -> Row | BadRow:
    return BadRow("the line is no JSON object", f"line {number}: {row}") if isinstance(row, str) else row


def _read(path: Path, parse: Callable[[Any], list[Any]]) -> list[Any]:
    if not path.is_file():
        raise DataError(f"data file {path} does not exist; set data.path and the file names under data in params.yaml")
    try:
        rows = _read_any(path, parse)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not rows:
        raise NoRows(f"data file {path} has no rows")
    return rows


def _read_any(path: Path, parse: Callable[[Any], list[Any]]) -> list[Any]:
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        try:
            table = pyarrow.parquet.read_table(path)
            features = _features(table.schema.metadata or {})
            rows = table.to_pylist()
            return without_nulls([{key: _decoded(row[key], features.get(key)) for key in row} for row in rows])
        except pyarrow.ArrowException as error:
            raise DataError(f"{path} cannot be read as Parquet: {' '.join(str(error).split())}") from None
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig") as file:
            return parse(file)
    raise DataError(f"{path} is neither .jsonl, .jsonl.gz nor .parquet; write it as .jsonl, an object a line")


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """The types of the columns as the library `datasets` notes them in a Parquet file that it writes."""
    try:
        return json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}


def _decoded(value: Any, feature: Any) -> Any:
    """A value of such a column: where rows differ in their keys, it is held as JSON text."""
    if not isinstance(feature, Mapping) or value is None:
        return value
    kind = feature.get("_type")
    if kind == "Json":
        return unpacked_json(value)
    if isinstance(value, list):
        return [_decoded(one, feature.get("feature")) for one in value]
    if isinstance(value, Mapping) and not isinstance(kind, str):
        return {key: _decoded(one, feature.get(key)) for key, one in value.items()}
    return value
