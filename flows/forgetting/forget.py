"""Forget a row: out of the data, a tombstone into the ledger of intake, one push. The git push is the commit point.

As intake does, it works on the newest data in a clone that is thrown away, so a run that dies anywhere has changed
nothing or everything, and running it again ends the same. What older versions, caches and runs still hold of the row
goes at the next `plumb gc`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from flows.failure import Failure
from flows.history.registry import now
from flows.history.row_lineage import Traced
from flows.incoming import intake
from flows.storage import data, data_line
from tasks.intake.forgetting import readers_of, take_out
from tasks.intake.held_data import Rules
from tasks.intake.ledger import OBJECTS, ObjectLedger, Tombstone, states_in

Step = intake.Step


@dataclass(frozen=True)
class Buried:
    """What became of it. `files`: the data files that held the row; empty when it was forgotten before, or is only in
    older versions. `commit` holds the code at hand with the data without the row; `branch` is where it was pushed.
    home: whether the working tree has that data now; else what to do.
    """

    row: str
    files: list[str] = field(default_factory=list)
    stones: list[Tombstone] = field(default_factory=list)
    commit: str | None = None
    branch: str | None = None
    home: bool = True
    remedy: str = ""

    @property
    def origins(self) -> list[str]:
        """Objects and lines of the inbox that still hold it."""
        return sorted({stone.origin for stone in self.stones if stone.origin})


def forget(root: Path, traced: Traced, step: Step = lambda name: None) -> Buried:
    """Take the row out of the newest data and leave a tombstone, so that intake does not bring it back.

    traced: the row, and what it went into. step: told the name of each step when it is done.
    Raises ValueError with one line for what the user can put right, among it a row that nobody knows.
    """
    rules = intake.read_rules(root)
    beaten = f"intakes were first {intake.ROUNDS} times; {traced.row!r} is not forgotten: run again"
    return intake.until_first(root, lambda place: _round(root, place, rules, traced, step), step, beaten)


def _round(root: Path, place: Path, rules: Rules, traced: Traced, step: Step) -> Buried | None:
    """One attempt, from the newest data on; None when an intake was first."""
    row = traced.row
    clone = data_line.open_clone(root, place)
    pointer = intake.newest_data(clone, rules)
    step("newest data chosen")
    ledger = ObjectLedger(clone.path / intake.ledger_of(pointer))
    data.pull(clone.path, [clone.path / pointer])
    step("data pulled")
    stones = _take_out(clone.path / rules.data.path, rules, row, step)
    before = intake.md5_of(clone.path / pointer)
    if not stones and row in ledger.forgotten.ids:
        known = [stone for stone in ledger.tombstones if stone.row == row]
        return _with_home(root, clone, pointer, Buried(row, stones=known))
    if not stones and not traced.known:
        raise Failure(f"no row {row!r} is in the data, nor in any version or run that MLflow remembers")
    if stones:
        data.track(clone.path, clone.path / pointer, rules.intake.remote)
        step("tracked")
        data.push(clone.path, clone.path / pointer, rules.intake.remote)
        step("stored")
    tainted = tuple(f"models:/{version['name']}/{version['version']}" for version in traced.versions)
    marks = [stone for held in stones.values() for stone in held] or [Tombstone(row, None)]
    buried = [replace(stone, tainted=tainted) for stone in marks]
    ledger.bury(buried, now(), before, intake.md5_of(clone.path / pointer))
    step("buried")
    pushed = intake.publish(root, clone, pointer, f"Forget {len(buried)} rows on request", step)
    if pushed is None:
        return None
    return _with_home(root, clone, pointer, Buried(row, sorted(stones), buried, *pushed))


def _take_out(folder: Path, rules: Rules, row: str, step: Step) -> dict[str, list[Tombstone]]:
    """The tombstones by file."""
    taken = {}
    for name, readers in readers_of(rules.data, rules.intake).items():
        stones = take_out(folder / name, readers, row, rules.data) if (folder / name).is_file() else []
        if stones:
            taken[name] = stones
            step(f"took it out of {name}")
    return taken


def _with_home(root: Path, clone: data_line.Clone, pointer: str, buried: Buried) -> Buried:
    """Give the working tree the data without the row, where what it holds is known and was not changed by hand."""
    names = [pointer, intake.ledger_of(pointer)]
    if not _went_this_way(root, clone, *names) or data.missing(root, [root / pointer]):
        newest = intake.how_to_take(pointer, buried.commit)
        remedy = f"the data of the working tree was changed by hand or is not here: {pointer} was left as it is"
        remedy += f"; take the newest ({newest})"
        return replace(buried, home=False, remedy=remedy)
    for name in names:
        source, target = clone.path / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, target)
    data.pull(root, [root / pointer])
    return buried


def _went_this_way(root: Path, clone: data_line.Clone, pointer: str, ledger: str) -> bool:
    """Whether pointer and ledger of the working tree are an earlier state of those in the clone."""
    ours, theirs = (_text(place / ledger / OBJECTS) for place in (root, clone.path))
    known = states_in(theirs) | {intake.md5_of(clone.path / pointer)}
    return theirs.startswith(ours) and intake.md5_of(root / pointer) in known


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


# --- as text ---


def show(buried: Buried, traced: Traced, console) -> None:
    """Print what was done, and what the row went into."""
    say = partial(console.print, soft_wrap=True)
    if buried.files:
        say(f"Forgotten: {buried.row}, from {', '.join(buried.files)}; pushed to {buried.branch} and plumb/data")
    elif buried.branch:
        say(f"Forgotten: {buried.row}, which only older versions of the data hold; pushed to {buried.branch}")
    else:
        say(f"{buried.row} was forgotten before")
    if buried.remedy:
        say(buried.remedy, style="yellow")
    for origin in buried.origins:
        say(f"The inbox still holds it: {origin}", style="yellow")
    for version in traced.versions:
        marks = "".join(f" @{alias}" for alias in version["aliases"])
        say(f"Tainted: models:/{version['name']}/{version['version']}{marks} ({version['use']} by it)", style="yellow")
    say(f"It went into {len(traced.models)} models of {len(traced.comparisons)} sets of comparisons: "
        f"plumb lineage --row {buried.row}")  # fmt: skip
    say("plumb gc purges it from caches and records; plumb align trains without it.")
