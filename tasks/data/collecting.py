"""All rows of one kind in a file: those that can be used, named, and the reasons against the others, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.config.data import DataConfig
from tasks.data.fields import named
from tasks.data.marks import MARKS
from tasks.data.reading import Source, reader_of
from tasks.data.rendering import Check
from tasks.data.tables import read_rows
from tasks.data.values import BadRow, look_up


@dataclass(frozen=True)
class Finding:
    """Something wrong with the data: the reason, on how many rows, and where it is seen first.

    stops: whether `prepare` stops at it, or leaves these rows out.
    """

    reason: str
    count: int = 1
    first: str = ""
    stops: bool = True

    def __str__(self) -> str:
        return f"{self.first}: {self.reason}" if self.first else self.reason


@dataclass
class Read:
    """Rows of one kind, each with its number in the file, and the bad ones by reason.

    stops: whether a bad row stops `prepare`. tied: rows of the file all of whose answers are equally good; repeats:
    rows that were taken out since they repeat a held-out prompt; marked: whether the file writes dialogues as text with
    marks of who speaks; marks_as_text: rows with such marks where not all have them.
    """

    path: Path
    stops: bool = True
    rows: list[Row] = field(default_factory=list)
    row_numbers: list[int] = field(default_factory=list)
    bad: dict[str, Finding] = field(default_factory=dict)
    tied: int = 0
    repeats: int = 0
    marked: bool = False
    marks_as_text: int = 0

    @property
    def skipped(self) -> int:
        return sum(finding.count for finding in self.bad.values()) + self.repeats

    @property
    def findings(self) -> list[Finding]:
        """What is to be said of single rows."""
        reason = (
            "its text has marks of who speaks, which stay text since not all rows have them; where they are the form, "
            f"say which in data.columns, as {{marks: hh}}; known are {', '.join(MARKS)}"
        )
        marks = [Finding(reason, self.marks_as_text, stops=False)] if self.marks_as_text else []
        return [*self.bad.values(), *marks]

    def add_bad(self, number: int, reason: BadRow) -> None:
        first = self.bad.get(str(reason), Finding(reason.full, 0, f"{self.path}, row {number}", self.stops))
        self.bad[str(reason)] = replace(first, count=first.count + 1)


def read_kind(path: Path, kind: str, data: DataConfig) -> Read:
    """All rows of one kind in a file, named and checked.

    Raises DataError naming file and row for a bad row (unless data.bad_rows is `skip`), for ids that occur twice, or
    when no row is left.
    """
    read = collect(path, kind, data)
    refuse(read)
    return read


def collect(path: Path, kind: str, data: DataConfig) -> Read:
    """All rows of one kind in a file, and all reasons against others. Raises DataError for a file that is not read."""
    rows = read_rows(path)
    _check_columns(rows, kind, getattr(data.columns, kind) or {}, path)
    reader = reader_of(rows, kind, data)
    read = Read(path, data.bad_rows == "refuse", marked=reader.marks is not None, marks_as_text=reader.marks_as_text)
    for source in reader.sources(rows):
        try:
            made = _rows_of(source, f"{kind}-{path.name.split('.')[0]}-{source.number}", data.max_characters)
        except BadRow as reason:
            read.add_bad(source.number, reason)
            continue
        read.rows += made
        read.row_numbers += [source.number] * len(made)
        read.tied += not made
    return read


def _check_columns(rows: Sequence[Row | BadRow], kind: str, columns: Mapping[str, Any], path: Path) -> None:
    """Raises DataError for a column that params name and no row has anything in."""
    rows = [row for row in rows if not isinstance(row, BadRow)]
    for name, column in columns.items():
        if name in ("form", "marks") or column is None or any(look_up(row, column) is not None for row in rows):
            continue
        known = ", ".join(dict.fromkeys(name for row in rows for name in row)) or "none"
        raise DataError(f"{path}: data.columns.{kind} says {name}: {column}, and no row has anything there; the file's "
                        f"columns are {known}")


def _rows_of(source: Source, default_id: str, max_characters: int | None) -> list[Row]:
    """The rows that one of the file makes, with ids of their own. Raises BadRow."""
    if source.bad:
        raise source.bad
    made = [named(source.given, limited(content, max_characters), default_id) for content in source.contents]
    if len(made) == 1:
        return made
    return [{**row, "id": f"{row['id']}#vs{place}"} for place, row in enumerate(made, start=1)]


def keep_sayable(read: Read, check: Check) -> None:
    """Leave in `read` the rows that the chat template can say."""
    numbered, read.rows, read.row_numbers = list(zip(read.row_numbers, read.rows, strict=True)), [], []
    for number, row in numbered:
        try:
            check(row)
        except BadRow as reason:
            read.add_bad(number, reason)
            continue
        read.rows.append(row)
        read.row_numbers.append(number)


def limited(content: Row, max_characters: int | None) -> Row:
    """The row itself. Raises BadRow when its longest conversation has more characters than allowed."""
    prompt = sum(len(m["content"]) for m in content.get("prompt") or content.get("messages", []))
    answers = [sum(len(m["content"]) for m in content.get(key, [])) for key in ("chosen", "rejected")]
    length = prompt + max(answers)
    if max_characters is not None and length > max_characters:
        reason = f"the conversation has more characters than data.max_characters={max_characters}"
        raise BadRow(reason, f"{length}", "data.max_characters")
    return content


def _more_bad(first: Finding, others: Sequence[Finding]) -> str:
    """How many more rows are bad, and why."""
    more = ([f"{first.count - 1} for the same reason"] if first.count > 1 else []) + [
        f"{finding.count} because {finding.reason} ({finding.first.rpartition(', ')[2]})" for finding in others
    ]
    total = first.count - 1 + sum(finding.count for finding in others)
    return f". {total} more rows are bad: {'; '.join(more)}" if more else ""


def refuse(read: Read) -> None:
    """Raises DataError for a bad row, unless such rows are left out, for ids that occur twice, or for no row at all."""
    if read.bad and read.stops:
        first, *others = read.bad.values()
        raise DataError(f"{first}; mend it, or set data.bad_rows to skip{_more_bad(first, others)}")
    check_ids(read)


def check_ids(read: Read) -> None:
    """Raises DataError for ids that occur twice, or when no row is left."""
    doubled = [name for name, count in Counter(row["id"] for row in read.rows).items() if count > 1]
    if doubled:
        name, more = doubled[0], and_more(doubled)
        raise DataError(f"{read.path}: id {name!r}{more} occurs more than once; ids must be unique")
    if not read.rows:
        reasons = {reason: finding.count for reason, finding in read.bad.items()}
        raise DataError(f"{read.path}: every row was skipped ({reasons or 'all answers are tied'})")


def and_more(alike: Sequence[Any]) -> str:
    """How many there are besides the one that is named."""
    return f" (and {len(alike) - 1} more)" if len(alike) > 1 else ""
