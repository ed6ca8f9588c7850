"""What a retraining took: the time of stages that run side by side counts once, the start of the process counts."""

import psutil
import pytest

from flows.costs import elapsed
from flows.costs.elapsed import OUTSIDE, Elapsed, Stopwatch, covered, stage_times
from flows.costs.ledger import Entry, Ledger
from tests.support.mlflow_store import empty_store


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


class Clock:
    """Stands for the module `time`: a clock that moves only when it is told to."""

    def __init__(self, now):
        self.now = now

    def time(self):
        return self.now

    monotonic = time


def test_the_ledger_says_when_stages_ran_and_waiting_does_not_count(tmp_path, monkeypatch):
    """4 s from the process's start to its first step, 30 s of waiting for another, then 5 s, 3 of them in stages."""
    clock = Clock(psutil.Process().create_time() + 4)
    monkeypatch.setattr(elapsed, "time", clock)
    book, watch = Ledger(tmp_path), Stopwatch()
    book.append(Entry("of the one before", "v", clock.now, 100.0))
    clock.now += 30
    assert watch.elapsed(book, None, None).total == pytest.approx(34)
    watch.turn_came()
    assert watch.elapsed(book, None, None).total == pytest.approx(4)
    for name, begin in (("a", clock.now), ("b", clock.now + 1)):
        book.append(Entry(name, "v", begin, 2.0))
    with watch.step("training"):
        clock.now += 5
    took = watch.elapsed(book, None, None)
    assert (took.total, took.stages) == pytest.approx((9, 3))
    assert [name for name, _ in took.steps] == ["start", "training"]
    assert [seconds for _, seconds in took.steps] == pytest.approx([4, 5])


def test_stages_of_other_machines_are_found_in_mlflow(tmp_path):
    import mlflow
    from mlflow import MlflowClient

    mlflow.set_tracking_uri(empty_store(tmp_path / "mlflow.db"))
    client = MlflowClient()
    number = client.create_experiment("toy", artifact_location=tmp_path.as_uri())
    align = client.create_run(number).info.run_id
    for name, began, seconds in (("old", 50, 7.0), ("train", 200, 7.0), ("restored", 200, None)):
        run = client.create_run(number, start_time=1000 * began).info.run_id
        client.set_tag(align, f"plumb.run.{name}", run)
        if seconds is not None:
            client.log_metric(run, "cost/seconds", seconds)
    assert stage_times(client, align, 100.0) == [(200.0, 207.0)]


def test_the_ledger_s_own_line_is_no_stage_of_the_next_one(tmp_path):
    book = Ledger(tmp_path)
    book.append(Entry(OUTSIDE, "", 100.0, 14.5))
    assert book.since(100.5) == [] and [entry.stage for entry in book.since(100.0)] == [OUTSIDE]
