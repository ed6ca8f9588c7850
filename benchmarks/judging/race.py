"""The race: our asker and TRL 1.0.0's judge on one server, in turn; and our asker killed half-way and begun anew."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import child
from benchmarks.child import Peer
from benchmarks.judging.endpoint import Endpoint, Log
from benchmarks.judging.ideal import faultless_seconds, ideal_seconds, labels, outcomes
from benchmarks.judging.questions import ordered_pairs
from benchmarks.judging.server import Faults
from benchmarks.measure import Comparison, Cost, race, times_faster_at_least

FAULTS = Faults(latency=0.2, jitter=0.05, too_many=0.02, retry_after=1.0, dropped=0.01, malformed=0.005)
SHARE_OF_IDEAL, TIMES_FASTER = 0.9, 8.0
PER_VERDICTS = 1000
SIDES = "benchmarks.judging.sides:"
KILL_SEED = 1000


@dataclass(frozen=True)
class Workload:
    """`questions` for our asker and `peer_questions` for TRL's judge, which would take minutes over as many.

    `asking`: the settings of params.yaml but for the concurrency.
    """

    questions: int
    peer_questions: int
    killed_questions: int
    asking: dict[str, Any]
    faults: Faults = FAULTS

    @property
    def concurrency(self) -> int:
        return self.asking["concurrency"]


@dataclass(frozen=True)
class Run:
    """One side's run: its own account, and the server's."""

    questions: int
    seconds: float
    cpu_seconds: float
    verdicts: Sequence[float | None]
    log: Log
    stored: tuple[int, int, int] = (0, 0, 0)  # answers in the store, valid ones, calls that they took
    failure: str = ""  # what TRL's judge gave up with on the faulty server, before it was given one without faults

    @property
    def right(self) -> int:
        """Verdicts that are what a sound judge says."""
        wanted = [float(pair.first_is_better) for pair in ordered_pairs(self.questions)]
        return sum(verdict == want for verdict, want in zip(self.verdicts, wanted, strict=True))

    @property
    def labelled_exactly_once(self) -> bool:
        """By the server's count and by the store's, and every call that was made is paid for in the store."""
        counted = labels(self.log.calls, self.questions).exact
        return counted and self.stored == (self.questions, self.questions, len(self.log.calls))

    @property
    def per_second(self) -> float:
        return self.questions / self.seconds

    def cost(self) -> Cost:
        """Per `PER_VERDICTS` verdicts."""
        return Cost(self.seconds, self.cpu_seconds).scaled(PER_VERDICTS / self.questions)

    def share_of_ideal(self, concurrency: int) -> float:
        return ideal_seconds(self.log.calls, concurrency) / self.seconds

    def share_of_faultless(self, concurrency: int) -> float:
        return faultless_seconds(self.log.calls, concurrency) / self.seconds

    def document(self, concurrency: int) -> dict[str, Any]:
        return {
            "questions": self.questions, "seconds": round(self.seconds, 3),
            "verdicts_per_second": round(self.per_second, 2), "right": self.right,
            "without_verdict": sum(verdict is None for verdict in self.verdicts),
            "calls": outcomes(self.log.calls), "answers": asdict(labels(self.log.calls, self.questions)),
            "most_in_flight": self.log.most_in_flight,
            "share_of_ideal": round(self.share_of_ideal(concurrency), 4),
            "share_of_faultless_ideal": round(self.share_of_faultless(concurrency), 4),
            "cpu_milliseconds_per_verdict": round(1000 * self.cpu_seconds / self.questions, 3),
            **({"gave_up_with": self.failure} if self.failure else {}),
        }  # fmt: skip


@dataclass(frozen=True)
class Kill:
    """What a SIGKILL half-way cost: `repeated` answers were paid for twice. `concurrency` calls can be in flight."""

    questions: int
    concurrency: int
    answered_before: int
    in_flight_before: int
    repeated: int
    missing: int

    @property
    def kept(self) -> bool:
        return self.missing == 0 and self.repeated <= self.concurrency


@dataclass(frozen=True)
class Race:
    """All runs of both sides; `comparison` is of seconds per thousand verdicts."""

    work: Workload
    ours: Sequence[Run]
    theirs: Sequence[Run]
    comparison: Comparison
    kill: Kill

    @property
    def labelled_exactly_once(self) -> bool:
        return all(run.labelled_exactly_once and run.right == run.questions for run in self.ours)

    @property
    def share_of_ideal(self) -> float:
        """Of the median run."""
        return median(run.share_of_ideal(self.work.concurrency) for run in self.ours)

    @property
    def near_ideal(self) -> bool:
        return self.share_of_ideal >= SHARE_OF_IDEAL

    def document(self) -> dict[str, Any]:
        threads = peer_threads()
        return {
            "workload": {**asdict(self.work), "peer_threads": threads},
            "labelled_exactly_once": self.labelled_exactly_once,
            "share_of_ideal": {"median": round(self.share_of_ideal, 4), "promise": f"at least {SHARE_OF_IDEAL:g}",
                               "kept": self.near_ideal},
            "race": self.comparison.document(),
            "ours": [run.document(self.work.concurrency) for run in self.ours],
            "theirs": [run.document(threads) for run in self.theirs],
            "kill": {**asdict(self.kill), "kept": self.kill.kept},
        }  # fmt: skip


def peer_threads() -> int:
    """How many calls TRL's judge has under way: the default of the ThreadPoolExecutor that it makes."""
    return min(32, (os.cpu_count() or 1) + 4)


