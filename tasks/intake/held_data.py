"""What the data folder holds already, as far as new rows must agree with it; and what a new row is, checked against it.

Rows are read and named as `prepare` reads and names them, so that what intake lets in cannot stop a run later.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.chat.control_tokens import control_marks, holds_mark
from tasks.common.errors import DataError
from models.judges.verdict_form import VerdictForm
from tasks.common.rows import Row, read_jsonl
from tasks.config.data import DataConfig, NearRepeatsConfig
from tasks.config.service import IntakeConfig
from tasks.config.shared import Section
from tasks.data.collecting import Read, limited, read_kind
from tasks.data.fields import fields_of, named
from tasks.data.messages import CALLS, MEDIA, REASONING
from tasks.data.near_repeats import user_turns
from tasks.data.reading import Reader
from tasks.data.tables import NoRows
from tasks.data.values import BadRow
from tasks.intake.held_verdicts import PROMPTS, HeldPrompts, form_of, verdict_digest, verdict_row
from tasks.intake.inbound import check_names, own_id
from tasks.prepare import HELD_OUT, KIND_SPLITS, files_of, shares_of, split_of

EVALUATION = ("select", "gate")
RICHEST_FIRST = ("preferences", "demonstrations", "prompts")
CATEGORIES = "sft.category_weights"
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Rules:
    """The params that decide what a row is; `categories` are those that SFT has a weight for.

    marks: what the base's tokenizer takes for control tokens. They are kept as text; rows that hold some are counted.
    """

    data: DataConfig
    intake: IntakeConfig
    categories: tuple[str, ...]
    marks: frozenset[str] = frozenset()

    def value(self, key: str) -> Any:
        """What params say under a key that a refusal named, as JSON holds it; None for a key that is no more."""
        if key == CATEGORIES:
            return list(self.categories)
        section, _, name = key.partition(".")
        value = getattr(getattr(self, section, None), name, None)
        return value.model_dump(mode="json") if isinstance(value, Section) else value


def marks_of(base: Path) -> frozenset[str]:
    """What the tokenizer of a model directory takes for control tokens; nothing where the model is not here.

    Raises DataError for a tokenizer's file that cannot be read.
    """
    try:
        return control_marks(base)
    except (OSError, ValueError) as error:
        raise DataError(f"the tokenizer in {base} cannot be read: {' '.join(str(error).split())}") from None


@dataclass(frozen=True)
class Forgotten:
    """Rows that must not come back, by id and by the digest of what they say."""

    ids: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Candidate:
    """A new row that is sound by itself. `turns`: what the user says in it; `split`: None where nothing reads it."""

    row: Row
    digest: str
    root: str = ""
    split: str | None = None
    turns: tuple[str, ...] = ()


@dataclass
class File:
    """One data file: its rows' ids with their digests (None: an id that only another kind gives), and its readers.

    own_form: whether rows are added to it in our own form, since it is read with marks, or by columns that params name.
    """

    readers: tuple[str, ...]
    own_form: bool = False
    ids: dict[str, str | None] = field(default_factory=dict)
    digests: set[str] = field(default_factory=set)


class HeldData:
    """The rows below `folder`, and those added since.

    Raises DataError as `prepare` does for a file that it could not read.
    """

    def __init__(self, folder: Path, rules: Rules, forgotten: Forgotten = Forgotten()):
        self._rules, self._forgotten = rules, forgotten
        self._shares = {kind: shares_of(kind, rules.data) for kind in files_of(rules.data)}
        self._files: dict[str, File] = {}
        self._splits: dict[str, set[str]] = defaultdict(set)  # of each root
        self.prompts = HeldPrompts()
        self.evaluation: dict[str, tuple[str, tuple[str, ...]]] = {}  # prompt id -> split, turns
        self.training: list[tuple[str, tuple[str, ...]]] = []  # row id, turns
        for kind, name in files_of(rules.data).items():
            self._read(folder, name, kind)
        self._read_verdicts(folder / rules.intake.verdicts)

    def value(self, key: str) -> Any:
        """What a refusal under this key hangs on now: of params, or of the data."""
        return self.prompts.digest if key == PROMPTS else self._rules.value(key)

    @property
    def near_repeats(self) -> NearRepeatsConfig:
        """When a new row nearly repeats an evaluation prompt."""
        return self._rules.data.near_repeats

    def holds_mark(self, row: Row) -> bool:
        """Whether a text in the row holds a control token of the base's tokenizer."""
        return holds_mark(row, self._rules.marks)

    def file_for(self, kind: str) -> str | None:
        """The file that rows of a kind are added to; None where params name none."""
        return self._rules.intake.verdicts if kind == "verdicts" else files_of(self._rules.data).get(kind)

    def candidate(self, kind: str, row: Row, origin: str, form: VerdictForm | None = None) -> Candidate:
        """A row of the inbox, with its id and where it came from. form: of the verdicts of its object.

        Raises BadRow with the reason why it cannot be used.
        """
        given = {key: value for key, value in row.items() if value is not None}
        own_name = None if kind == "verdicts" else own_id(given)  # a tool's id may name a task of several verdicts
        if kind == "verdicts":
            candidate = self._verdict(given, form or self.verdict_form([row]))
        else:
            candidate = self._example(kind, given)
        name = own_name or f"{kind}-{candidate.digest[:16]}"
        if name in self._forgotten.ids or candidate.digest in self._forgotten.digests:
            raise BadRow("the row was forgotten on request")
        return replace(candidate, row={**candidate.row, "id": name, "origin": origin})

    def knows(self, kind: str, candidate: Candidate) -> bool:
        """Whether the row is here already. Raises BadRow when its id is, with other content."""
        file = self._files[self.file_for(kind) or ""]
        name = candidate.row["id"]
        if file.ids.get(name, candidate.digest) != candidate.digest:
            raise BadRow("its id belongs to a row with other content")
        return name in file.ids or candidate.digest in file.digests

    def add(self, kind: str, candidate: Candidate) -> None:
        """Count the row as held. Raises BadRow when its root would then be held out and train as well."""
        if candidate.split is not None:
            splits = self._splits[candidate.root] | {candidate.split}
            held_out = splits & set(HELD_OUT)
            if held_out and len(splits) > 1:
                others = ", ".join(sorted(splits - {candidate.split}))
                reason = f"it falls into the split {candidate.split!r}, and rows of the same root are in {others}"
                raise BadRow(reason, by="data.splits")
            self._splits[candidate.root] = splits
            self._compare_with(candidate.row["id"], candidate.split, candidate.turns)
        file = self._files[self.file_for(kind) or ""]
        file.ids[candidate.row["id"]] = candidate.digest
        file.digests.add(candidate.digest)

    # --- reading ---

    def _read(self, folder: Path, name: str, kind: str) -> None:
        readers = tuple(reader for reader, other in files_of(self._rules.data).items() if other == name)
        file = self._files.setdefault(name, File(readers))
        read = Read(folder / name)
        with contextlib.suppress(NoRows):  # all that there were may have been forgotten
            read = read_kind(read.path, kind, self._rules.data) if read.path.is_file() else read
        file.own_form |= read.marked or bool(getattr(self._rules.data.columns, kind))
        for row in read.rows:
            split = self._split(kind, row["root"], row.get("split"))
            turns = user_turns(row)
            if kind == richest(readers):
                file.ids[row["id"]] = digest = digest_of(row)
                file.digests.add(digest)
            else:
                file.ids.setdefault(row["id"], None)
            if kind == "prompts":
                self.prompts.add(row, split)
            if split is not None:
                self._splits[row["root"]].add(split)
                self._compare_with(row["id"], split, turns)

    def _compare_with(self, name: str, split: str, turns: tuple[str, ...]) -> None:
        """New rows are compared with what a row of this split asks."""
        if split in EVALUATION:
            self.evaluation[name] = (split, turns)
        else:
            self.training.append((name, turns))

    def _read_verdicts(self, path: Path) -> None:
        file = self._files[path.name] = File(("verdicts",))
        for row in read_jsonl(path) if path.is_file() else ():
            digest = verdict_digest(row)
            file.ids[str(row.get("id", f"verdicts-{digest[:16]}"))] = digest
            file.digests.add(digest)

    def _split(self, kind: str, root: str, given: Any) -> str | None:
        split = given or split_of(root, self._shares[kind])
        return split if split in KIND_SPLITS[kind] else None

    # --- new rows ---

    def _example(self, kind: str, given: Row) -> Candidate:
        """A demonstration or a preference, as every kind that its file is read as."""
        file = self._files[self.file_for(kind) or ""]
        readers = file.readers
        contents = {reader: self._content(reader, given, kind) for reader in readers}
        content = contents[richest(readers)]
        _check_turns(content)
        _check_split(given, readers)
        check_names(given)
        fields = fields_of(given, getattr(self._rules.data.columns, kind))
        row = named(fields, content, kind)
        if "demonstrations" in readers and row["category"] not in self._rules.categories:
            reason = f"its category has no weight in {CATEGORIES} ({', '.join(self._rules.categories)})"
            raise BadRow(reason, by=CATEGORIES)
        splits = [split for reader in readers if (split := self._split(reader, row["root"], row.get("split")))]
        turns = user_turns(content)
        kept = {**fields, **content} if file.own_form else given
        return Candidate(kept, digest_of(content), row["root"], splits[0] if splits else None, turns)

    def _content(self, reader: str, given: Row, kind: str) -> Row:
        """Marks of who speaks are never read here: what a stranger writes may hold them."""
        try:
            contents = self._reader(reader).contents(given)
            if len(contents) != 1:
                raise BadRow("it makes no comparison, or several; send each as prompt, chosen and rejected")
            return limited(contents[0], self._rules.data.max_characters)
        except BadRow as reason:
            text = str(reason) if reader == kind else f"{reader} are read from the same file: {reason}"
            raise BadRow(text, by=reason.by or "data.columns") from None

    def _reader(self, kind: str) -> Reader:
        data = self._rules.data
        return Reader(kind, getattr(data.columns, kind), data.pairs.minimum_gap)

    def verdict_form(self, rows: Iterable[Row]) -> VerdictForm:
        """How the verdicts of one object say what ours say."""
        return form_of(self._rules.intake.verdict_form, rows)

    def _verdict(self, given: Row, form: VerdictForm) -> Candidate:
        """A human verdict, as the judge `human` reads it."""
        row = verdict_row(given, form)
        row = {**row, "prompt_id": self.prompts.id_of(row)}
        return Candidate(row, verdict_digest(row))


