"""New rows, checked against what the data holds and against each other: good, known already, or quarantined.

Nothing here depends on the order in which objects arrived or on how often intake was begun: the same objects in the
same order give the same rows.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks.common.errors import DataError
from tasks.common.rows import Row, appears_whole
from tasks.config.data import NearRepeatsConfig
from tasks.data.near_repeats import NearRepeats, Repeat
from tasks.data.values import BadRow
from tasks.intake.held_data import EVALUATION, Candidate, HeldData
from tasks.intake.inbound import Parsed, Problem
from tasks.prepare import HELD_OUT


@dataclass(frozen=True)
class Inbound:
    """The parsed lines of one object; `origin` names the object in its rows."""

    origin: str
    kind: str
    parsed: Parsed


@dataclass
class Admitted:
    """What became of the rows of one object.

    Of the good ones, `held_out` fall into a split that trains no policy, and `with_marks` hold control tokens as text.
    """

    rows: list[Row] = field(default_factory=list)
    duplicates: int = 0
    held_out: int = 0
    with_marks: int = 0
    problems: list[Problem] = field(default_factory=list)


@dataclass
class _Line:
    """A candidate on its way."""

    place: int  # of its object
    number: int
    kind: str
    candidate: Candidate
    trouble: str | None = None


def admit(inbound: Sequence[Inbound], held: HeldData, near: NearRepeatsConfig) -> list[Admitted]:
    """What becomes of each object's rows; the good ones count as held from then on.

    In this order: is a row sound by itself, is it here already, does its prompt nearly repeat an evaluation prompt,
    does an earlier new row say the same, would its root be held out and train as well.
    """
    admitted = [Admitted(problems=list(one.parsed.problems)) for one in inbound]
    lines = [line for place in range(len(inbound)) for line in _sound(place, inbound[place], held, admitted[place])]
    _keep_apart(lines, held, near)
    for line in lines:
        outcome = admitted[line.place]
        try:
            if line.trouble is not None:
                raise BadRow(line.trouble, by="data.near_repeats")
            if held.knows(line.kind, line.candidate):
                outcome.duplicates += 1
                continue
            held.add(line.kind, line.candidate)
        except BadRow as reason:
            outcome.problems.append(Problem(line.number, str(reason), reason.by))
            continue
        outcome.rows.append(line.candidate.row)
        outcome.with_marks += held.holds_mark(line.candidate.row)
        outcome.held_out += line.kind != "verdicts" and line.candidate.split in (None, *HELD_OUT)
    for outcome in admitted:
        outcome.problems.sort(key=lambda problem: problem.line)
    return admitted


def _sound(place: int, one: Inbound, held: HeldData, outcome: Admitted) -> list[_Line]:
    """The rows that are sound by themselves and not here yet."""
    lines, form = [], held.verdict_form(numbered.row for numbered in one.parsed.rows)
    for numbered in one.parsed.rows:
        try:
            candidate = held.candidate(one.kind, numbered.row, f"{one.origin}#{numbered.line}", form)
            if held.knows(one.kind, candidate):
                outcome.duplicates += 1
            else:
                lines.append(_Line(place, numbered.line, one.kind, candidate))
        except BadRow as reason:
            outcome.problems.append(Problem(numbered.line, str(reason), reason.by))
    return lines


def _keep_apart(lines: Iterable[_Line], held: HeldData, near: NearRepeatsConfig) -> None:
    """Mark the rows by which a prompt of `select` or `gate` would be seen elsewhere, nearly.

    A new row may itself become such a prompt, where prompts are those of the preferences: then what trains already must
    not nearly repeat it. Of two new rows the one of the gate stays, then the one of select.
    """
    lines = [line for line in lines if line.candidate.turns]
    old = NearRepeats(near, {name: turns for name, (_, turns) in held.evaluation.items()})
    for line in lines:
        for repeat in old.find(line.candidate.turns):
            split = held.evaluation[repeat.name][0]
            if split != line.candidate.split:
                line.trouble = f"nearly repeats the {split} prompt {repeat.name!r} ({_how(repeat)})"
                break
    new = {str(i): line for i, line in enumerate(lines) if line.candidate.split in EVALUATION and line.trouble is None}
    index = NearRepeats(near, {name: line.candidate.turns for name, line in new.items()})
    for row_id, turns in held.training if new else ():
        for repeat in index.find(turns):
            split = new[repeat.name].candidate.split
            trouble = f"would be a {split} prompt, and the row {row_id!r} nearly repeats it ({_how(repeat)})"
            new[repeat.name].trouble = trouble
    _keep_new_apart([line for line in lines if line.trouble is None], new, index)


def _keep_new_apart(lines: Iterable[_Line], new: Mapping[str, _Line], index: NearRepeats) -> None:
    """Mark those of the new `lines` that nearly repeat a prompt which is itself `new`."""
    for line in lines:
        for repeat in index.find(line.candidate.turns):
            other, own = new[repeat.name].candidate.split, line.candidate.split
            if new[repeat.name].trouble is None and own not in (other, "gate"):
                line.trouble = f"nearly repeats a new {other} prompt ({_how(repeat)})"
                break


def _how(repeat: Repeat) -> str:
    return f"{repeat.measure} {repeat.share:.2f}"


def check_appendable(name: str) -> None:
    """Raises DataError for a data file that rows cannot be appended to."""
    if not name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"intake adds rows to .jsonl and .jsonl.gz, and {name} is neither; convert it")


def append_rows(path: Path, rows: Sequence[Row]) -> None:
    """Add rows to a data file, whole or not at all; the old bytes stay as they are, and equal rows give equal bytes."""
    check_appendable(path.name)
    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows).encode()
    if not _ends_with_newline(path):
        text = b"\n" + text
    with appears_whole(path) as partial, open(partial, "wb") as target:
        if path.exists():
            with open(path, "rb") as source:
                shutil.copyfileobj(source, target)
        target.write(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)


def _ends_with_newline(path: Path) -> bool:
    """Whether a line can simply follow; true of a file that is empty or not there."""
    if not path.exists():
        return True
    last = b"\n"
    with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
        while block := file.read(1 << 20):
            last = block[-1:]
    return last == b"\n"