def run_race(work: Workload, repeats: int, endpoint: Endpoint, peer: Peer) -> Race:
    """Both sides in turn, each repeat with faults of its own, then the kill."""
    def run(side: str, repeat: int) -> Run:
        questions = work.questions if side == "ours" else work.peer_questions
        return _run(side, work, questions, replace(work.faults, seed=repeat), endpoint, peer)

    runs, costs = race(run, Run.cost, repeats)
    note = (f"seconds per {PER_VERDICTS} verdicts; {work.questions} questions, {work.concurrency} at a time /"
            f" {work.peer_questions} questions, {peer_threads()} threads")
    name = "asking a judge / TRL's OpenAIPairwiseJudge"
    comparison = Comparison(name, *costs, times_faster_at_least(TIMES_FASTER), note)
    return Race(work, **runs, comparison=comparison, kill=_kill(work, endpoint))


def _run(side: str, work: Workload, questions: int, faults: Faults, endpoint: Endpoint, peer: Peer | None) -> Run:
    """One side's run on a server begun anew. TRL's judge may give up on faults; it then gets a server without any."""
    environment = _environment(endpoint) | (peer.environment() if side == "theirs" else {})
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.sqlite"
        settings = {"questions": questions, "asking": work.asking, "store": str(store)}
        endpoint.reset(faults)
        result = child.run(SIDES + side, settings, environment)
        failure = result.pop("failure", "")
        if failure:
            endpoint.reset(Faults(faults.latency, faults.jitter, seed=faults.seed))
            result = child.run(SIDES + side, settings, environment)
        stored = count_stored(store) if side == "ours" else (0, 0, 0)
        return Run(questions, log=endpoint.log(), stored=stored, failure=failure, **result)


def count_stored(store: Path) -> tuple[int, int, int]:
    """(answers, valid answers, calls) of a store."""
    with sqlite3.connect(store) as connection:
        return connection.execute("SELECT count(*), sum(valid), sum(calls) FROM answers").fetchone()


def _environment(endpoint: Endpoint) -> dict[str, str]:
    """Where both sides find the server."""
    return {"PLUMB_JUDGE_URL": endpoint.url(), "OPENAI_BASE_URL": endpoint.url(), "PLUMB_JUDGE_KEY": "none",
            "OPENAI_API_KEY": "none"}  # fmt: skip


def _kill(work: Workload, endpoint: Endpoint) -> Kill:
    """Our asker with SIGKILL when half of its questions are answered, and the same command once more."""
    questions, environment = work.killed_questions, {**os.environ, **_environment(endpoint)}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"questions": questions, "asking": work.asking, "store": str(Path(folder) / "store.sqlite")}
        endpoint.reset(replace(work.faults, seed=KILL_SEED))
        command = child.command(SIDES + "ours", settings, Path(folder) / "child.json")
        process = subprocess.Popen(command, cwd=child.ROOT, env=environment)
        while endpoint.count().answered < questions / 2 and process.poll() is None:
            time.sleep(0.01)
        before = endpoint.count()
        process.kill()
        process.wait()
        while endpoint.count().in_flight:
            time.sleep(0.01)
        subprocess.run(command, cwd=child.ROOT, env=environment, check=True)
        answers = labels(endpoint.log().calls, questions)
    return Kill(questions, work.concurrency, before.answered, before.in_flight, answers.repeated, answers.missing)
