"""A run that is interrupted or killed does not stay "running" in MLflow."""

import signal
import sys

import pytest

from flows.alignment.tracking import Tracker
from flows.history import left_open
from tests.support import toy
from tests.support.tracked_runs import client, runs


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_plumb_align_that_is_ended_by_a_signal(signum, tmp_path, monkeypatch):
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    align = toy.Marked([sys.executable, "-m", "flows.cli", "align"], session.root, TOY_SECONDS="300")
    try:
        align.find("work.py", "first")
        toy.wait_for(lambda: (session.root / "mlflow.db").exists() and _statuses(session) == {"RUNNING"}, 60)
        align.process.send_signal(signum)
        align.wait_until_gone()
    finally:
        align.end()
    why = left_open.INTERRUPTED
    if signum == signal.SIGKILL:
        assert _statuses(session) == {"RUNNING"}
        assert Tracker(session).problems == []
        why = left_open.GONE
    assert _statuses(session) == {"KILLED"}
    (run,) = runs(session, "flow")
    assert run.data.tags[left_open.ENDED] == why


def _statuses(session):
    """Of the run of align and of its stage, once both are there."""
    store = client(session)
    if store.get_experiment_by_name("toy") is None:
        return set()
    both = runs(session, "flow") + runs(session)
    return {run.info.status for run in both} if len(both) == 2 else set()


@pytest.mark.parametrize(
    ("tags", "open_still"),
    [
        (left_open.process_tags(), True),
        (left_open.process_tags() | {left_open.PID: "1"}, False),  # an id that is used again, by a younger process
        (left_open.process_tags() | {left_open.HOST: "another machine", left_open.PID: "999999999"}, True),
        ({}, True),
    ],
)
def test_only_runs_of_dead_processes_of_this_machine_are_ended(tags, open_still, tmp_path, monkeypatch):
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    store = client(session)
    number = store.create_experiment("toy")
    before = 1000 if tags.get(left_open.PID) == "1" else None
    run = store.create_run(number, start_time=before, tags={left_open.KIND: "flow"} | tags).info.run_id
    left_open.close_dead(store, [number])
    assert (store.get_run(run).info.status == "RUNNING") == open_still
