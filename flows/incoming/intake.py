"""Intake: new data from the S3 inbox into the data that DVC tracks. The git push is the commit point.

List the inbox, skip what the ledger knows (but ask again what params refused that are others now, and verdicts that
waited for their prompt once prompts come), read and check the rest row by row, add the good rows to the data files,
`dvc add`, `dvc push`, commit, push. All of it happens in a clone that is thrown away: until the push nothing counts,
and after it everything does. So a run that dies anywhere loses and doubles nothing, and the next one ends in the same
bytes.
"""

import contextlib
import shlex
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import yaml

from flows.environment import state_dir
from flows.failure import Failure, in_one_line
from flows.git import git
from flows.incoming import intake_objects
from flows.incoming.inbox import Inbox, Stored
from flows.incoming.intake_objects import Outcome, Reads
from flows.settings import read_sections
from flows.storage import data, data_line
from flows.storage.data_line import Clone
from tasks.common import file_lock
from tasks.common.errors import kind_of
from tasks.common.rows import Row
from tasks.intake.held_data import HeldData, Rules, marks_of
from tasks.intake.ledger import OBJECTS, ObjectLedger, states_in
from tasks.intake.rows import append_rows

ROUNDS = 5
Step = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True)
class Intake:
    """What came of an intake. `commit` holds the code at hand with the newest data; the project's repository has it.

    outcomes: one for each new object. known: how many objects the ledger had already. branch: where the commit was
    pushed; None when nothing was new, or in a dry run. data: path and DVC hash of the data's pointer in `commit`.
    """

    outcomes: list[Outcome]
    known: int
    commit: str
    branch: str | None
    data: tuple[str, str]


def take_in(
    root: Path, inbox: str | None = None, dry_run: bool = False, step: Step = lambda name: None, code: str = "HEAD"
) -> Intake:
    """Take in what is new in the inbox (that of params.yaml, unless given); in a dry run, only say what would come.

    step: told the name of each step when it is done. code: the commit on top of which the new data goes.
    Raises ValueError with one line for what the user can put right; a Failure's `may_pass` says that trying again can
    help.
    """
    rules = read_rules(root)
    url = inbox or rules.intake.inbox
    if url is None:
        raise Failure("intake.inbox in params.yaml is null; set it to s3://BUCKET/PREFIX, or give --inbox")
    reads = Reads(Inbox(url, rules.intake.attempts), rules.intake)
    beaten = f"other intakes were first {ROUNDS} times; nothing was taken in here: run again"
    return until_first(root, lambda place: _round(root, place, code, rules, reads, dry_run, step), step, beaten)


def until_first(root: Path, attempt: Callable[[Path], T | None], step: Step, beaten: str) -> T:
    """What `attempt` gives, told a place for its clone; begun again where it gives None: another intake was first.

    Raises Failure saying `beaten` after some rounds.
    """
    place = clone_place(state_dir(root))
    with alone(place), _full_disk_in_one_line():
        step("locked")
        try:
            for _ in range(ROUNDS):
                result = attempt(place)
                if result is not None:
                    return result
        finally:
            shutil.rmtree(place, ignore_errors=True)
    raise Failure(beaten, may_pass=True)


def clone_place(state: Path) -> Path:
    """Where this machine works: machines that share PLUMB_STATE share no clone; between them the push decides."""
    return state / "intake" / socket.gethostname()


def read_rules(root: Path) -> Rules:
    """What params.yaml says about data and intake. Raises ConfigError naming the key."""
    sections = read_sections(root, "data", "intake")
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    weights = params.get("sft", {}).get("category_weights", {})
    base = params.get("model", {}).get("path")
    marks = marks_of(root / base) if base else frozenset()
    return Rules(sections["data"], sections["intake"], tuple(weights), marks)


def alone(place: Path) -> contextlib.AbstractContextManager:
    """Work in `clone_place`; waits for another intake of this project on this machine."""
    return file_lock.held(place.with_name(f"{place.name}.lock"))


@contextlib.contextmanager
def _full_disk_in_one_line() -> Iterator[None]:
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        if kind_of(error) != "disk":
            raise
        disk = f"no space left on the disk ({in_one_line(error)}): free some, then run again"
        raise Failure(f"{disk}; nothing was taken in") from error


def _round(
    root: Path, place: Path, code: str, rules: Rules, reads: Reads, dry_run: bool, step: Step
) -> Intake | None:
    """One attempt, from the newest data on; None when another intake was first."""
    clone = data_line.open_clone(root, place, code)
    step("cloned")
    pointer = newest_data(clone, rules)
    step("newest data chosen")
    ledger = ObjectLedger(clone.path / ledger_of(pointer))
    listed = reads.inbox.objects()
    step("listed")
    bucket = reads.inbox.bucket
    new = [one for one in listed if ledger.is_new((bucket, one.key, one.etag), rules.value)]
    outcomes, rows = [], {}
    if new:
        data.pull(clone.path, [clone.path / pointer])
        step("data pulled")
        held = HeldData(clone.path / rules.data.path, rules, ledger.forgotten)
        new = [one for one in new if ledger.is_new((bucket, one.key, one.etag), held.value)]
        outcomes, rows = _checked(new, held, reads, step)
    known, entered = len(listed) - len(new), [one for one in outcomes if one.waits is None]
    before = md5_of(clone.path / pointer)
    if dry_run or not entered:
        commit = clone.code if dry_run else _known_data(root, clone, pointer)
        return Intake(outcomes, known, commit, None, (pointer, before))
    _store(clone, pointer, rows, rules.intake.remote, step)
    after = md5_of(clone.path / pointer)
    ledger.append([(one.entry, one.problems) for one in entered], before, after)
    step("entered in the ledger")
    good, bad = sum(one.entry.good for one in entered), sum(one.entry.quarantined for one in entered)
    message = f"Take in {good} rows from {len(entered)} objects; {bad} rows quarantined"
    pushed = publish(root, clone, pointer, message, step)
    return pushed and Intake(outcomes, known, *pushed, (pointer, after))


