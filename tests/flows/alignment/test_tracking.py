"""What MLflow keeps of a run: complete, once, keyed by the stage's version."""

import json

import pytest

from flows.alignment import logged
from flows.alignment.tracking import Tracker
from flows.graph.running import StageError, folder
from flows.history import experiments
from models.judges.base import Question
from models.judges.openai import OpenAIJudge
from models.judges.store import Record
from tasks.judging.call_log import CallLog
from tests.support import toy
from tests.support.mlflow_store import empty_store
from tests.support.tracked_runs import client, finished, log_pass, runs  # noqa: F401


@pytest.fixture()
def session(finished, tmp_path, monkeypatch):
    """One of a copy of it, with a store of its own."""
    place = tmp_path / "toy"
    toy.command(tmp_path, "cp", "-a", str(finished), str(place))
    empty_store(place / "mlflow.db")
    return toy.make_session(place, monkeypatch)


def test_a_stage_run_holds_params_curves_metrics_inputs_and_artifacts(session):
    tracker = log_pass(session, ["first", "second"])
    assert tracker.problems == []
    run = next(r for r in runs(session) if r.data.tags["plumb.stage"] == "second")
    store = client(session)
    assert run.data.params == {"second.steps": "3"}
    assert run.data.metrics["loss"] == 0.5 and run.data.metrics["cost/seconds"] == 2.0
    curve = {(p.step, p.value, p.timestamp) for p in store.get_metric_history(run.info.run_id, "loss")}
    assert {(1, 1.0, 101_000), (2, 0.5, 102_000)} < curve
    (given,) = run.inputs.dataset_inputs
    assert given.dataset.name == "out/first.txt"
    md5 = session.graph.dependencies("second")["out/first.txt"]
    assert {tag.key: tag.value for tag in given.tags}["dvc.md5"] == md5
    tags = run.data.tags
    assert tags["plumb.complete"] == "true" and tags["plumb.version"] == session.graph.version("second")
    assert tags["mlflow.parentRunId"] == tracker.parent and run.info.status == "FINISHED"


def call(number):
    """A call as a stage leaves it in its sample."""
    return {"key": f"k{number}", "judge": "remote", "prompt_id": "p", "kind": "compare", "raw": '{"honesty": "A"}',
            "messages": [{"role": "user", "content": "Which is better?"}], "answer": {"p_first": 1.0}, "valid": True,
            "calls": 2, "latency_seconds": 0.25, "input_tokens": 100, "output_tokens": 10, "cost": 0.5, "time": 1000.0}


def test_a_call_is_what_a_stage_leaves():
    """The fields are those of the log that stages keep: what one side drops, the other would look for in vain."""
    question = Question({"id": "p", "prompt": [{"role": "user", "content": "Hello?"}]}, "a", "b")
    heard, log = Record("k", "remote", "p", "compare", "{}", "", True), CallLog()
    log.heard(OpenAIJudge("remote", "m", {"honesty": 1.0}), question, heard)
    (kept,) = log._sample.values()
    assert kept.keys() == call(0).keys() and {type(kept[name]) for name in ("messages", "calls")} == {list, int}


def test_calls_of_judges_become_metrics_and_traces_once(session):
    place = folder(session.state, "second", session.graph.version("second"))
    place.mkdir(parents=True)
    (place / "calls.json").write_text(json.dumps({"answers": 40, "latency_p50": 0.2, "latency_p95": 0.4}))
    (place / "calls.jsonl").write_text("".join(json.dumps(call(i)) + "\n" for i in range(2)))
    assert log_pass(session, ["second"]).problems == []
    (run,) = runs(session)
    assert run.data.metrics["judge_calls/latency_p95"] == 0.4 and run.data.metrics["judge_calls/answers"] == 40
    store = client(session)
    store.set_tag(run.info.run_id, "plumb.complete", "false")
    log_pass(session, ["second"], outcome="current")
    traces = store.search_traces(locations=[run.info.experiment_id], run_id=run.info.run_id)
    assert sorted(trace.info.tags["plumb.call"] for trace in traces) == ["k0", "k1"]
    (span,) = traces[0].data.spans
    assert span.inputs == {"messages": call(0)["messages"]} and span.outputs["raw"] == '{"honesty": "A"}'
    assert traces[0].info.execution_duration == 250 and traces[0].info.token_usage["input_tokens"] == 100
    assert span.attributes["cost"] == 0.5 and span.name == "judge remote"


def test_large_and_binary_outputs_are_named_by_hash(session):
    log_pass(session, ["second"])
    (run,) = runs(session)
    from mlflow.artifacts import load_dict

    listed = load_dict(f"{run.info.artifact_uri}/by_hash.json")
    assert [entry["path"] for entry in listed["outputs"]] == ["out/second"]
    assert listed["outputs"][0]["md5"].endswith(".dir") and listed["outputs"][0]["bytes"] == 4003
    kept = {artifact.path for artifact in client(session).list_artifacts(run.info.run_id, "out/second")}
    assert kept == {"out/second/rows.jsonl"}


def test_the_parent_points_to_every_stage_and_holds_the_lock(session):
    tracker = log_pass(session, ["first"])
    log_pass(session, ["first"], outcome="current")
    parents = runs(session, "flow")
    (made,) = runs(session)
    assert [p.data.tags["plumb.run.first"] for p in parents] == [made.info.run_id] * 2
    assert sorted(p.data.tags["plumb.outcome.first"] for p in parents) == ["current", "ran"]
    parent = next(p for p in parents if p.info.run_id == tracker.parent)
    assert parent.data.tags["plumb.prefect_flow_run"] == "0123456789"
    assert len(parent.data.tags["mlflow.source.git.commit"]) == 40
    assert [a.path for a in client(session).list_artifacts(tracker.parent)] == ["dvc.lock"]


