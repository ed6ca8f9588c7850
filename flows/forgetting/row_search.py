"""Whether some bytes, of a file whose name is not known, hold a row that was forgotten."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flows.alignment.results import cell
from flows.history.row_lineage import ID_KEYS, names
from flows.storage.objects import rows_of
from tasks.data.forms import SAID
from tasks.data.reading import all_readers
from tasks.data.values import BadRow, head
from tasks.intake.held_data import digest_of_all
from tasks.intake.ledger import Tombstone

SHORTEST_TEXT = 16  # characters; shorter ones say nothing about whose they are
FORMATS = ((b"PAR1", ".parquet"), (b"\x1f\x8b", ".jsonl.gz"))


class RowSearch:
    """Looks for rows by their ids, by the digest of what they say where they have no id, and by their texts.

    others: texts that rows hold which stay; they give nobody away. columns: data.columns of params, by kind.
    """

    def __init__(
        self, stones: Iterable[Tombstone], others: Iterable[str] = (), columns: Mapping[str, Any] | None = None
    ):
        stones, columns = list(stones), columns or {}
        self._readers = all_readers(columns)
        declared = [name for one in columns.values() for column in (one or {}).values() for name in head(column or ())]
        self._said = (*SAID, *declared)
        self._ids = sorted({stone.row for stone in stones if stone.row})
        self._digests = {stone.digest for stone in stones if stone.digest}
        self._others = set(others)
        self._texts: set[bytes] = set()

    def learn(self, content: bytes) -> None:
        """Take the texts of the forgotten rows from a table that still holds them."""
        for row in self._rows(content):
            if self._is_it(row, exactly=True):
                for text in texts_of(row, self._said):
                    if len(text) >= SHORTEST_TEXT and text not in self._others:
                        self._texts |= set(_spellings(text))

    def by_row(self, content: bytes) -> bool:
        """Whether it is a table with such a row, or with what was sampled or judged of it."""
        return any(self._is_it(row) for row in self._rows(content))

    def holds(self, content: bytes) -> bool:
        """The same, or whether it names or quotes the row in any other way."""
        if any(f'"{name}"'.encode() in content or f'"{name}#'.encode() in content for name in self._ids):
            return True
        return any(text in content for text in self._texts) or self.by_row(content)

    def is_data(self, content: bytes) -> bool:
        """Whether it is a table with the row itself and what it says."""
        return any(self._is_it(row, exactly=True) and any(texts_of(row, self._said)) for row in self._rows(content))

    def other_texts(self, content: bytes) -> set[str]:
        """What the other rows of a table say."""
        others = (row for row in self._rows(content) if not self._is_it(row, exactly=True))
        return {text for row in others for text in texts_of(row, self._said)}

    def _rows(self, content: bytes) -> Iterator[Mapping[str, Any]]:
        ending = next((ending for start, ending in FORMATS if content.startswith(start)), ".jsonl")
        return rows_of(ending, content)

    def _is_it(self, row: Mapping[str, Any], exactly: bool = False) -> bool:
        if any(key in row for key in ID_KEYS):
            return any(str(row.get("id")) == name if exactly else names(row, name) for name in self._ids)
        return bool(self._digests) and any(digest in self._digests for digest in self._digests_of(row))

    def _digests_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        for reader in self._readers:
            try:
                yield digest_of_all(reader.contents(dict(row)))
            except BadRow:
                continue


def texts_of(row: Mapping[str, Any], columns: Iterable[str] = SAID) -> Iterator[str]:
    """What is said in a row of the data, turn by turn, in the columns of all forms that are known."""
    for key in columns:
        yield from _texts_in(row.get(key))


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for key, one in value.items() if key not in ("role", "from") for text in _texts_in(one))
    elif isinstance(value, list):
        yield from (text for one in value for text in _texts_in(one))


def _spellings(text: str) -> Iterator[bytes]:
    """The text as JSON, with and without escapes, as HTML, and on Prefect's pages."""
    yield json.dumps(text)[1:-1].encode()
    yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield html.escape(text).encode()
    yield cell(text).encode()
