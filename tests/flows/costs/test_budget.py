"""A run's budget, by hand and on the toy; what each stage cost, in the ledger, in MLflow and in Prefect's pages."""

import json
import os
import sqlite3

import pytest
import yaml

from flows.alignment.session import Session, Share
from flows.costs import budget, segment_cost
from flows.costs.gpu_use import GpuUse
from flows.costs.ledger import Entry, Ledger, as_rows, totals
from flows.graph.running import StageError, StageRun
from flows.history import records
from flows.settings import read_settings
from tasks.config.service import RunBudget
from tests.support import toy

FAR = {"name": "far", "kind": "openai", "model": "m", "revision": "", "epoch": 0, "weights": {"overall": 1.0},
       "rates": True, "url_variable": "URL", "key_variable": None, "seed": 0, "max_tokens": None,
       "input_price": 0.0, "output_price": 0.0, "timeout_seconds": 10.0}  # fmt: skip
FREE = {"seconds": None, "gpu_seconds": None, "calls": None, "cost": None}
ENTRIES = [
    Entry("sft", "v", 0.0, 40.0, peak_bytes=3_000_000, gpus=2, gpu_seconds=60.0, run="r"),
    Entry("compare", "", 0.0, 5.0, failed=True, asked=7, spent=0.25, money=0.25, run="r"),
    Entry("compare", "v", 0.0, 5.0, peak_bytes=1_000_000, calls=30, asked=3, spent=0.5, money=2.0, run="r"),
]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({}, None),
        ({"seconds": 50.1}, None),
        ({"seconds": 50.0}, "flow.budget.seconds=50 is spent: 50 s (sft 40, compare 10); what is done is kept"),
        ({"gpu_seconds": 60.0}, "flow.budget.gpu_seconds=60 is spent: 60 GPU-s (sft 60);"),
        ({"calls": 10}, "flow.budget.calls=10 is spent: 10 calls (compare 10);"),
        ({"calls": 11}, None),
        ({"cost": 0.7}, "flow.budget.cost=0.7 is spent: 0.75 money (compare 0.75);"),
    ],
)
def test_what_was_paid_now_counts_failed_attempts_included(limits, words):
    said = budget.exhausted(RunBudget(**{**FREE, **limits}), ENTRIES)
    assert said is None if words is None else said.startswith(words) and "\n" not in said


def test_a_limit_in_money_that_no_price_can_reach_is_refused(tmp_path):
    params = yaml.safe_load((toy.ROOT / "params.yaml").read_text())
    params["flow"]["budget"]["cost"] = 2.0
    (tmp_path / "tasks").mkdir()

    def read(judges):
        params["compare"]["judges"] = judges
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        return read_settings(tmp_path).flow.budget.cost

    assert read(params["compare"]["judges"]) == 2.0, "nobody across a network is asked"
    with pytest.raises(ValueError, match="flow.budget.cost=2 would never be reached: judge 'far' has input_price and"):
        read([FAR])
    assert read([FAR, {**FAR, "name": "dear", "output_price": 1.0}]) == 2.0


def test_the_table_adds_up():
    rows = as_rows(ENTRIES)
    assert [row["stage"] for row in rows] == ["sft", "compare (failed)", "compare", "all"]
    assert rows[-1]["seconds"] == "50" and rows[-1]["peak MB"] == "3" and rows[-1]["calls paid now"] == "10"
    assert rows[-1]["money"] == "2.25" and rows[-1]["money paid now"] == "0.75" and rows[0]["GPU-seconds"] == "60"
    assert totals(ENTRIES)["cost/gpu_seconds"] == 60.0 and as_rows([]) == [] and totals([]) == {}


def test_a_run_goes_on_until_it_has_finished(tmp_path):
    first = budget.current_run(tmp_path)
    assert budget.current_run(tmp_path) == first
    budget.finish_run(tmp_path)
    budget.finish_run(tmp_path)
    second = budget.current_run(tmp_path)
    assert second.id != first.id
    (tmp_path / ".dvc" / "tmp" / "plumb.run").write_text("{torn")
    assert budget.current_run(tmp_path).id not in (first.id, second.id)


