"""Runs in MLflow that nobody ended: their process was killed, and MLflow would show them as running for ever."""

from __future__ import annotations

import os
import platform

import psutil

KIND, HOST, PID, ENDED = "plumb.kind", "plumb.host", "plumb.pid", "plumb.ended"
PARENT = "mlflow.parentRunId"
GONE = "its process was gone when the next run began"
INTERRUPTED = "interrupted: Ctrl-C, a cancel, or a signal"


def process_tags() -> dict[str, str]:
    """What is written on a run, so that a later one can tell whether this process still lives."""
    return {HOST: platform.node(), PID: str(os.getpid())}


def close_dead(client, experiments: list[str]) -> None:
    """End the runs of dead processes of this machine, and the runs of stages below them."""
    open_runs = client.search_runs(experiments, "attributes.status = 'RUNNING'")
    dead = [run.info.run_id for run in open_runs if run.data.tags.get(KIND) == "flow" and _is_dead(run)]
    for run_id in dead:
        client.set_tag(run_id, ENDED, GONE)
    for run in open_runs:
        if run.info.run_id in dead or run.data.tags.get(PARENT) in dead:
            client.set_terminated(run.info.run_id, "KILLED")


def is_alive(pid: int, since: float) -> bool:
    """Whether the process that had this id `since` (seconds since 1970) lives: ids are used again."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since + 1
    except psutil.Error:
        return False


def _is_dead(run) -> bool:
    tags = run.data.tags
    here = tags.get(HOST) == platform.node() and tags.get(PID, "").isdecimal()
    return here and not is_alive(int(tags[PID]), run.info.start_time / 1000)
