"""Copies of a forgotten row in MLflow: small files that were logged along, and traces of calls to judges."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.forgetting.row_search import RowSearch
from flows.history import experiments
from flows.history.records import SUFFIXES


@dataclass(frozen=True)
class Logged:
    """A file of a run, or a trace of an experiment."""

    run: str = ""
    path: str = ""
    experiment: str = ""
    trace: str = ""


def find_logged(client, search: RowSearch, rows: set[str], since_ms: int) -> list[Logged]:
    """In the runs that went on after `since_ms`, and in all traces; what was deleted in MLflow lies there still."""
    logged: list[Logged] = []
    for run in experiments.all_runs(client, deleted=True):
        if not run.info.end_time or run.info.end_time >= since_ms:
            logged += [Logged(run.info.run_id, path) for path in _holding(client, run.info.run_id, "", search)]
    return logged + list(_traces(client, rows))


def _holding(client, run: str, folder: str, search: RowSearch) -> Iterator[str]:
    for artifact in experiments.artifacts(client, run).list_artifacts(folder or None):
        if artifact.is_dir:
            yield from _holding(client, run, artifact.path, search)
        elif Path(artifact.path).suffix in SUFFIXES:
            with tempfile.TemporaryDirectory() as place:
                content = experiments.fetch(client, run, artifact.path, place).read_bytes()
            if search.holds(content):
                yield artifact.path


def _traces(client, rows: set[str]) -> Iterator[Logged]:
    ids = experiments.all_ids(client, deleted=True)
    for trace in experiments.pages(client.search_traces, locations=ids) if ids and rows else ():
        prompts = {str(span.attributes.get("prompt_id")) for span in trace.data.spans}
        if prompts & rows:
            yield Logged(experiment=trace.info.experiment_id, trace=trace.info.trace_id)


def remove_logged(client, logged: list[Logged]) -> None:
    """What is gone already is no error."""
    for one in logged:
        if one.trace:
            client.delete_traces(one.experiment, trace_ids=[one.trace])
        else:
            experiments.artifacts(client, one.run).delete_artifacts(one.path)
