"""Every answer that a judge gave, on disk the moment it arrived: what was paid for once is not asked again.

One SQLite file. A row's key is a hash of everything that determines the answer: the judge's whole description (model,
revision, epoch, sampling, the template's hash, criteria and weights), the conversation, the texts in their order.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from models.chat.turn import CALLS
from models.judges.base import Answer, Question, Verdict

READS_ENDS = "reward_model"  # the kind of judge to which a text that was cut is not the text that ends there
KINDS = ("compare", "rate")
TURN_KEYS = ("role", "content", *CALLS)  # of a turn
_BUSY_SECONDS = 60
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, judge TEXT NOT NULL, prompt_id TEXT NOT NULL, kind TEXT NOT NULL, answer TEXT NOT NULL,
    raw TEXT NOT NULL, valid INTEGER NOT NULL, calls INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL, cost REAL NOT NULL, latency_seconds REAL NOT NULL
) WITHOUT ROWID"""


@dataclass(frozen=True)
class Record:
    """One stored answer. `cost` in the currency of the judge's prices, failed attempts included; `calls` likewise."""

    key: str
    judge: str
    prompt_id: str
    kind: str  # one of KINDS
    answer: str  # JSON
    raw: str
    valid: bool
    calls: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    latency_seconds: float = 0.0

    def read(self) -> Answer:
        """The answer, as the judge's own code returned it."""
        value = json.loads(self.answer)
        if self.kind == "rate":
            return value
        return Verdict(value["p_first"], bool(self.valid), value["criteria"], self.raw)


def kind_of(question: Question) -> str:
    return "rate" if question.second is None else "compare"


def record_of(judge: str, key: str, question: Question, answer: Answer, raw: str, **usage: Any) -> Record:
    """What is kept of one answer of the judge of that name; `usage`: the record's counts, money and times."""
    return Record(
        key=key,
        judge=judge,
        prompt_id=str(question.row.get("id", "")),
        kind=kind_of(question),
        answer=answer_text(answer),
        raw=raw,
        valid=answer.valid if isinstance(answer, Verdict) else bool(answer),
        **usage,
    )


def answer_text(answer: Answer) -> str:
    value = {"p_first": answer.p_first, "criteria": dict(answer.criteria)} if isinstance(answer, Verdict) else answer
    return json.dumps(value, sort_keys=True)


def question_key(description: Mapping[str, Any], question: Question) -> str:
    """SHA-256 of the judge's description and the question, in a form that no two different questions share."""
    parts = {
        "judge": description,
        "prompt": [{key: turn[key] for key in TURN_KEYS if key in turn} for turn in question.row["prompt"]],
        "first": question.first,
        "second": question.second,
    }
    if question.row.get("tools"):
        parts["tools"] = question.row["tools"]
    if description.get("kind") == READS_ENDS and not all(question.finished):
        parts["finished"] = question.finished
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Store:
    """The file at `path`; made when it is missing. Several processes may use it at once, on one machine's disk.

    WAL with synchronous=NORMAL: a row is safe from the death of the process once `write` returns. A machine that loses
    power may lose the last rows, never the file. WAL needs shared memory, so the file must not lie on a network disk.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Every statement commits by itself; answers are asked for in a thread where a notebook's loop holds ours.
        self._connection = sqlite3.connect(path, _BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(_TABLE)

    def read(self, keys: Sequence[str]) -> dict[str, Record]:
        """The records among `keys` that are there."""
        names = ", ".join(field.name for field in fields(Record))
        records = {}
        for start in range(0, len(keys), 500):  # SQLite allows 999 variables in old builds
            part = keys[start : start + 500]
            marks = ", ".join("?" * len(part))
            for row in self._connection.execute(f"SELECT {names} FROM answers WHERE key IN ({marks})", part):
                record = Record(*row)
                records[record.key] = record
        return records

    def write(self, record: Record) -> None:
        """Keep one answer; the first stays where two processes asked the same."""
        values = vars(record)
        names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        self._connection.execute(f"INSERT OR IGNORE INTO answers ({names}) VALUES ({marks})", values)

    def forget(self, keys: Sequence[str]) -> None:
        """Answers that are to be asked for again."""
        self._connection.executemany("DELETE FROM answers WHERE key = ?", [(key,) for key in keys])

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
