"""Files of people's verdicts as spreadsheets and labelling tools export them, taken apart into one flat row a verdict.

- Label Studio's JSON: tasks with `data` and `annotations`. A row has the columns of `data` and of the annotation, and
  what was chosen in a column of each control tag's name (`from_name`). Its JSON-MIN and CSV are flat already.
- Argilla's records (`records.to_list`, nested or flattened, its server's JSON, Argilla 1's data sets). A row has the
  columns of `fields` and `metadata`, what one user answered in a column of each question's name, and `user_id`.
- A table: CSV by comma, semicolon or tab, JSON lines, a JSON list.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Flat = Mapping[str, Any]
BROKEN, NOT_SUBMITTED = "broken_lines", "not_submitted"  # what stands for a row that says nothing
ENDINGS = (".jsonl", ".json", ".csv", ".tsv")
SEPARATORS = ",;\t"
SUBMITTED = ("submitted", "completed", None)
PAGES = ("items", "records", "tasks")  # the names under which Argilla's and Label Studio's servers send lists
RESPONSES = ".responses"  # of a flattened record: QUESTION.responses, and .users and .status after it


def verdict_rows(path: Path) -> Iterator[Flat | str]:
    """The flat rows of a file; BROKEN or NOT_SUBMITTED for what holds no verdict.

    Raises ValueError for another ending, for a file that is not UTF-8, and for a table or list that cannot be read.
    """
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path} is none of {', '.join(ENDINGS)}; give human verdicts in one of them")
    try:
        text = path.read_bytes().decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    try:
        for row in _rows(path.suffix, text):
            yield from flat_rows(row) if isinstance(row, Mapping) else [BROKEN]
    except (csv.Error, ValueError, RecursionError) as error:  # ValueError: a number with too many digits, too
        raise ValueError(f"{path} cannot be read: {error}; export it again") from None


def _rows(suffix: str, text: str) -> Iterator[Any]:
    if suffix in (".csv", ".tsv"):
        yield from (row for _, row in csv_rows(text))
    elif suffix == ".json" and not is_lines(text):
        yield from listed(json.loads(text))
    else:
        yield from (_parsed(line) for line in text.split("\n") if line.strip())


def is_lines(text: str) -> bool:
    """Whether a file is JSON lines, whatever its name: its first line is an object, and it goes on (datasets'
    `to_json`)."""
    first, _, rest = text.strip().partition("\n")
    return bool(rest) and isinstance(_parsed(first), dict)


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def listed(document: Any) -> list[Any]:
    """The items of a JSON document, which a server may send a page at a time; one that is no list is its only item."""
    paged = [document[name] for name in PAGES if name in document] if isinstance(document, Mapping) else []
    return next((one for one in (document, *paged) if isinstance(one, list)), [document])


def csv_rows(text: str) -> Iterator[tuple[int, dict[str | None, Any]]]:
    """Each row of a table with the line that it ends on; cells beyond the head stand under None, missing ones are None.

    The separator is the one that cuts the head into most columns, or the one that a first line `sep=;` names. Raises
    csv.Error.
    """
    skipped = 0
    if text[:4].lower() == "sep=" and text[5:6] in ("\r", "\n"):
        separator, (_, text), skipped = text[4], text.split("\n", 1), 1
    else:
        separator = max(SEPARATORS, key=lambda one: len(next(csv.reader(lines_of(text), delimiter=one), [])))
    # Not strict: a quote that is never closed makes one long last row, which then lacks columns.
    reader = csv.DictReader(lines_of(text), delimiter=separator)
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # texts may be longer than csv takes, untold
    try:
        for row in reader:
            yield reader.line_num + skipped, row
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num + skipped + 1}: {error}") from None
    finally:
        csv.field_size_limit(limit)


def lines_of(text: str) -> io.StringIO:
    """A text for csv, which tells the ends of lines from those within quotes itself."""
    return io.StringIO(text, newline="")


def flat_rows(row: Flat) -> Iterator[Flat | str]:
    """The verdicts of one item of an export: several where several people judged it."""
    if isinstance(annotations := row.get("annotations", row.get("completions")), list):
        yield from _label_studio(row, _objects(annotations))
    elif isinstance(row.get("fields"), Mapping) and "responses" in row:
        yield from _argilla(row, row["responses"])
    elif answers := {str(key): said for key in row if (said := _answers(row, key)) is not None}:
        yield from _argilla(row, {key.removesuffix(RESPONSES): said for key, said in answers.items()})
    else:
        yield row


def _answers(row: Flat, key: str | None) -> list[Flat] | None:
    """What people answered in a column of a record, as a nested record has it; None for a column of another kind."""
    value = row[key]
    if str(key).endswith(RESPONSES) and isinstance(value, list):
        return _rows_of({"value": value, "user_id": row.get(f"{key}.users"), "status": row.get(f"{key}.status")})
    if isinstance(value, Mapping) and all(isinstance(value.get(name), list) for name in ("value", "user_id")):
        return _rows_of(value)  # Argilla 1's, as `datasets` keeps it
    answers = _objects(value)
    return answers if answers and all({"value", "user_id"} <= one.keys() for one in answers) else None


def _objects(value: Any) -> list[Flat]:
    """The objects in a list; what else an export holds there says nothing."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _label_studio(task: Flat, annotations: list[Flat]) -> Iterator[Flat | str]:
    data = task["data"] if isinstance(task.get("data"), Mapping) else {}
    for annotation in annotations:
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            yield NOT_SUBMITTED
            continue
        chosen = {str(one.get("from_name")): one.get("value") for one in _objects(annotation.get("result"))}
        yield {**annotation, **data, **chosen}


def _rows_of(columns: Flat) -> list[Flat]:
    lists = {name: column for name, column in columns.items() if isinstance(column, list)}
    return [dict(zip(lists, values, strict=True)) for values in zip(*lists.values(), strict=False)]


def _argilla(record: Flat, responses: Any) -> Iterator[Flat | str]:
    """One row a user: by question (the Python client's records), or by user (the server's)."""
    within = [part for name in ("fields", "metadata") if isinstance(part := record.get(name), Mapping)]
    record = {key: value for part in (record, *within) for key, value in part.items()}
    by_user: dict[str, dict[str, Any]] = {}
    if isinstance(responses, Mapping):
        for question, answers in responses.items():
            for answer in _objects(answers):
                by_user.setdefault(str(answer.get("user_id")), dict(answer))[question] = answer.get("value")
    else:
        for answer in _objects(responses):
            values = answer["values"] if isinstance(answer.get("values"), Mapping) else {}
            by_user[str(answer.get("user_id"))] = {**answer, **values}
    for answers in by_user.values():
        yield {**record, **answers} if answers.get("status") in SUBMITTED else NOT_SUBMITTED