# --- the newest data ---


def newest_data(clone: Clone, rules: Rules) -> str:
    """Put the newest pointer and ledger into the clone; returns the pointer's name.

    Raises Failure when the data of the code at hand and that of plumb/data went different ways.
    """
    path = Path(rules.data.path)
    pointer = f"{path.as_posix()}.dvc"
    here = None if path.is_absolute() else data_line.text_of(clone, clone.code, pointer)
    if here is None:
        remedy = f"`dvc add {path}`, commit {pointer}, then run again"
        raise Failure(f"data.path={path} is not tracked by DVC in this project; {remedy}")
    line = data_line.text_of(clone, clone.tip, pointer) if clone.tip else None
    if line is None:
        return pointer
    ledger = f"{ledger_of(pointer)}/{OBJECTS}"
    known_here, known_line = (data_line.text_of(clone, commit, ledger) or "" for commit in (clone.code, clone.tip))
    if known_here.startswith(known_line):
        return pointer  # the code at hand has taken in what plumb/data holds, and may have gone on from there
    if md5_in(here) not in states_in(known_line) | {md5_in(line)}:
        raise Failure(
            f"{pointer} was changed here, and not on top of what plumb/data at {clone.host} holds; take that first "
            f"({how_to_take(pointer)}), then make the change again"
        )
    data_line.put(clone, clone.tip, [pointer, ledger_of(pointer)])
    return pointer


def how_to_take(pointer: str, commit: str | None = None) -> str:
    """The commands by which the working tree gets the data of a commit; without one, of plumb/data at origin."""
    names = shlex.join([pointer, ledger_of(pointer)])
    fetch = "" if commit else "git fetch && "
    return f"{fetch}git checkout {commit or 'origin/plumb/data'} -- {names} && dvc pull {shlex.quote(pointer)}"


def ledger_of(pointer: str) -> str:
    """The ledger lies beside the pointer: data/hearth.intake beside data/hearth.dvc."""
    return f"{pointer.removesuffix('.dvc')}.intake"


def md5_of(pointer: Path) -> str:
    """The hash of the data that a pointer names."""
    return md5_in(pointer.read_text(encoding="utf-8"))


def md5_in(text: str) -> str:
    return yaml.safe_load(text)["outs"][0]["md5"]


# --- the steps ---


def _checked(
    new: list[Stored], held: HeldData, reads: Reads, step: Step
) -> tuple[list[Outcome], dict[str, list[Row]]]:
    """What becomes of the new objects, and the good rows by file."""
    done = []
    for one in reads.all(new, held):
        done.append(one)
        step(f"read {one.stored.name}")
    checked = intake_objects.check(done, held, reads.inbox.bucket)
    step("checked")
    return checked


def _store(clone: Clone, pointer: str, rows: Mapping[str, list[Row]], remote: str, step: Step) -> None:
    """Add the good rows to the data files, and the files to the remote."""
    if not rows:
        return
    folder = (clone.path / pointer).with_suffix("")
    for name, added in sorted(rows.items()):
        append_rows(folder / name, added)
        step(f"wrote {name}")
    data.track(clone.path, clone.path / pointer, remote)
    step("tracked")
    data.push(clone.path, clone.path / pointer, remote)
    step("stored")


def publish(root: Path, clone: Clone, pointer: str, message: str, step: Step) -> tuple[str, str] | None:
    """Commit pointer and ledger as they are in the clone, and push; (commit, branch), None when another was first."""
    names = [pointer, ledger_of(pointer)]
    line, run = (data_line.commit(clone, names, message, parent) for parent in (clone.tip, clone.code))
    step("committed")
    branch = f"run/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{run[:8]}"
    if not data_line.publish(clone, line, run, branch):
        step("another was first")
        return None
    step("published")
    data_line.bring_home(root, clone, line, run)
    step("brought home")
    return run, branch


def _known_data(root: Path, clone: Clone, pointer: str) -> str:
    """The commit of the code at hand with the newest data, when no object is new: the same one each time."""
    names = [pointer, ledger_of(pointer)]
    if not git(clone.path, "status", "--porcelain", "--", *names):
        return clone.code
    date = git(clone.path, "show", "--no-patch", "--format=%cI", clone.tip)
    run = data_line.commit(clone, names, f"Data of plumb/data at {clone.tip[:12]}", clone.code, date)
    data_line.bring_home(root, clone, clone.tip, run)
    return run
