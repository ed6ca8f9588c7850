"""What the race showed, as tables and as a document."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.judging.race import SHARE_OF_IDEAL, Race, Run, peer_threads
from benchmarks.report import machine, spread, table, verdict, versions

PACKAGES = ("openai", "aiohttp", "httpx2", "tenacity", "rich")
TRL = "1.0.0"


def document(race: Race, repeats: int) -> dict[str, Any]:
    return {"machine": machine(), "versions": versions(PACKAGES) | {"trl": TRL}, "repeats": repeats, **race.document()}


def show(race: Race, repeats: int, console: Console) -> None:
    """Both sides with their spread, then each promise in a line."""
    faults = race.work.faults
    console.print(_sides(race, repeats))
    console.print(
        f"The server takes {1000 * faults.latency:.0f} ± {1000 * faults.jitter:.0f} ms, refuses {faults.too_many:.1%}"
        f" (429, Retry-After: {faults.retry_after:g}), drops {faults.dropped:.1%} and talks nonsense in"
        f" {faults.malformed:.1%} of its calls; it is a process of its own on the same cores.", highlight=False,
    )  # fmt: skip
    failed = [run.failure for run in race.theirs if run.failure]
    if failed:
        console.print(f"TRL's judge gave up on this server in {len(failed)} of {repeats} repeats ({failed[0]}) and was"
                      " then timed on one without faults.", markup=False, highlight=False)  # fmt: skip
    for text, kept in promises(race):
        console.print(f"{verdict(kept)} {text}", highlight=False)


def promises(race: Race) -> list[tuple[str, bool]]:
    """(what was promised and what came of it, whether it was kept)."""
    kill, comparison, slots, threads = race.kill, race.comparison, race.work.concurrency, peer_threads()
    right, questions = sum(run.right for run in race.ours), sum(run.questions for run in race.ours)
    return [
        (f"every question labelled exactly once, by the server's count and the store's; {right} of {questions} right",
         race.labelled_exactly_once),
        (f"at least {SHARE_OF_IDEAL:g} of the ideal at {slots} calls at a time: {race.share_of_ideal:.3f}",
         race.near_ideal),
        (f"{comparison.promise.text} than TRL {TRL}'s judge: {spread(comparison.pairs(), 2)}x, of which"
         f" {slots / threads:.1f}x is the number of calls at a time: {slots}, and the {threads} threads that it starts",
         comparison.kept),
        (f"kill -9 when {kill.answered_before} of {kill.questions} were answered: {kill.repeated} calls repeated, at"
         f" most {kill.concurrency}", kill.kept),
    ]  # fmt: skip


def _sides(race: Race, repeats: int) -> Table:
    sides = table(repeats, "side", "questions", "verdicts/s", "share of its ideal", "… of a server without faults",
                  "CPU, ms a verdict", "right", "without verdict", "calls")  # fmt: skip
    sides.add_row("ours", *_row(race.ours, race.work.concurrency))
    sides.add_row(f"TRL {TRL}", *_row(race.theirs, peer_threads()))
    return sides


def _row(runs: list[Run], concurrency: int) -> list[str]:
    questions = sum(run.questions for run in runs)
    return [
        str(runs[0].questions),
        spread([run.per_second for run in runs], 1),
        spread([run.share_of_ideal(concurrency) for run in runs], 3),
        spread([run.share_of_faultless(concurrency) for run in runs], 3),
        spread([1000 * run.cpu_seconds / run.questions for run in runs], 2),
        f"{sum(run.right for run in runs)} of {questions}",
        str(sum(verdict is None for run in runs for verdict in run.verdicts)),
        str(sum(len(run.log.calls) for run in runs)),
    ]
