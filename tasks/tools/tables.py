"""Tables that people bring to the command line, of any of the usual kinds: rows as mappings from column to value."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.data import tables

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".csv", ".tsv")


def read_table(path: Path) -> list[Row]:
    """All rows of a .jsonl, .jsonl.gz, .json (a list), .parquet, .csv or .tsv file; values of the last two are texts.

    Raises DataError for a missing or empty file, another ending, or a line that does not fit.
    """
    if not path.name.endswith(ENDINGS):
        raise DataError(f"{path} has another ending than {', '.join(ENDINGS)}; convert it to one of these")
    if not path.is_file():
        raise DataError(f"{path} does not exist; name a table that does")
    if path.suffix in (".csv", ".tsv"):
        rows = _read_csv(path, "\t" if path.suffix == ".tsv" else ",")
    elif path.suffix == ".json":
        rows = _read_json(path)
    else:
        rows = tables.read_table(path)
    if not rows:
        raise DataError(f"{path} has no rows")
    return rows


def _read_csv(path: Path, delimiter: str) -> list[Row]:
    limit = csv.field_size_limit(sys.maxsize)  # a conversation is longer than the default
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {' '.join(str(error).split())}") from None
    finally:
        csv.field_size_limit(limit)  # it is the whole process's
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError(f"{path}, row {number}: not as many values as the head names; quote values with commas")
    return rows


def _read_json(path: Path) -> list[Row]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} must hold a list of objects, one per row")
    return rows
