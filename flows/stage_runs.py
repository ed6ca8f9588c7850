"""The flow that runs a list of stages on the machine of a work pool, and the calls of it that make up a whole graph.

A segment (flows/graph/pools.py) is one run of a deployment of `stages`. What its stages read is restored from the DVC
remote where this machine's cache lacks it; what they made is pushed there. MLflow is told by whoever ran a stage.
Import this module after `flows.environment.prepare`: Prefect reads its settings when it is imported.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.context import get_run_context
from prefect.states import Cancelled, Completed

from flows import cancelling, environment
from flows.alignment.progress import board_of
from flows.alignment.session import Share
from flows.costs import budget, segment_cost
from flows.costs.ledger import Ledger
from flows.graph import pools
from flows.graph.running import StageError
from flows.graph.stages import Graph
from flows.redact import redacted_errors
from flows.schedule import retraining
from flows.schedule.decisions import NOBODY
from flows.schedule.retraining import Errand
from flows.storage import gc_lock, shared_runs


@flow(name="stages", persist_result=False)
def stages(
    names: list[str],
    commit: str | None = None,
    changes: dict[str, Any] = {},  # noqa: B006  Prefect shows it in the form, and nothing here changes it
    champion: str = NOBODY,
    anchors: bool = False,
    spent: dict[str, float] = {},  # noqa: B006  nothing here changes it
):
    """Run these stages at a commit, and push what they made to the DVC remote intake.remote.

    Args:
        names: Stages of dvc.yaml; what they follow from must be in the cache or the remote.
        commit: Commit or branch to run; empty: the one checked out.
        changes: Params of this run only, by dotted names, e.g. {"dpo.beta": 0.2}.
        champion: Packaged md5 of the model that the gate compares with, or none.
        anchors: Ask the judges their anchors first.
        spent: What the run that this is a part of has cost so far, by the names in MLflow; it counts for flow.budget.
    """
    root = environment.project_root()
    environment.prepare(root)
    with redacted_errors(), gc_lock.run_under_way(environment.state_dir(root)):
        errand = Errand(retraining.resolve_commit(root, commit), changes, champion, anchors)
        this, earlier = str(get_run_context().flow_run.id), segment_cost.entry(spent, "earlier segments")
        share = Share(tuple(names), frozenset(names), this, earlier)
        try:
            with cancelling.heeded():
                pushed = _run_and_push(root, errand, share)
        except cancelling.RunCancelled as error:
            return Cancelled(message=str(error))
    get_run_logger().info(pushed)
    return Completed(message=f"{len(names)} stages current; {pushed}")


def _run_and_push(root: Path, errand: Errand, share: Share) -> str:
    """Run a share of the stages in the clone of the errand; returns what was pushed, in one line."""
    place = retraining.open_clone(root, errand)
    unknown = [name for name in share.targets if name not in Graph(place).stages]
    if unknown:
        raise ValueError(f"dvc.yaml has no stage {unknown[0]!r}; it has {', '.join(Graph(place).stages)}")
    remote = shared_runs.remote_of(root)
    retraining.meet_remote(place, remote)
    retraining.bring_up_to_date(place, errand.anchors, board_of, share)
    return retraining.push(place, remote)


def run_segments(root: Path, place: Path, errand: Errand, deployments: Mapping[str, str]) -> None:
    """Run the whole graph, each segment where its pool is; the artifacts are then in the DVC remote.

    deployments: flow.pools of params.yaml. What each cost is entered here, and told to the next, so that flow.budget
    holds for all together. Raises StageError for a segment that failed.
    """
    from mlflow import MlflowClient

    retraining.share_commit(root, errand.commit)
    book, this = Ledger(environment.state_dir(root)), budget.current_run(place).id
    for number, (name, segment) in enumerate(pools.deployments(pools.segments(Graph(place).stages), deployments)):
        get_run_logger().info("%s: %s", name, ", ".join(segment.stages))
        parameters = asdict(replace(errand, anchors=errand.anchors and number == 0)) | {"names": list(segment.stages)}
        parameters["spent"] = segment_cost.so_far(book.of_run(this))
        run = cancelling.run_elsewhere(name, parameters)
        book.append(segment_cost.of(MlflowClient(), str(run.id), name, this))
        if run.state is None or not run.state.is_completed():
            ended = (run.state.message or run.state.name) if run.state else "it was not started"
            raise StageError(segment.stages[0], "internal", f"{name} failed (run {run.name}): {ended}", place)
