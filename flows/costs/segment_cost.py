"""What the segments of a run cost that other machines ran, entered in the ledger of whoever started them.

Each is a run of align in MLflow, found by its tag; the ledgers of machines know nothing of each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from flows.costs.ledger import Entry, totals

SEGMENT = "plumb.segment"  # tag: the flow run that a segment is


def of(client, flow_run: str, name: str, run: str) -> Entry:
    """The entry, named `name` and of the run `run`, for the segment that this flow run was.

    It cost nothing where MLflow does not know it, and began at no time: MLflow says of each stage when it ran.
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.`{SEGMENT}` = '{flow_run}'", max_results=1)
    return entry(runs[0].data.metrics if runs else {}, name, run)


def so_far(entries: Iterable[Entry]) -> dict[str, float]:
    """The costs of all entries together, as the parameter of a flow run."""
    return {name: value for name, value in totals(entries).items() if value}


def entry(costs: dict[str, float], name: str, run: str = "") -> Entry:
    """One entry with these costs, which are named as in MLflow."""
    cost = defaultdict(float, {key.removeprefix("cost/"): value for key, value in costs.items()})
    counts = {key: int(cost[key]) for key in ("calls", "input_tokens", "output_tokens")}
    return Entry(
        name, "", 0.0, cost["seconds"], gpu_seconds=cost["gpu_seconds"], money=cost["money"], **counts,
        asked=int(cost["calls_paid_now"]), spent=cost["money_paid_now"], run=run,
    )  # fmt: skip