def test_the_ledger_knows_its_runs(tmp_path):
    book = Ledger(tmp_path)
    for entry in (*ENTRIES, Entry("sft", "v", 0.0, 1.0, run="other")):
        book.append(entry)
    assert book.of_run("r") == ENTRIES and book.of_run("none") == []


def test_gpu_seconds_of_a_stage_that_waited(tmp_path, monkeypatch):
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    session.ends(StageRun("first", "v", "ran", seconds=10.0, gpu=GpuUse(2, waited=4.0, peak_bytes=5)))
    (line,) = toy.ledger(tmp_path / "toy")
    assert (line["gpus"], line["gpu_seconds"], line["peak_gpu_bytes"], line["run"]) == (2, 12.0, 5, session.run.id)


def test_an_attempt_whose_flow_was_killed_is_entered_once_by_the_next(tmp_path, monkeypatch):
    """It held two GPUs, and wrote for the last time 9 s after it began, 4 of which it had waited."""
    folder = toy.make_toy(tmp_path / "toy")
    first = toy.make_session(folder, monkeypatch)
    place = first.state / "runs" / "first-v"
    first.begins("first", "v", place)  # and is killed
    began = json.loads((place / "attempt.json").read_text())["started"]
    (place / "log.txt").write_text("working")
    (place / "gpus.json").write_text(json.dumps({"gpus": ["a", "b"], "waited": 4.0}))
    for file in place.iterdir():
        os.utime(file, (began, began))
    os.utime(place / "log.txt", (began + 9, began + 9))
    second = toy.make_session(folder, monkeypatch)
    (line,) = toy.ledger(folder)
    assert second.run == first.run and line["run"] == first.run.id
    assert (line["stage"], line["failed"]) == ("first", True)
    assert line["seconds"] == pytest.approx(9, abs=0.01) and line["gpu_seconds"] == pytest.approx(10, abs=0.02)
    second.begins("first", "v", place)
    second.ends(StageRun("first", "v", "ran", seconds=1.0))
    toy.make_session(folder, monkeypatch)
    assert [row["failed"] for row in toy.ledger(folder)] == [True, False], "nothing is counted twice"
    assert not (place / "attempt.json").exists()


def test_a_failed_attempt_is_entered_by_its_own_flow_alone(tmp_path, monkeypatch):
    folder = toy.make_toy(tmp_path / "toy")
    session = toy.make_session(folder, monkeypatch)
    place = session.state / "runs" / "first-v"
    session.begins("first", "v", place)
    session.fails(StageError("first", "internal", "no", place / "log.txt"))
    toy.make_session(folder, monkeypatch)
    assert [row["failed"] for row in toy.ledger(folder)] == [True]


def limited(folder, **limits):
    text = toy.PARAMS
    for name, value in limits.items():
        text = text.replace(f"{name}: null", f"{name}: {value}")
    (folder / "params.yaml").write_text(text)


def prefect_artifact(folder, key):
    with sqlite3.connect(folder / ".prefect" / "prefect.db") as connection:
        rows = connection.execute("SELECT data FROM artifact WHERE key = ? ORDER BY created", (key,)).fetchall()
    found = [json.loads(row[0]) for row in rows]
    return [json.loads(one) if isinstance(one, str) else one for one in found]


def test_what_other_segments_of_a_run_have_cost_counts(tmp_path, monkeypatch):
    """60 s on other machines; the run's own end is for whoever started the segments."""
    folder = toy.make_toy(tmp_path / "toy")
    limited(folder, seconds=61)
    base = toy.make_session(folder, monkeypatch)
    share = Share(("side@a",), frozenset({"side@a"}), "flow-1", segment_cost.entry({"cost/seconds": 60.0}, "earlier"))
    settings = read_settings(folder)
    session = Session(base.root, base.state, base.graph, settings, 1, [], share=share)
    assert session.run.id == "flow-1" and session.may_begin("side@a")
    session.ends(StageRun("side@a", "v", "ran", seconds=2.0))
    assert not session.may_begin("side@a") and "62 s (earlier 60, side@a 2)" in session.over_budget
    assert session.may_begin("first"), "what may not be run here is only restored"
    session.finishes()
    assert budget.current_run(folder) == base.run


