"""One object of the inbox, turned into rows: whatever is wrong with it is said by line, and nothing in it is trusted.

Reasons never quote what a row says: they are kept in git, where nothing can be forgotten.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from models.judges.verdict_files import csv_rows, flat_rows, is_lines, listed
from tasks.common.rows import Row
from tasks.config.service import IntakeConfig
from tasks.data.values import BadRow

T = TypeVar("T")
KINDS = ("demonstrations", "preferences", "verdicts")
MEGABYTE = 10**6
BOM = b"\xef\xbb\xbf"
SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@#=+-]{0,199}")
LONGEST_NAME = 200


class Refused(ValueError):
    """An object of which no row can be used, with the reason. `by`: the key in params that decided it."""

    def __init__(self, reason: str, by: str | None = None):
        super().__init__(reason)
        self.by = by


@dataclass(frozen=True)
class Numbered:
    """A row and the line of the object that it stands on, counted from 1."""

    line: int
    row: Row


@dataclass(frozen=True)
class Problem:
    """A line that is quarantined, and why. by: as of BadRow."""

    line: int
    reason: str
    by: str | None = None


@dataclass(frozen=True)
class Parsed:
    """The lines of an object: those that hold a row, and those that hold none; and how many bytes it has, unpacked."""

    rows: list[Numbered]
    problems: list[Problem]
    size: int = 0


def kind_of(name: str) -> str:
    """The kind of the rows in an object, by the first folder of its name below the inbox, or how its name begins.

    Raises Refused for a name that could lead out of a folder, or that says no kind.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in name or "\0" in name:
        raise Refused("its key has empty parts, dots alone, backslashes or a null")
    for kind in KINDS:
        if (parts[0] == kind and len(parts) > 1) or re.match(rf"{kind}\b", parts[-1]):
            return kind
    raise Refused(f"its key says no kind; put it below one of {', '.join(f'{kind}/' for kind in KINDS)}")


