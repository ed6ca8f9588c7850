"""Tables that people bring to the command line: battles and judged answers in a file, rated as plain documents.

The statistics are those of `models`; here is only what a file adds. Nothing imports torch.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, Sequence

from models.battles import read_battles
from models.bootstrap import Bootstrap
from models.elo import elo
from models.ratings import rate
from models.win_rates import fit_difficulty, win_rate
from tasks import formats
from tasks.errors import DataError
from tasks.rows import Row

ENDINGS = (".jsonl", ".jsonl.gz", ".parquet", ".csv")


def read_table(path: Path) -> list[Row]:
    """All rows of a .jsonl, .jsonl.gz, .parquet or .csv file; the values of a CSV file are texts.

    Raises DataError for a missing or empty file, another ending, or a line that does not fit.
    """
    if not path.name.endswith(ENDINGS):
        raise DataError(f"{path} has another ending than {', '.join(ENDINGS)}; convert it to one of these")
    if not path.is_file():
        raise DataError(f"{path} does not exist")
    if path.suffix != ".csv":
        return formats.read_table(path)
    csv.field_size_limit(sys.maxsize)  # a conversation is longer than the default
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from None
    if not rows:
        raise DataError(f"{path} has no rows")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise DataError(f"{path}, row {number}: not as many values as the head names; quote values with commas")
    return rows


def rate_file(
    path: Path, *, style: bool = False, anchor: str | None = None, with_elo: bool = False, settings: Bootstrap
) -> dict[str, Any]:
    """`models.ratings.rate` on a file of battles, as a document; `elo` is in it where asked for."""
    battles = read_battles(read_table(path), markdown=style)
    document = rate(battles, style=style, anchor=anchor, settings=settings).document()
    if with_elo:
        document["elo"] = {
            name: {"rating": found.rating, "low": found.low, "high": found.high, "spread": found.spread}
            for name, found in elo(battles, seed=settings.seed).items()
        }
    return document


def win_rates_of_file(
    path: Path, against: str, models: Sequence[str] = (), *, pool: Path | None = None, settings: Bootstrap
) -> list[dict[str, Any]]:
    """`models.win_rates.win_rate` of each of `models` (all that meet `against`, if none are named), as documents.

    `pool`: a file of judged answers of the frozen pool that the prompts' difficulty is fitted on.
    """
    battles = read_battles(read_table(path))
    difficulty = fit_difficulty(read_table(pool), against) if pool else None
    names = models or battles.opponents(against)
    return [win_rate(battles, name, against, difficulty=difficulty, settings=settings).document() for name in names]
