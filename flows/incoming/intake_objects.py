"""The new objects of the inbox on their way: read, parsed, and what became of each."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from flows.incoming.inbox import Changed, Inbox, Stored
from tasks.common.errors import DataError
from tasks.common.rows import Row
from tasks.config.service import IntakeConfig
from tasks.intake.held_data import HeldData
from tasks.intake.inbound import MEGABYTE, Parsed, Problem, Refused, check_size, kind_of, parse, printable
from tasks.intake.ledger import Entry
from tasks.intake.rows import Admitted, Inbound, admit, check_appendable


@dataclass(frozen=True)
class Outcome:
    """A new object: its entry in the ledger and its quarantined lines; or why it waits and is not entered."""

    name: str
    entry: Entry
    problems: list[Problem]
    waits: str | None


@dataclass
class Read:
    """An object that was read, refused, by params or for good, or has to wait (this time)."""

    stored: Stored
    kind: str | None = None
    file: str | None = None
    version: str | None = None
    sha256: str | None = None
    parsed: Parsed = field(default_factory=lambda: Parsed([], []))
    refused: str | None = None
    by: str | None = None
    waits: str | None = None


class Reads:
    """The objects that one intake reads: each once, though another intake may be first and it begins anew."""

    def __init__(self, inbox: Inbox, cfg: IntakeConfig):
        self.inbox, self._cfg = inbox, cfg
        self._done: dict[Stored, Read] = {}

    def all(self, new: Iterable[Stored], held: HeldData) -> Iterator[Read]:
        """What is taken in is held in memory until it is checked, so what is too much for one intake waits."""
        size = 0
        for stored in new:
            if size >= self._cfg.max_total_mb * MEGABYTE:
                waits = f"intake.max_total_mb={self._cfg.max_total_mb:g} was read; the next intake takes it"
                yield Read(stored, waits=waits)
                continue
            read_now = self._done.get(stored) or read(stored, self.inbox, held, self._cfg)
            self._done[stored] = read_now
            size += read_now.parsed.size
            yield read_now


def read(stored: Stored, inbox: Inbox, held: HeldData, cfg: IntakeConfig) -> Read:
    """Read and parse one object. Raises InboxError when S3 does not give it."""
    read_now = Read(stored)
    try:
        read_now.kind = kind_of(stored.name)
        check_size(stored.size, cfg)
        read_now.file = held.file_for(read_now.kind)
        if read_now.file is None:
            read_now.waits = f"data.{read_now.kind} is null in params.yaml; name the file that they are added to"
            return read_now
        check_appendable(read_now.file)
        content, read_now.version = inbox.read(stored)
        read_now.sha256 = hashlib.sha256(content).hexdigest()
        read_now.parsed = parse(stored.name, content, cfg)
    except Refused as reason:
        read_now.refused, read_now.by = str(reason), reason.by
    except DataError as reason:
        read_now.waits = str(reason)
    except Changed:
        read_now.waits = "it changed while it was read; the next intake takes it"
    return read_now


def check(reads: list[Read], held: HeldData, bucket: str) -> tuple[list[Outcome], dict[str, list[Row]]]:
    """What becomes of each object, and the good rows by the data file that they are added to, in order."""
    usable = [one for one in reads if one.kind and not one.waits and not one.refused]
    inbound = [Inbound(_origin(one), one.kind, one.parsed) for one in usable]
    admitted = dict(zip([one.stored.key for one in usable], admit(inbound, held, held.near_repeats), strict=True))
    outcomes, rows = [], {}
    for one in reads:
        became = admitted.get(one.stored.key, Admitted())
        outcomes.append(Outcome(one.stored.name, _entry(one, became, bucket, held), became.problems, one.waits))
        if became.rows:
            rows.setdefault(one.file, []).extend(became.rows)
    return outcomes, rows


def _origin(one: Read) -> str:
    return f"{printable(one.stored.key)}@{one.version or one.stored.etag}"


def _entry(one: Read, became: Admitted, bucket: str, held: HeldData) -> Entry:
    refused_by = {one.by, *(problem.by for problem in became.problems)} - {None}
    return Entry(
        bucket=bucket,
        key=one.stored.key,
        etag=one.stored.etag,
        version=one.version,
        modified=one.stored.modified,
        bytes=one.stored.size,
        sha256=one.sha256,
        kind=one.kind,
        file=one.file,
        rows=len(became.rows) + became.duplicates + len(became.problems),
        good=len(became.rows),
        held_out=became.held_out,
        with_marks=became.with_marks,
        duplicates=became.duplicates,
        quarantined=len(became.problems),
        refused=one.refused,
        by={key: held.value(key) for key in sorted(refused_by)},
    )
