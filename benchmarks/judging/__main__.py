"""`python -m benchmarks.judging`: our asker beside TRL 1.0.0's judge on a faulty server; `--write` keeps numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.child import ROOT, Peer
from benchmarks.judging.endpoint import serving
from benchmarks.judging.race import Workload, run_race
from benchmarks.judging.report import TRL, document, show
from benchmarks.report import terminal, write
from tasks.runner.params import read_params

RESULTS = ROOT / "benchmarks" / "results" / "judge.json"
QUICK = (400, 30, 400)


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judging", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--questions", type=int, default=20_000, help="of our asker: pairs, in both orders")
    parser.add_argument("--peer-questions", type=int, default=400, help="of TRL's judge")
    parser.add_argument("--killed-questions", type=int, default=2_000, help="of the run that is killed half-way")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--trl", type=Path, default=ROOT / ".bench" / "trl-1.0.0", help="folder with TRL 1.0.0")
    parser.add_argument("--quick", action="store_true", help="few questions: try whether it runs")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/judge.json")
    return parser.parse_args(arguments)


def workload(chosen: argparse.Namespace) -> Workload:
    """The questions that were asked for; attempts and waits are those of params.yaml."""
    sizes = QUICK if chosen.quick else (chosen.questions, chosen.peer_questions, chosen.killed_questions)
    by = read_params(ROOT / "params.yaml")["compare"]["asking"]
    asking = {"concurrency": chosen.concurrency, "attempts": by["attempts"], "first_wait": by["first_wait_seconds"],
              "longest_wait": by["longest_wait_seconds"]}  # fmt: skip
    return Workload(*sizes, asking)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 whether promises are kept or not; 1 when a side fails."""
    chosen = options(arguments)
    console = terminal()
    peer = Peer(chosen.trl.resolve(), TRL, "OpenAIPairwiseJudge", "judges", "bench-judge")
    try:
        with serving() as endpoint:
            race = run_race(workload(chosen), chosen.repeats, endpoint, peer)
    except (RuntimeError, ValueError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    show(race, chosen.repeats, console)
    if chosen.write:
        write(RESULTS, document(race, chosen.repeats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
