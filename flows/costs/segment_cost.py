"""What the segments of a run cost that other machines ran, entered in the ledger of whoever started them.

Each is a run of align in MLflow, found by its tag; the ledgers of machines know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from flows.costs.ledger import Entry, totals

SEGMENT = "plumb.segment"  # tag: the flow run that a segment is


def of(client, flow_run: str, name: str, run: str) -> Entry:
    """The entry, named `name` and of the run `run`, for the segment that this flow run was.

    It cost nothing where MLflow does not know it, and began at no time: when its stages ran, MLflow says stage by stage.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`{SEGMENT}` = '{flow_run}'", max_results=1)
    return entry(found[0].data.metrics if found else {}, name, run)


def so_far(entries: Iterable[Entry]) -> dict[str, float]:
    """The costs of all entries together, as the parameter of a flow run."""
    return {name: value for name, value in totals(entries).items() if value}


def entry(costs: dict[str, float], name: str, run: str = "") -> Entry:
    """One entry with these costs, which are named as in MLflow."""
    numbers = {key.removeprefix("cost/"): value for key, value in costs.items()}
    return Entry(
        name, "", 0.0, numbers.get("seconds", 0.0), gpu_seconds=numbers.get("gpu_seconds", 0.0),
        calls=int(numbers.get("calls", 0)), money=numbers.get("money", 0.0),
        input_tokens=int(numbers.get("input_tokens", 0)), output_tokens=int(numbers.get("output_tokens", 0)),
        asked=int(numbers.get("calls_paid_now", 0)), spent=numbers.get("money_paid_now", 0.0), run=run,
    )  # fmt: skip
