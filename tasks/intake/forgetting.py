"""Take one row out of a data file; what it said is gone from there, and all other rows stay what they were."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.common.rows import Row, appears_whole
from tasks.config.data import DataConfig
from tasks.config.service import IntakeConfig
from tasks.data.reading import Reader, reader_of
from tasks.data.tables import NoRows, read_table
from tasks.data.values import BadRow
from tasks.intake.held_data import digest_of_all, richest
from tasks.intake.held_verdicts import verdict_digest
from tasks.intake.ledger import Tombstone
from tasks.prepare import files_of

VERDICTS = "verdicts"


def readers_of(data: DataConfig, intake: IntakeConfig) -> dict[str, list[str]]:
    """The data files with the kinds of rows that are read from each."""
    readers: dict[str, list[str]] = {}
    for kind, name in files_of(data).items():
        readers.setdefault(name, []).append(kind)
    return readers | {intake.verdicts: [VERDICTS]}


def take_out(path: Path, readers: Sequence[str], wanted: str, data: DataConfig) -> list[Tombstone]:
    """Rewrite the data file without the row whose id is `wanted`, whole or not at all; what stands for it from now on.

    Of a prompt its verdicts go as well. Rows that have no id of their own are named by their number: those that stay
    get the name that they had written down. The file is not touched when the row is not in it.
    Raises DataError as `prepare` does for a file that cannot be read.
    """
    try:
        rows = read_table(path)
    except NoRows:  # the last one was forgotten before
        return []
    reader = None if VERDICTS in readers else reader_of(rows, richest(readers), data)
    by_row = [_tombstone(row, readers, path, number, wanted, reader) for number, row in enumerate(rows, start=1)]
    stones = [stone for stone in by_row if stone is not None]
    if stones:
        kept = [
            row if "id" in row or VERDICTS in readers else {**row, "id": _names(row, readers, path, number)[0]}
            for number, (row, stone) in enumerate(zip(rows, by_row, strict=True), start=1) if stone is None
        ]  # fmt: skip
        _write(path, kept)
    return stones


def _tombstone(
    row: Row, readers: Sequence[str], path: Path, number: int, wanted: str, reader: Reader | None
) -> Tombstone | None:
    if reader is None:
        digest = verdict_digest(row)
        name = str(row.get("id", f"{VERDICTS}-{digest[:16]}"))
        named = wanted == name or wanted == str(row.get("prompt_id"))
    else:
        name, named = wanted, wanted in _names(row, readers, path, number)
        digest = _digest(row, reader) if named else None
    return Tombstone(name, digest, str(row["origin"]) if row.get("origin") else None) if named else None


def _names(row: Mapping[str, object], readers: Sequence[str], path: Path, number: int) -> list[str]:
    """What `prepare` calls the row; one name for each kind that it is read as, the richest kind's first."""
    if row.get("id") is not None:
        return [str(row["id"])]
    ordered = [richest(readers), *readers]
    return [f"{reader}-{path.name.split('.')[0]}-{number}" for reader in ordered]


def _digest(row: Row, reader: Reader) -> str | None:
    """The digest of what the row says; None for one that is not read."""
    try:
        return digest_of_all(reader.contents(row))
    except BadRow:
        return None


def _write(path: Path, rows: Sequence[Row]) -> None:
    with appears_whole(path) as partial:
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), partial)
        else:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
            partial.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
