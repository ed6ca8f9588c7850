"""What would run and why, and what it cost last time: `plumb plan` and `plumb status`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows import command
from flows.costs.budget import as_money
from flows.costs.ledger import Entry, Ledger
from flows.graph.clock import in_words, time_left
from flows.graph.stages import Graph
from flows.redact import redact
from flows.storage import data, shared_runs

# The words of `plumb status` for what `plumb align` would do, and their colours.
STATES = {"current": ("current", "green"), "restore": ("in the cache", "cyan"), "run": ("would run", "yellow")}


@dataclass(frozen=True)
class Planned:
    """One stage of the plan. `action` is current, restore or run; `cost` is that of its last run, if there was one.

    `judged`: a forecast (tasks/judging/costs.py) of what judges across a network take that its last run did not ask.
    """

    name: str
    action: str
    reasons: tuple[str, ...]
    seconds: float
    cost: Entry | None
    judged: Any = None


def meet_others(graph: Graph, warn: Callable[[str], None]) -> str | None:
    """The DVC remote that stages may be restored from, where some are not here; `warn` hears of one that is silent."""
    if all(status.action != "run" for status in graph.plan().values()):
        return None
    try:
        return shared_runs.meet(graph.root)
    except data.PullError as error:
        warn(redact(str(error)))
        return None


def make_plan(graph: Graph, ledger: Ledger, remote: str | None = None) -> list[Planned]:
    """The stages in the order in which they would run; `remote` may hold some of them."""
    last = ledger.last()
    planned = []
    for name, status in graph.plan(remote).items():
        cost = last.get(name)
        seconds = cost.seconds if cost else graph.stages[name].seconds
        planned.append(Planned(name, status.action, status.reasons, seconds, cost))
    return planned


def total_seconds(graph: Graph, planned: list[Planned], cores: int) -> float:
    """How long the stages that would run take, side by side on `cores`."""
    left = {row.name: row.seconds for row in planned if row.action == "run"}
    return time_left({name: stage.upstream for name, stage in graph.stages.items()}, left, cores)


def show_plan(graph: Graph, planned: list[Planned], cores: int, console, remote: str | None = None) -> None:
    """Print one line per stage and what the whole would cost, going by the last runs."""
    rows = []
    for row in planned:
        style = "dim" if row.action == "current" else ""
        rows.append([(cell, style) for cell in (row.name, row.action, _why(row.reasons), *_costs(row))])
    console.print(command.table(("stage", "would", "why", "time", "calls", "money", "disk"), rows))
    running = [row for row in planned if row.action == "run"]
    restored = sum(row.action == "restore" for row in planned)
    place = f"the cache or the DVC remote {remote!r}" if remote else "the cache"
    from_cache = f"{restored} stages would be restored from {place}." if restored else ""
    if not running:
        console.print(f"Nothing would be computed; {from_cache}" if restored else "Nothing would be computed.")
        return
    calls = sum(row.cost.calls for row in running if row.cost)
    money = sum(row.cost.money for row in running if row.cost)
    disk = sum(row.cost.disk_bytes for row in running if row.cost)
    new = sum(row.cost is None for row in running)
    line = f"{len(running)} stages would run, about {in_words(total_seconds(graph, planned, cores))} on {cores} cores; "
    line += f"last time they made {calls} judge calls for {as_money(money)} and {_size(disk)}."
    console.print(line + (f" {new} never ran here: their time is the guess in dvc.yaml." if new else ""))
    if from_cache:
        console.print(from_cache)


def show_status(graph: Graph, console) -> None:
    """Print for every stage whether it is current, at which version, or why not."""
    rows = [
        (name, STATES[status.action], (graph.made_version(name) or "")[:12], _why(status.reasons))
        for name, status in graph.plan().items()
    ]
    console.print(command.table(("stage", "state", "version", "why"), rows))


def _why(reasons: tuple[str, ...], shown: int = 3) -> str:
    more = f" and {len(reasons) - shown} more" if len(reasons) > shown else ""
    return "; ".join(reasons[:shown]) + more


def _costs(row: Planned) -> tuple[str, str, str, str]:
    if row.action != "run":
        return ("", "", "", "")
    last = row.cost
    calls, money = (str(last.calls), as_money(last.money)) if last else ("?", "?")
    if row.judged:
        calls, money = f"≤ {row.judged.calls:,}", f"≤ {as_money(row.judged.cost)}"
    time, disk = (in_words(row.seconds), _size(last.disk_bytes)) if last else (f"~{in_words(row.seconds)}", "?")
    return (time, calls, money, disk)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
