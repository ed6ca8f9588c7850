"""A project that was moved or copied with its MLflow store: what was logged is found, and logging goes on there.

MLflow's artifact roots are absolute. Before, new artifacts went to the old path, which MLflow made again.
"""

import json
import shutil

import pytest
from mlflow import MlflowClient

from flows.alignment import logged
from flows.forgetting import mlflow_purge
from flows.history import evidence, experiments, recorded
from tests.support import toy
from tests.support.mlflow_store import empty_store
from tests.support.tracked_runs import client, finished, log_pass, runs  # noqa: F401  a fixture

GATE = {"candidate_hash": "c" * 32, "verdict": "promote"}


KINDS = {"moved": ["an other"], "copied": ["copy"], "moved twice": ["an other", "third"]}


@pytest.fixture()
def project(request, finished, tmp_path, monkeypatch):  # noqa: F811
    """Logged where it was, then elsewhere."""
    place = tmp_path / "first"
    shutil.copytree(finished, place, symlinks=True)
    empty_store(place / "mlflow.db")
    session = toy.make_session(place, monkeypatch)
    assert log_pass(session, list(session.graph.stages)).problems == [] and logged.all_logged(session.graph)
    kind = getattr(request, "param", "moved")
    for number, name in enumerate(KINDS[kind]):
        if number:
            log_pass(session, list(session.graph.stages), outcome="current")
        place, old = tmp_path / name, place
        (shutil.copytree if kind == "copied" else shutil.move)(old, place)
        session = toy.make_session(place, monkeypatch)
    return session


def everything(folder):
    return {file for file in folder.rglob("*") if ".dvc" not in file.parts} if folder.exists() else set()


@pytest.mark.parametrize("project", KINDS, indirect=True)
def test_logging_goes_on_in_a_new_experiment_that_a_tag_links(project, tmp_path):
    first, store = everything(tmp_path / "first"), client(project)
    old = store.get_experiment_by_name("toy").experiment_id
    said = experiments.follow("toy")
    assert "was moved" in said and str(project.root / "mlartifacts") in said and experiments.follow("toy") is None
    assert not logged.all_logged(project.graph), "what was logged elsewhere is logged again"
    assert log_pass(project, list(project.graph.stages), outcome="current").problems == []
    assert logged.all_logged(project.graph)
    new = store.get_experiment_by_name("toy")
    assert new.tags[experiments.MOVED_FROM] == old
    assert store.get_experiment(old).tags[experiments.MOVED_TO] == new.experiment_id
    assert len(runs(project)) == len(project.graph.stages)
    assert all(run.info.artifact_uri.startswith((project.root / "mlartifacts").as_uri()) for run in runs(project))
    assert everything(tmp_path / "first") == first, "nothing is written where the project was"


class Killed(BaseException):
    """Stands for a kill: no code of ours catches it."""


@pytest.mark.parametrize("call", ["create_experiment", "set_experiment_tag", "rename_experiment"])
@pytest.mark.parametrize("done", [False, True])
def test_a_move_that_was_killed_half_way_goes_on(project, monkeypatch, call, done):
    """Before each write to MLflow, and after it; of the two renames, before and after the first one."""
    store, real = client(project), getattr(MlflowClient, call)
    old = store.get_experiment_by_name("toy").experiment_id

    def killed(self, *args, **how):
        if done:
            real(self, *args, **how)
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(MlflowClient, call, killed)
        experiments.follow("toy")
    assert "was moved" in experiments.follow("toy") and experiments.follow("toy") is None
    new = store.get_experiment_by_name("toy")
    assert experiments.linked(store, "toy") == [new.experiment_id, old]
    assert store.get_experiment(old).tags[experiments.MOVED_TO] == new.experiment_id
    assert len(store.search_experiments()) == 3, "these two, and MLflow's own"


def test_the_tracker_alone_goes_on_there_as_well(project, tmp_path):
    first = everything(tmp_path / "first")
    assert log_pass(project, ["first"], outcome="current").problems == []
    assert everything(tmp_path / "first") == first


def test_a_retraining_says_that_the_project_was_moved(project, tmp_path):
    first = everything(tmp_path / "first")
    answer = toy.plumb(project.root, "retrain")
    assert "This project was moved: MLflow's experiment 'toy'" in answer.stdout, answer
    assert everything(tmp_path / "first") == first


def test_what_was_logged_before_is_read_where_it_lies_now(project):
    store = client(project)
    shutil.rmtree(project.root.parent / "first", ignore_errors=True)
    found = list(recorded.recorded_runs(store))
    assert found and all(one.lock["stages"].keys() == project.graph.stages.keys() for one in found)
    (second,) = [run for run in runs(project) if run.data.tags["plumb.stage"] == "second"]
    assert experiments.listed(store, second.info.run_id, "out/second") == ["out/second/rows.jsonl"]


def test_the_gate_that_a_promotion_rests_on_is_read_where_it_lies_now(project, tmp_path):
    store, (run, *_) = client(project), runs(project)
    file = tmp_path / "gate.json"
    file.write_text(json.dumps(GATE))
    folder = experiments.artifacts(store, run.info.run_id)
    folder.log_artifact(str(file), "metrics")
    shutil.rmtree(tmp_path / "first", ignore_errors=True)
    assert evidence._gate_document(store, run, evidence.content_hash(file)) == GATE


@pytest.mark.parametrize("project", ["copied"], indirect=True)
def test_forgetting_reaches_what_was_logged_before_and_spares_the_other_copy(project, tmp_path):
    store, first = client(project), everything(tmp_path / "first")
    (second,) = [run for run in runs(project) if run.data.tags["plumb.stage"] == "second"]
    mlflow_purge.remove_logged(store, [mlflow_purge.Logged(second.info.run_id, "out/second/rows.jsonl")])
    assert not list(project.root.glob("mlartifacts/**/rows.jsonl")) and everything(tmp_path / "first") == first


def test_an_experiment_that_was_given_an_artifact_root_stays(tmp_path, monkeypatch):
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    empty_store(session.root / "mlflow.db")
    client(session).create_experiment("toy", (tmp_path / "elsewhere").as_uri())
    assert experiments.follow("toy") is None
