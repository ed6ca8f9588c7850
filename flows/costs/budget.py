"""What one run may cost, and which run that is: a run goes on through its repetitions until it has finished."""

import math
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flows.costs.ledger import Entry
from flows.documents import read_json, write_json
from flows.failure import Failure
from tasks.config.service import RunBudget

# A limit of flow.budget: what it counts of an entry in the ledger, and in which unit.
MEASURES = {
    "seconds": ("seconds", "s"), "gpu_seconds": ("gpu_seconds", "GPU-s"), "calls": ("asked", "calls"),
    "cost": ("spent", "money"),
}  # fmt: skip


class BudgetError(Failure):
    """The run has cost what it may."""


@dataclass(frozen=True)
class Run:
    """`id` is what its entries in the ledger carry; `since` when its first attempt began."""

    id: str
    since: float


def current_run(root: Path) -> Run:
    """The run that was begun in this workspace and has not finished; a new one if there is none."""
    path = run_file(root)
    if begun := read_json(path):
        return Run(**begun)
    run = Run(uuid.uuid4().hex[:12], round(time.time(), 3))
    write_json(path, vars(run))
    return run


def finish_run(root: Path) -> None:
    """What comes next in this workspace is another run."""
    run_file(root).unlink(missing_ok=True)


def run_file(root: Path) -> Path:
    """Where a workspace says which run was begun in it; not there when that has finished."""
    return root / ".dvc" / "tmp" / "plumb.run"


def spent_by_stage(entries: Iterable[Entry], measure: str) -> dict[str, float]:
    """What each stage has cost so far, failed attempts included; the dearest first, the free left out."""
    spent: dict[str, float] = {}
    for entry in entries:
        spent[entry.stage] = spent.get(entry.stage, 0.0) + getattr(entry, MEASURES[measure][0])
    return dict(sorted(((name, cost) for name, cost in spent.items() if cost), key=lambda item: -item[1]))


def as_money(amount: float) -> str:
    """With two decimals, and two digits of what is too little for them: 0.0042 is not 0.00."""
    small = 0 < amount < 0.1
    return f"{amount:.{min(10, 1 - math.floor(math.log10(amount)))}f}" if small else f"{amount:.2f}"


def paid_in_words(entries: Iterable[Entry]) -> str:
    """The calls and the money that judges across a network took, in all and by stage; "" where none was asked."""
    entries = list(entries)
    calls, money = spent_by_stage(entries, "calls"), spent_by_stage(entries, "cost")
    if not calls:
        return ""
    parts = ", ".join(f"{name} {count:,.0f} for {as_money(money.get(name, 0.0))}" for name, count in calls.items())
    total = f"{sum(calls.values()):,.0f} calls for {as_money(sum(money.values()))}"
    return f"Judges across a network: {total} in this run ({parts})."


def exhausted(budget: RunBudget, entries: Iterable[Entry]) -> str | None:
    """Which limit is reached, what was spent and by which stages, as one line; None while there is something left."""
    entries = list(entries)
    for measure, (_, unit) in MEASURES.items():
        limit = getattr(budget, measure)
        stages = spent_by_stage(entries, measure)
        total = sum(stages.values())
        if limit is not None and total >= limit:
            parts = ", ".join(f"{name} {cost:,.6g}" for name, cost in stages.items())
            return (
                f"flow.budget.{measure}={limit:g} is spent: {total:,.6g} {unit} ({parts}); what is done is kept, "
                f"raise it in params.yaml and run plumb align again to go on"
            )
    return None
