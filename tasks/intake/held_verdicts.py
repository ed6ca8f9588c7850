"""People's verdicts as the data holds them, in our own form, and the prompts that they may speak of."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from models.judges.shown import prompt_sha256
from models.judges.verdict_form import IDS, NO_TIME, TEXTS, Unusable, VerdictForm, canonical
from tasks.common.rows import Row
from tasks.config.judges import VerdictFormConfig
from tasks.data.values import BadRow
from tasks.intake.inbound import check_names, is_safe
from tasks.prepare import HELD_OUT

PROMPTS = "prompts of the data"  # what a verdict waits for that names none of them
FORM = "intake.verdict_form"
OLD_COLUMNS = ("prompt_id", "first", "second", "annotator", "verdict")  # all that a digest was made of, once
MORE_COLUMNS = ("policy", *TEXTS, "at")
REASONS = {
    "missing_columns": f"it has no annotator or no verdict ({FORM}.columns says what yours are called)",
    "unknown_verdicts": f"its verdict is none of first, second, tie, or 1 or 2 beside other numbers ({FORM}.words "
    "says what yours mean)",
    "without_texts": "it has neither the texts that were judged, with their prompt, nor their hashes, nor ids with the "
    f"policy's hash ({FORM}.columns says what yours are called)",
}


class HeldPrompts:
    """The prompts of the data by id and by the hash of their text, with the split of each."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str | None]] = {}  # id or hash -> id, split

    def add(self, row: Row, split: str | None) -> None:
        self._known[row["id"]] = self._known[prompt_sha256(row["prompt"])] = (row["id"], split)

    @property
    def digest(self) -> str:
        """Changes when prompts come or go."""
        return _sha256(sorted(self._known))[:16]

    def id_of(self, verdict: Row) -> str:
        """The id of a verdict's prompt. Raises BadRow for a prompt that the data lacks, or that people do not judge."""
        name = verdict.get("prompt_sha256", verdict.get("prompt_id"))
        if name not in self._known:
            raise BadRow("its prompt is none of the data's; it is asked again when the prompts change", by=PROMPTS)
        prompt_id, split = self._known[name]
        if split in HELD_OUT:
            raise BadRow(f"its prompt is in the split {split!r}, which is not judged by people", by="data.splits")
        return prompt_id


def form_of(cfg: VerdictFormConfig, rows: Iterable[Row]) -> VerdictForm:
    """How the rows of one object say what ours say."""
    return VerdictForm(cfg.columns, cfg.words, cfg.policy).of_file(rows)


def verdict_row(given: Row, form: VerdictForm) -> Row:
    """A verdict of the inbox in our own form. Raises BadRow."""
    try:
        row = canonical(given, form)
    except Unusable as reason:
        raise BadRow(REASONS[str(reason)], by=FORM) from None
    check_names(row, ("annotator",))
    if unsafe := [column for column in IDS if column in row and not is_safe(row[column])]:
        raise BadRow(f"{unsafe[0]} is not an id", by=FORM)
    if any(not re.fullmatch("[0-9a-f]{64}", row.get(column, "0" * 64)) for column in TEXTS):
        raise BadRow("a sha256 has not 64 hexadecimal digits", by=FORM)
    sides = ("first_sha256", "second_sha256") if "first_sha256" in row else ("first", "second")
    if row[sides[0]] == row[sides[1]]:
        raise BadRow("first and second are the same answer")
    return row


def verdict_digest(row: Mapping[str, Any]) -> str:
    """SHA-256 over what a human verdict says."""
    content = {column: str(row.get(column, "")).strip() for column in OLD_COLUMNS}
    more = {column: str(row[column]) for column in MORE_COLUMNS if row.get(column) not in (None, "", NO_TIME)}
    return _sha256({**content, **more})


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
