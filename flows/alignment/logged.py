"""Which stages have a complete run in MLflow, at which version."""

import contextlib
import os
import sqlite3

from flows.graph.stages import Graph
from flows.history import experiments

STAGE, VERSION, COMPLETE, KIND = "plumb.stage", "plumb.version", "plumb.complete", "plumb.kind"


def all_logged(graph: Graph) -> bool:
    """Whether every stage, as dvc.lock says it was made, has a complete run."""
    wanted = {name: graph.made_version(name) for name in graph.stages}
    if any(version is None for version in wanted.values()):
        return False
    uri = os.environ["MLFLOW_TRACKING_URI"]
    complete = _complete_in_sqlite(uri)
    if complete is not None:
        return complete.issuperset(wanted.items())
    from mlflow import MlflowClient

    client = MlflowClient()
    return all(find_run(client, name, version, complete=True) for name, version in wanted.items())


def _complete_in_sqlite(uri: str) -> set[tuple[str, str]] | None:
    """(stage, version) of the complete runs, read without MLflow, whose import alone takes 2 s.

    None when the store is not a sqlite file or looks otherwise than expected: then MLflow itself is asked.
    """
    file = experiments.store_file(uri)
    if file is None:
        return None
    if not file.exists():
        return set()
    query = (
        "SELECT s.value, v.value FROM runs r JOIN tags s ON s.run_uuid = r.run_uuid AND s.key = ?"
        " JOIN tags v ON v.run_uuid = r.run_uuid AND v.key = ?"
        " JOIN tags c ON c.run_uuid = r.run_uuid AND c.key = ? AND c.value = 'true'"
        " LEFT JOIN experiment_tags m ON m.experiment_id = r.experiment_id AND m.key = ?"
        " WHERE r.lifecycle_stage = 'active' AND m.value IS NULL"
    )
    try:
        with contextlib.closing(experiments.read_only(file)) as connection:
            return set(connection.execute(query, (STAGE, VERSION, COMPLETE, experiments.MOVED_TO)).fetchall())
    except sqlite3.Error:
        return None


def find_run(client, stage: str, version: str, complete: bool) -> str | None:
    """The id of the latest run of a stage at a version; `complete` or one that was left unfinished."""
    where = f"tags.`{STAGE}` = '{stage}' AND tags.`{VERSION}` = '{version}'"
    where += f" AND tags.`{COMPLETE}` = '{'true' if complete else 'false'}'"
    runs = client.search_runs(experiments.in_place(client), filter_string=where, max_results=1)
    return runs[0].info.run_id if runs else None