def printable(key: str) -> str:
    """A key on one line, as a terminal and a row may hold it: S3 lets it have line ends and control characters."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in key)


def check_size(size: int, cfg: IntakeConfig) -> None:
    """Raises Refused for more bytes than an object may have."""
    if size > cfg.max_object_mb * MEGABYTE:
        reason = f"it has {size / MEGABYTE:.1f} MB, more than intake.max_object_mb={cfg.max_object_mb:g}"
        raise Refused(reason, "intake.max_object_mb")


def parse(name: str, data: bytes, cfg: IntakeConfig) -> Parsed:
    """The rows of an object: JSONL, also gzipped; human verdicts as labelling tools and spreadsheets export them, too.

    Raises Refused for another ending, bytes that cannot be unpacked, no row at all, or more than may be.
    """
    check_size(len(data), cfg)
    plain = name.removesuffix(".gz")
    if plain != name:
        data = _unpacked(data, cfg)
    if plain.endswith(".jsonl"):
        parsed = _jsonl(data, cfg)
    elif plain.endswith((".csv", ".tsv")) and kind_of(name) == "verdicts":
        parsed = _csv(data, cfg)
    elif plain.endswith(".json") and kind_of(name) == "verdicts":
        parsed = _json(data, cfg)
    else:
        raise Refused("it is neither .jsonl nor .jsonl.gz (verdicts: nor .json, .csv, .tsv)")
    if kind_of(name) == "verdicts":
        parsed = _flat(parsed, cfg)
    if not parsed.rows and not parsed.problems:
        raise Refused("it has no rows")
    return replace(parsed, size=len(data))


def _unpacked(data: bytes, cfg: IntakeConfig) -> bytes:
    limit = int(cfg.max_object_mb * MEGABYTE)
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"it cannot be unpacked: {' '.join(str(error).split())}") from None
    if len(unpacked) > limit:
        raise Refused(f"unpacked it has more than intake.max_object_mb={cfg.max_object_mb:g}", "intake.max_object_mb")
    return unpacked


# --- JSONL ---


def _jsonl(data: bytes, cfg: IntakeConfig) -> Parsed:
    # Not split: a small object can unpack to so many empty lines that a list of them is gigabytes.
    lines = enumerate(io.BytesIO(data.removeprefix(BOM)), start=1)
    return _parsed(((number, line.removesuffix(b"\n")) for number, line in lines if line.strip()), _json_row, cfg)


def _parsed(lines: Iterable[tuple[int, T]], read: Callable[[T, IntakeConfig], Row], cfg: IntakeConfig) -> Parsed:
    """What `read` makes of each numbered line. Raises Refused for more lines than may be."""
    parsed = Parsed([], [])
    for number, line in lines:
        _check_rows(len(parsed.rows) + len(parsed.problems) + 1, cfg)
        try:
            parsed.rows.append(Numbered(number, read(line, cfg)))
        except BadRow as reason:
            parsed.problems.append(Problem(number, str(reason), reason.by))
    return parsed


def _check_rows(count: int, cfg: IntakeConfig) -> None:
    if count > cfg.max_object_rows:
        reason = f"it has more rows than intake.max_object_rows={cfg.max_object_rows}"
        raise Refused(reason, "intake.max_object_rows")


def _check_characters(count: int, cfg: IntakeConfig) -> None:
    if count > cfg.max_row_characters:
        reason = f"{count} characters, more than intake.max_row_characters={cfg.max_row_characters}"
        raise BadRow(reason, by="intake.max_row_characters")


def _json_row(line: bytes, cfg: IntakeConfig) -> Row:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow(f"not UTF-8 (byte {error.start + 1} of the line)") from None
    _check_characters(len(text), cfg)
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadRow(f"invalid JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError):
        raise BadRow("invalid JSON (a number too long, or nested too deep)") from None
    if not isinstance(row, dict):
        raise BadRow(f"expected a JSON object, found {type(row).__name__}")
    _check_writable(row)
    return row


def _check_writable(row: Row) -> None:
    """JSON lets through what no file of ours can hold."""
    try:
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise BadRow("half of a surrogate pair, which UTF-8 cannot hold") from None
    except (ValueError, RecursionError):
        raise BadRow("a number that is not finite, or nested too deep") from None


# --- verdicts: other tables, and the exports of labelling tools ---


def _json(data: bytes, cfg: IntakeConfig) -> Parsed:
    """The items of a JSON list, each by its place, as the lines of JSONL; or such lines, by the name of .json."""
    text = _text(data)
    if is_lines(text):
        return _jsonl(data, cfg)
    try:
        items = listed(json.loads(text))
        lines = b"".join(json.dumps(item).encode() + b"\n" for item in items)
    except (ValueError, RecursionError):
        raise Refused("it is not JSON") from None
    return _jsonl(lines, cfg)


def _csv(data: bytes, cfg: IntakeConfig) -> Parsed:
    try:
        return _parsed(csv_rows(_text(data)), _csv_row, cfg)
    except csv.Error as error:
        raise Refused(str(error)) from None


def _csv_row(row: Row, cfg: IntakeConfig) -> Row:
    _check_characters(sum(len(str(value)) for value in row.values()), cfg)
    if None in row or None in row.values():
        raise BadRow("not as many columns as the first line")
    return row


def _text(data: bytes) -> str:
    try:
        return data.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise Refused(f"not UTF-8 (line {line})") from None


def _flat(parsed: Parsed, cfg: IntakeConfig) -> Parsed:
    """One row for each verdict of an item, where several people judged it."""
    flat = Parsed([], [*parsed.problems])
    for numbered in parsed.rows:
        for row in flat_rows(numbered.row):
            if isinstance(row, str):
                flat.problems.append(Problem(numbered.line, "it was skipped, or is a draft"))
            else:
                flat.rows.append(Numbered(numbered.line, dict(row)))
            _check_rows(len(flat.rows) + len(flat.problems), cfg)
    return flat


# --- what may stand in a row as a name: of the row, its root, who judged it ---


def is_safe(name: Any) -> bool:
    """Whether a name can become part of a path and not leave its folder."""
    return isinstance(name, str | int) and not isinstance(name, bool) and bool(SAFE_ID.fullmatch(str(name)))


def own_id(given: Row) -> str | None:
    """The row's own id. Raises BadRow for one that is not safe."""
    if "id" not in given:
        return None
    if not is_safe(given["id"]):
        raise BadRow(f"its id has other signs than letters, digits and ._:@#=+-, or more than {LONGEST_NAME}")
    return str(given["id"])


def check_names(given: Row, fields: tuple[str, ...] = ("root", "category")) -> None:
    for key in fields:
        value = given.get(key, "")
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise BadRow(f"its {key} is neither text nor a whole number")
        if len(str(value)) > LONGEST_NAME or not str(value).isprintable():
            raise BadRow(f"its {key} is longer than {LONGEST_NAME} characters, or has control characters")
