"""A toy project that has run, and its flow runs in MLflow."""

from __future__ import annotations

import json

import pytest

from flows.alignment.tracking import Tracker
from flows.graph.running import StageRun, folder
from tests.support import toy


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A toy that `dvc repro` has run."""
    place = toy.make_toy(tmp_path_factory.mktemp("toy"))
    toy.command(place, "dvc", "repro", "-q")
    return place


@pytest.fixture()
def project(finished, tmp_path):
    """A copy of it whose files may be changed."""
    place = tmp_path / "toy"
    toy.command(tmp_path, "cp", "-a", str(finished), str(place))
    return place


def client(session):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{session.root / 'mlflow.db'}")


def runs(session, kind="stage"):
    store = client(session)
    experiment = store.get_experiment_by_name("toy").experiment_id
    return store.search_runs([experiment], f"tags.`plumb.kind` = '{kind}'")


def log_pass(session, names, outcome="ran"):
    """One flow run in which the stages ended; returns the tracker."""
    tracker = Tracker(session)
    tracker.opens("0123456789")
    for name in names:
        version = session.graph.version(name)
        if outcome == "ran":
            place = folder(session.state, name, version)
            place.mkdir(parents=True, exist_ok=True)
            lines = [{"done": s, "total": 2, "metrics": {"loss": 1 / s}, "time": 100.0 + s} for s in (1, 2)]
            (place / "live.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            tracker.begins(name, version, place)
        tracker.ends(StageRun(name, version, outcome, seconds=2.0, peak_bytes=5_000_000))
    tracker.close(finished=True)
    return tracker