def richest(readers: Iterable[str]) -> str:
    """The kind that keeps most of what a row says."""
    return min(readers, key=RICHEST_FIRST.index)


def digest_of(row: Mapping[str, Any]) -> str:
    """SHA-256 over what a row says: equal for equal conversations, whatever their ids and other fields."""
    return _digest({key: row[key] for key in ("messages", "prompt", "chosen", "rejected", "tools") if key in row})


def digest_of_all(contents: Sequence[Mapping[str, Any]]) -> str:
    """The digest of a row that makes one row of ours, or several of them."""
    return digest_of(contents[0]) if len(contents) == 1 else _digest({"rows": [digest_of(row) for row in contents]})


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


# --- checks ---


def _check_split(given: Row, readers: Iterable[str]) -> None:
    """The sender may say what trains, never what is held out."""
    allowed = [split for reader in readers for split in KIND_SPLITS[reader] if split not in HELD_OUT]
    if "split" in given and given["split"] not in allowed:
        raise BadRow(f"its split is none of {', '.join(allowed)}; leave it out, and it goes by the hash of the root")


def _check_turns(content: Row) -> None:
    """The chat template is not at hand here, so only what every template can say is let in."""
    if "tools" in content:
        raise BadRow("it has tools, which intake does not take in; add it to the data file itself")
    for message in (message for messages in content.values() for message in messages):
        if message["role"] not in ROLES:
            raise BadRow(f"a role is none of {', '.join(ROLES)}")
        if extra := next((key for key in (*CALLS, *REASONING, *MEDIA) if key in message), None):
            raise BadRow(f"a message has {extra}, which intake does not take in; add it to the data file itself")