def test_a_stage_that_was_never_logged_is_logged_on_the_next_pass(session):
    log_pass(session, ["first"])
    assert not logged.all_logged(session.graph)
    log_pass(session, list(session.graph.stages), outcome="current")
    assert logged.all_logged(session.graph)
    assert len(runs(session)) == 5, "the one that was there is not logged again"


def test_a_run_that_was_left_unfinished_is_taken_over(session):
    log_pass(session, ["second"])
    (run,) = runs(session)
    store = client(session)
    points = len(store.get_metric_history(run.info.run_id, "loss"))
    store.set_tag(run.info.run_id, "plumb.complete", "false")
    assert not logged.all_logged(session.graph)
    tracker = log_pass(session, ["second"], outcome="current")
    (same,) = runs(session)
    assert same.info.run_id == run.info.run_id and same.data.tags["plumb.complete"] == "true"
    assert same.data.tags["mlflow.parentRunId"] == tracker.parent
    # The live points carry their own time and are not doubled; the final value is written once more.
    assert len(store.get_metric_history(run.info.run_id, "loss")) == points + 1


def test_a_deleted_run_counts_as_missing(session):
    log_pass(session, list(session.graph.stages))
    assert logged.all_logged(session.graph)
    client(session).delete_run(runs(session)[0].info.run_id)
    assert not logged.all_logged(session.graph)


def test_the_quick_look_agrees_with_mlflow(session, monkeypatch):
    log_pass(session, list(session.graph.stages))
    monkeypatch.setattr(logged, "_complete_in_sqlite", lambda uri: None)
    assert logged.all_logged(session.graph)


def test_a_failed_stage_keeps_its_curve_and_its_reason(session):
    tracker = Tracker(session)
    tracker.opens("0123456789")
    place = folder(session.state, "second", "v")
    place.mkdir(parents=True)
    (place / "live.jsonl").write_text('{"done": 1, "total": 2, "metrics": {"loss": 2.0}, "time": 1.0}\n')
    tracker.begins("second", "v", place)
    tracker.fails(StageError("second", "diverged", "loss is NaN at step 2", place))
    tracker.close(finished=False)
    (run,) = runs(session)
    assert run.info.status == "FAILED" and run.data.tags["plumb.error"] == "diverged: loss is NaN at step 2"
    assert run.data.metrics["loss"] == 2.0 and run.data.tags["plumb.complete"] == "false"
    assert runs(session, "flow")[0].info.status == "FAILED"


def test_a_tracking_server_that_is_down_fails_no_run(session, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    import mlflow

    mlflow.set_tracking_uri("http://127.0.0.1:9")
    try:
        tracker = log_pass(session, ["first"], outcome="current")
    finally:
        mlflow.set_tracking_uri(None)
    assert len(tracker.problems) == 1 and "127.0.0.1" in tracker.problems[0]


IMPORTS_OF_THE_THREAD = """
import sys, threading
from pathlib import Path
from flows import environment

class Recorder:
    def find_spec(self, name, path=None, target=None):
        if threading.current_thread().name == "mlflow":
            print("IMPORTED", name)

sys.meta_path.insert(0, Recorder())
environment.prepare(Path.cwd())
from flows.alignment import local
from flows.command import console

with local.Prefect(Path.cwd()) as prefect:
    sys.exit(local.align(Path.cwd(), console(), prefect))
"""


def test_the_thread_imports_nothing_that_prefect_imports_beside_it(tmp_path):
    project = toy.make_toy(tmp_path / "toy")
    said = toy.command(project, toy.sys.executable, "-c", IMPORTS_OF_THE_THREAD)
    imported = {line.split()[1].partition(".")[0] for line in said.splitlines() if line.startswith("IMPORTED")}
    assert "stages" in said and not imported & {"alembic", "mlflow", "pydantic", "sqlalchemy"}


PACKAGE_STAGE = """
  package:
    cmd: mkdir -p artifacts && cp -r packaged artifacts/package
    deps: [packaged]
    outs: [artifacts/package]
"""


@pytest.mark.slow
def test_the_packaged_model_loads_back_and_chats(tmp_path, monkeypatch):
    from tests.support.tiny_models import make_qwen2

    place = toy.make_toy(tmp_path / "toy")
    make_qwen2(place / "packaged")
    with (place / "dvc.yaml").open("a") as file:
        file.write(PACKAGE_STAGE)
    toy.command(place, toy.sys.executable, "-m", "dvc", "repro", "-q")
    session = toy.make_session(place, monkeypatch)
    tracker = log_pass(session, ["package"], outcome="current")
    assert tracker.problems == [] and logged.find_run(client(session), "package", session.graph.version("package"), True)
    code = "import mlflow, sys; m = mlflow.pyfunc.load_model(sys.argv[1])\n"
    code += "print(m.predict({'messages': [{'role': 'user', 'content': 'hello'}], 'max_tokens': 4})[0]['choices'])"
    (model,) = client(session).search_logged_models(experiment_ids=[runs(session)[0].info.experiment_id])
    answer = toy.command(place, toy.sys.executable, "-c", code, model.model_uri)
    assert "'assistant'" in answer


@pytest.mark.parametrize(
    ("uri", "location"),
    [("sqlite:////data/mlflow.db", "file:///data/mlartifacts"), ("http://mlflow:5000", None), ("postgresql://h/m", None)],
)
def test_a_server_knows_itself_where_artifacts_go(monkeypatch, uri, location):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    root = experiments.artifact_root()
    assert (root.as_uri() if root else None) == location