def test_costs_go_to_the_next_segment_and_back_as_they_were():
    whole = segment_cost.entry(segment_cost.so_far(ENTRIES), "all", "r")
    assert (whole.seconds, whole.gpu_seconds, whole.asked, whole.spent) == (50.0, 60.0, 10, 0.75)
    assert budget.exhausted(RunBudget(**{**FREE, "calls": 10}), [whole]).startswith("flow.budget.calls=10 is spent")
    assert segment_cost.so_far([]) == {} and segment_cost.entry({}, "none").seconds == 0.0


@pytest.mark.services
def test_what_a_segment_cost_is_what_mlflow_has_of_it(tmp_path):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("toy", (tmp_path / "files").as_uri())
    run = client.create_run(experiment, tags={segment_cost.SEGMENT: "flow-1"}).info.run_id
    records.write_metrics(client, run, totals(ENTRIES))
    found = segment_cost.of(client, "flow-1", "stages/gpu", "r")
    assert (found.stage, found.run, found.seconds, found.spent, found.started) == ("stages/gpu", "r", 50.0, 0.75, 0.0)
    assert segment_cost.of(client, "flow-2", "stages/gpu", "r").seconds == 0.0


@pytest.mark.services
def test_a_spent_budget_stops_between_stages_and_a_higher_one_goes_on(tmp_path):
    folder = toy.make_toy(tmp_path / "toy")
    limited(folder, seconds=0.5)
    answer = toy.plumb(folder, "align", "--cores", "1", TOY_SECONDS="1")
    assert answer.returncode == 1
    assert "flow.budget.seconds=0.5 is spent: " in answer.stdout and "(first " in answer.stdout, answer.stdout
    assert toy.outs(folder).keys() == {"out/first.txt", "metrics/first.json"}
    again = toy.plumb(folder, "align", "--cores", "1", TOY_SECONDS="1")
    assert again.returncode == 1 and "flow.budget.seconds=0.5 is spent" in again.stdout, "the same run goes on"
    assert [line["stage"] for line in toy.ledger(folder)] == ["first"]
    limited(folder, seconds=100)
    done = toy.plumb(folder, "align", "--cores", "1")
    assert done.returncode == 0, done.stdout
    assert [line["stage"] for line in toy.ledger(folder)] == ["first", "side@a", "side@b", "second", "last"]
    assert len({line["run"] for line in toy.ledger(folder)}) == 1
    tables = prefect_artifact(folder, "ledger")
    assert [[row["stage"] for row in table] for table in tables] == [
        ["first", "all"], ["first", "all"], ["first", "side@a", "side@b", "second", "last", "all"],
    ]  # fmt: skip
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("toy").experiment_id], order_by=["start_time DESC"])
    parent = next(run for run in runs if run.data.tags["plumb.kind"] == "flow")
    (made,) = [run for run in runs if run.data.tags.get("plumb.stage") == "first"]
    spent = sum(line["seconds"] for line in toy.ledger(folder))
    assert parent.data.metrics["cost/seconds"] == pytest.approx(spent)
    assert made.data.metrics["cost/calls"] == 3 and made.data.metrics["cost/money"] == 0.5
    assert {"cost/gpu_seconds", "cost/peak_memory_mb", "cost/input_tokens"} < made.data.metrics.keys()
    (folder / "params.yaml").write_text((folder / "params.yaml").read_text().replace("steps: 3", "steps: 4"))
    assert toy.plumb(folder, "align").returncode == 0
    assert len({line["run"] for line in toy.ledger(folder)}) == 2, "the next run begins anew"
