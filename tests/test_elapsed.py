"""What a retraining took: the time of stages that run side by side counts once, the start of the process counts."""

import time

import pytest

from flows.costs.elapsed import OUTSIDE, Elapsed, Stopwatch, covered, stage_times
from flows.costs.ledger import Entry, Ledger


@pytest.mark.parametrize(
    ("intervals", "seconds"),
    [
        ([], 0),
        ([(1, 3)], 2),
        ([(5, 6), (1, 3)], 3),  # one after the other
        ([(1, 4), (2, 6)], 5),  # side by side
        ([(1, 9), (2, 3), (8, 10)], 9),  # one within another
    ],
)
def test_what_intervals_cover_together(intervals, seconds):
    assert covered(intervals) == seconds


def test_what_is_said_and_kept():
    took = Elapsed(100.0, 40.0, 25.5, (("start", 4.0), ("stages", 30.0)))
    assert took.outside == 14.5
    assert took.line == "40.0 s in all: 25.5 s in stages, 14.5 s outside them"
    assert took.metrics == {
        "retrain/seconds": 40.0, "retrain/seconds_in_stages": 25.5, "retrain/seconds_outside_stages": 14.5,
    }  # fmt: skip
    assert "| stages | 30.0 |" in took.as_markdown() and took.line in took.as_markdown()


def test_the_ledger_says_when_stages_ran_and_waiting_does_not_count(tmp_path):
    book, watch = Ledger(tmp_path / "ledger.jsonl"), Stopwatch()
    book.append(Entry("of the one before", "v", time.time(), 100.0))
    time.sleep(0.3)
    waited = watch.elapsed(book, None, None).total
    watch.turn_came()
    assert watch.elapsed(book, None, None).total == pytest.approx(waited - 0.3, abs=0.1)
    now = time.time()
    for name, begin, seconds in (("a", now, 2.0), ("b", now + 1, 2.0)):
        book.append(Entry(name, "v", begin, seconds))
    with watch.step("sleeping"):
        time.sleep(0.1)
    took = watch.elapsed(book, None, None)
    assert took.stages == pytest.approx(3.0)
    assert [name for name, _ in took.steps] == ["start", "sleeping"]
    assert took.steps[1][1] == pytest.approx(0.1, abs=0.1) and took.steps[0][1] > 0


def test_stages_of_other_machines_are_found_in_mlflow(tmp_path):
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        client = MlflowClient()
        number = client.create_experiment("toy", artifact_location=tmp_path.as_uri())
        align = client.create_run(number).info.run_id
        for name, began, seconds in (("old", 50, 7.0), ("train", 200, 7.0), ("restored", 200, None)):
            run = client.create_run(number, start_time=1000 * began).info.run_id
            client.set_tag(align, f"plumb.run.{name}", run)
            if seconds is not None:
                client.log_metric(run, "cost/seconds", seconds)
        assert stage_times(client, align, 100.0) == [(200.0, 207.0)]
    finally:
        mlflow.set_tracking_uri(None)


def test_the_ledger_s_own_line_is_no_stage_of_the_next_one(tmp_path):
    book = Ledger(tmp_path / "ledger.jsonl")
    book.append(Entry(OUTSIDE, "", 100.0, 14.5))
    assert book.since(100.5) == [] and [entry.stage for entry in book.since(100.0)] == [OUTSIDE]
