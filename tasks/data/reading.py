"""The rows of one file as one kind: its form is found over all of it, then each row is made ours or refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tasks.common.rows import Row
from tasks.config.data import DataConfig
from tasks.data.contents import Maker
from tasks.data.example import example_of
from tasks.data.fields import FALSE, TRUE, fields_of
from tasks.data.forms import FLAGS, FORMS, UNPAIRED, Form, beside, declared_form, forms_for, one_of
from tasks.data.marks import MARKS, Marks, marks_of
from tasks.data.messages import is_conversation_as_json
from tasks.data.values import BadRow, present, unpacked_json

ANY_GAP = 1e-9
MAYBE_JSON = frozenset({"prompt", "completion", "chosen", "rejected"})  # where a conversation may be JSON text
NO_FORM = {
    "demonstrations": "it has no conversation and no answer in a form that is known here",
    "prompts": "there is no prompt in a form that is known here",
    "preferences": "it has no chosen or no rejected, nor answers in another form that is known here",
}


@dataclass(frozen=True)
class Source:
    """What became of one row of a file, or of all rows that answer one prompt: fields, and rows of ours or a reason.

    number: of the row, from 1. contents is empty where all answers are tied.
    """

    number: int
    given: Row
    contents: Sequence[Row] = ()
    bad: BadRow | None = None


class Reader:
    """Reads rows as one kind. columns: those that params declare; marks: how the file writes dialogues as text;
    marks_as_text: on how many rows of the file marks are no more than text; as_json: fields that hold conversations as
    JSON text on every row of the file."""

    marks_as_text = 0

    def __init__(
        self, kind: str, columns: Mapping[str, Any] | None, minimum_gap: float, marks: Marks | None = None,
        as_json: frozenset[str] = frozenset(),
    ):  # fmt: skip
        self.kind, self.columns = kind, columns or {}
        declared = declared_form(self.columns)
        self._beside = beside(self.columns)
        self._forms = forms_for(kind, (declared,) if declared else ()) + forms_for(kind, FORMS)
        self._make = getattr(Maker(minimum_gap, marks), kind)
        self.marks, self.as_json = marks, as_json

    def fields(self, row: Row) -> dict[str, Any]:
        """What a row says, by our fields. Raises BadRow for a row of no known form, or of one that is refused."""
        given = present(row)
        names = frozenset(given)
        form = next((form for form in self._forms if form.might_fit(names) and form.fits(given)), None)
        if self._is_unpaired(given, form):
            raise BadRow(UNPAIRED)
        if form is None:
            raise BadRow(NO_FORM[self.kind], example_of(given, self.kind))
        if form.refusal:
            raise BadRow(form.refusal)
        if self.kind != "prompts" and (unread := form.unread(given)):
            raise BadRow(f"its column {unread[0]} is part of what is said, and is not read; take such rows out, or the "
                         "column, where they say the same without it")
        fields = form.fields(given, self._beside)
        _check_place(fields, "prompt" in fields and not self.marks)
        return {
            name: unpacked_json(value) if name in self.as_json and is_conversation_as_json(value) else value
            for name, value in fields.items()
        }

    def _is_unpaired(self, given: Row, form: Form | None) -> bool:
        """Whether a row says of its one answer that it is good or bad."""
        if self.kind == "prompts" or form and {"chosen", "answers"} & set(form.columns):
            return False
        return any(str(given.get(name)).lower() in TRUE + FALSE for name in FLAGS if name not in self.columns)

    def contents(self, row: Row) -> list[Row]:
        """The rows of ours that a row makes; none where its answers are tied. Raises BadRow."""
        return self._made(self.fields(row))

    def _made(self, fields: Mapping[str, Any]) -> list[Row]:
        if "score" in fields:
            fields = {**fields, "answers": [fields["completion"]], "scores": [fields["score"]]}
            del fields["completion"]
        return self._make(fields)

    def sources(self, rows: Sequence[Row | BadRow]) -> Iterator[Source]:
        """All rows of a file in their order; those that rate answers to one prompt are taken together."""
        rated: dict[str, list[tuple[int, Row, dict[str, Any]]]] = {}
        for number, row in enumerate(rows, start=1):
            try:
                if isinstance(row, BadRow):
                    raise row
                given, fields = fields_of(row, self.columns), self.fields(row)
                if "score" in fields and self.kind != "prompts":
                    key = json.dumps([fields.get("prompt"), fields.get("system")], default=str)
                    rated.setdefault(key, []).append((number, given, fields))
                    continue
                yield Source(number, given, self._made(fields))
            except BadRow as reason:
                yield Source(number, {}, bad=reason)
        yield from (self._together(group) for group in rated.values())

    def _together(self, group: list[tuple[int, Row, dict[str, Any]]]) -> Source:
        number, given, fields = group[0]
        answers, scores = ([one[name] for _, _, one in group] for name in ("completion", "score"))
        rest = {name: value for name, value in fields.items() if name not in ("completion", "score")}
        try:
            return Source(number, given, self._make({**rest, "answers": answers, "scores": scores}))
        except BadRow as reason:
            return Source(number, given, bad=reason)


def _check_place(fields: Mapping[str, Any], has_prompt: bool) -> None:
    """Raises BadRow for what stands beside a conversation and has no place in it. has_prompt: as a text or messages."""
    for name in [name for name in ("media", "context", "history") if name in fields]:
        if name == "media":
            raise BadRow("it has pictures or sounds beside its text, and answers and prompts are text here; leave such "
                         "rows out, or their column: data.columns: {media: null}")
        if not has_prompt:
            raise BadRow(f"it has a column for {name}, and no prompt of its own that it belongs to; write it into the "
                         f"conversation, or leave it out: data.columns: {{{name}: null}}")


def reader_of(rows: Iterable[Row | BadRow], kind: str, data: DataConfig) -> Reader:
    """The reader of the rows of a file that params name."""
    return reader_for(rows, kind, getattr(data.columns, kind), data.pairs.minimum_gap)


def reader_for(
    rows: Iterable[Row | BadRow], kind: str, columns: Mapping[str, Any] | None = None, minimum_gap: float = ANY_GAP
) -> Reader:
    """The reader of a file's rows: dialogues as text have the marks that `columns` declare, or that all have."""
    reader = Reader(kind, columns, minimum_gap)
    if declared := reader.columns.get("marks"):
        return Reader(kind, columns, minimum_gap, one_of(MARKS, "marks", declared))
    all_fields = list(_readable(reader, rows))
    as_json = frozenset(
        name for name in MAYBE_JSON
        if all(is_conversation_as_json(fields[name]) for fields in all_fields if name in fields)
    )
    texts = [text for fields in all_fields for text in dialogue_texts(fields)]
    reader = Reader(kind, columns, minimum_gap, marks_of(texts), as_json)
    if reader.marks is None:
        reader.marks_as_text = sum(any(marks.in_text(text) for marks in MARKS.values()) for text in texts)
    return reader


def _readable(reader: Reader, rows: Iterable[Row | BadRow]) -> Iterator[dict[str, Any]]:
    """The fields of those rows that have a form."""
    for row in rows:
        with suppress(BadRow):
            if not isinstance(row, BadRow):
                yield reader.fields(row)


def dialogue_texts(fields: Mapping[str, Any]) -> list[str]:
    """The texts of a row that would hold marks of who speaks, were they its form."""
    if "prompt" in fields:
        return [fields["prompt"]] if isinstance(fields["prompt"], str) else []
    return [text for name in ("messages", "chosen", "rejected") if isinstance(text := fields.get(name), str)]


def all_readers(columns: Mapping[str, Any]) -> list[Reader]:
    """For rows of which it is not known what file they come from: as each kind, in each way to write dialogues as text.

    columns: those that params declare, by kind.
    """
    kinds = ("demonstrations", "prompts", "preferences")
    ways = [(None, frozenset()), (None, MAYBE_JSON), *((marks, frozenset()) for marks in MARKS.values())]
    return [Reader(kind, columns.get(kind), ANY_GAP, *way) for kind in kinds for way in ways]
