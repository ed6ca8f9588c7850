"""The ledger of intake, kept in git: which object versions were taken in, and which of their lines were quarantined.

Both files are JSON lines that are only ever appended to. Each line says its `type`; lines of a type that intake does
not know stay as they are.
- `object`: an Entry.
- `data`: DVC's hash of the data `before` and `after` the objects above it.
- `tombstone`: a Tombstone, {"row": ID, "digest": what digest_of says of the row, …}, either of the two may be left out;
  intake does not take such a row in again.
- `quarantined`: the lines of an object that were left out for one reason.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from tasks.common.errors import DataError
from tasks.common.rows import append_jsonl, parse_jsonl
from tasks.intake.held_data import Forgotten
from tasks.intake.inbound import Problem

OBJECTS, QUARANTINE = "objects.jsonl", "quarantine.jsonl"


@dataclass(frozen=True)
class Entry:
    """One object version and what became of it.

    version: null where the bucket keeps no versions. modified: when the object was stored, as S3 says. rows: good +
    duplicates + quarantined. with_marks: of the good ones, those with control tokens in their text. refused: why no row
    was used. by: what refused it or some of its rows (see BadRow), with its value then.
    """

    bucket: str
    key: str
    etag: str
    version: str | None
    modified: str
    bytes: int
    sha256: str | None
    kind: str | None
    file: str | None
    rows: int = 0
    good: int = 0
    held_out: int = 0
    with_marks: int = 0
    duplicates: int = 0
    quarantined: int = 0
    refused: str | None = None
    by: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, str, str]:
        """An object stored again with the same bytes has the same ETag, and is not taken in again."""
        return self.bucket, self.key, self.etag


@dataclass(frozen=True)
class Tombstone:
    """A row that was forgotten: by id, by what it said, and the object and line of the inbox that it came from.

    tainted: the registered versions that had been trained on it or chosen by it by then.
    """

    row: str | None
    digest: str | None
    origin: str | None = None
    tainted: tuple[str, ...] = ()


class ObjectLedger:
    """The ledger in `folder`; missing files are empty.

    Raises DataError naming file and line for what is not a ledger.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._lines = _read(folder / OBJECTS)
        entries = [line for line in self._lines if line.get("type") == "object"]
        self._entries = {(line["bucket"], line["key"], line["etag"]): line for line in entries}  # the last of each

    def is_new(self, identity: tuple[str, str, str], value: Callable[[str], Any]) -> bool:
        """Whether an object is to be taken in: nobody did so yet, or what refused it then is another now.

        value: of a key of params, or of the data. Where no line says what refused an object, it is asked once more.
        """
        entry = self._entries.get(identity)
        if entry is None:
            return True
        by = entry.get("by")
        return bool(entry.get("refused")) if by is None else any(value(key) != then for key, then in by.items())

    @property
    def tombstones(self) -> list[Tombstone]:
        """In the order in which rows were forgotten."""
        return tombstones_in(self._lines)

    @property
    def forgotten(self) -> Forgotten:
        """What the tombstones name."""
        ids, digests = ({getattr(s, key) for s in self.tombstones} - {None} for key in ("row", "digest"))
        return Forgotten(frozenset(ids), frozenset(digests))

    def bury(self, stones: Iterable[Tombstone], at: str, before: str, after: str) -> None:
        """Add tombstones, and the hash of the data before and after. `at`: when, UTC."""
        self._append([{"type": "tombstone", "at": at, **asdict(stone)} for stone in stones], before, after)

    def append(self, entries: Iterable[tuple[Entry, list[Problem]]], before: str, after: str) -> None:
        """Add object versions, the report on their quarantined lines, and the hash of the data before and after."""
        entries = list(entries)
        self._append([{"type": "object", **asdict(entry)} for entry, _ in entries], before, after)
        append_jsonl(self._folder / QUARANTINE, [
            {"type": "quarantined", "key": entry.key, "etag": entry.etag, "reason": reason, "lines": lines}
            for entry, problems in entries for reason, lines in by_reason(problems)
        ])  # fmt: skip

    def _append(self, lines: list[dict[str, Any]], before: str, after: str) -> None:
        moved = [{"type": "data", "before": before, "after": after}] if before != after else []
        append_jsonl(self._folder / OBJECTS, [*lines, *moved])


def tombstones_in(lines: Iterable[dict[str, Any]]) -> list[Tombstone]:
    """The tombstones among the lines of a ledger."""
    stones = [line for line in lines if line.get("type") == "tombstone"]
    return [
        Tombstone(stone.get("row"), stone.get("digest"), stone.get("origin"), tuple(stone.get("tainted", ())))
        for stone in stones
    ]


def by_reason(problems: Iterable[Problem]) -> list[tuple[str, str]]:
    """Each reason with its lines as ranges, for example ("its id …", "3, 7-12"), in the order of the first lines."""
    lines: dict[str, list[int]] = defaultdict(list)
    for problem in problems:
        lines[problem.reason].append(problem.line)
    in_order = sorted(lines.items(), key=lambda item: (min(item[1]), item[0]))
    return [(reason, _ranges(sorted(places))) for reason, places in in_order]


def _ranges(ordered: list[int]) -> str:
    """Sorted numbers as text: [1, 2, 3, 7] is "1-3, 7"."""
    grouped = groupby(enumerate(ordered), key=lambda placed: placed[1] - placed[0])  # alike within a run
    runs = [[number for _, number in run] for _, run in grouped]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def states_in(text: str) -> set[str]:
    """The hashes of the data that a ledger (the text of its objects) has led through."""
    lines = parse_jsonl(text.split("\n"), OBJECTS)
    return {line[key] for line in lines if line.get("type") == "data" for key in ("before", "after")}


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [_line(text, f"{path.name}, line {number}") for number, text in enumerate(file, start=1)]


def _line(text: str, where: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
        known = line.get("type") != "object" or all(line[key] for key in ("bucket", "key", "etag"))
    except (ValueError, KeyError, AttributeError):
        known = False
    if not known:
        raise DataError(f"{where} is no line of the ledger of intake; restore the file from git")
    return line
