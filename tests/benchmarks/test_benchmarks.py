"""Each benchmark once, on a two-layer model: costs are positive, and an altered winner is noticed."""

import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.best_of_n import best_of_n, same_winners
from benchmarks.fixed_cost import fixed_cost
from benchmarks.material import Material, comparisons
from benchmarks.measure import (
    Comparison,
    Cost,
    alternate,
    seconds_above_at_most,
    time_ratio_at_most,
    timed,
    times_faster_at_least,
)  # fmt: skip
from benchmarks.ppo.floors import Machine, Shape
from benchmarks.training_loops import floor_seconds, training_loop
from models.chat.template import load_tokenizer
from tasks.runner.params import read_params
from tests.import_closure import ROOT
from tests.support.tiny_models import make_qwen2


@pytest.fixture(autouse=True)
def imported_is_kept():
    """Both sides of a comparison begin with a collection of garbage: what was imported need not be looked through."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture()
def material(tmp_path) -> Material:
    base = make_qwen2(tmp_path / "base")
    params = read_params(ROOT / "params.yaml")
    params["serving"] |= {"max_new_tokens": 8}
    questions = [[{"role": "user", "content": f"What is {i}?"}] for i in range(8)]
    demonstrations = [
        {"id": f"d{i}", "root": f"d{i}", "category": "reasoning",
         "messages": [*question, {"role": "assistant", "content": f"It is {i}."}]}
        for i, question in enumerate(questions)
    ]  # fmt: skip
    prompts = [{"id": f"p{i}", "root": f"p{i}", "category": "reasoning", "prompt": q} for i, q in enumerate(questions)]
    return Material(ROOT, base, params, load_tokenizer(base), demonstrations, prompts, tmp_path)


def spin(seconds: float) -> None:
    """Keep the processor busy for so much of its own time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_short_work_costs_what_it_takes_and_so_does_a_child():
    """Milliseconds, below the hundredth of a second in which the kernel's other clock ticks."""
    for milliseconds in range(1, 10):
        cost = timed(lambda: spin(milliseconds / 1000))
        assert milliseconds / 1000 <= cost.cpu < 1 and cost.wall > 0
    child = timed(lambda: subprocess.run([sys.executable, "-S", "-c", "sum(range(10**5))"], check=True))
    assert child.cpu > 0.001


def assert_measured(comparison: Comparison) -> None:
    for clock in ("wall", "cpu"):
        assert all(value > 0 for side in ("ours", "theirs") for value in comparison.times(side, clock))
    assert len(comparison.ours) == len(comparison.theirs) == 1


@pytest.mark.parametrize("stage", [pytest.param("sft", marks=pytest.mark.slow),
                                   pytest.param("reward", marks=pytest.mark.slow), "dpo"])
def test_training_loops(material, stage):
    """A single batch: as many optimizer steps on both sides, in processes of their own."""
    comparison = training_loop(material, stage, "30m", 1, rows=4)
    assert_measured(comparison)
    assert "4 rows, 1 optimizer steps on both sides, TRL's batches at random; peak memory" in comparison.note


def test_the_floor_of_a_training_loop_by_hand():
    """10 weights, 3 tokens, 2 of them a response's: 3 x (60 + attention 2 x 4 x 6 + head 2 x 2 x 5 x 2) operations."""
    shape = Shape(linear=10, parameters=20, layers=1, hidden=2, vocabulary=5, attention_width=2, cache_width=2)
    assert floor_seconds(shape, [(1, 2)], 1, Machine(flops=1.0, bandwidth=1e9)) == 3 * (60 + 48 + 40)
    assert floor_seconds(shape, [(1, 2)], 2, Machine(flops=1e9, bandwidth=1.0)) == 2 * 20 * 7 * 4


def test_best_of_n(material):
    comparison = best_of_n(material, 1, rows=8, prompts=4, looped=2, n=2)
    assert_measured(comparison)
    assert "same winner on 4 of 4" in comparison.note and "scaled by 2" in comparison.note


@pytest.mark.slow
def test_the_fixed_cost_of_a_stage(material):
    assert_measured(fixed_cost(material, 1))


def test_an_altered_winner_fails():
    assert same_winners(["a", "b"], ["a", "b"]) == 2
    with pytest.raises(AssertionError, match="1 of 2 prompts, the first is number 1"):
        same_winners(["a", "b"], ["a", "c"])


@pytest.mark.parametrize("promise, number, kept", [
    (time_ratio_at_most(1.5), 1.5, True),
    (time_ratio_at_most(1.4), 1.5, False),
    (times_faster_at_least(0.6), 2 / 3, True),
    (times_faster_at_least(4), 2 / 3, False),
    (seconds_above_at_most(5), 1.0, True),
    (seconds_above_at_most(0.5), 1.0, False),
])  # fmt: skip
def test_promises_by_hand(promise, number, kept):
    """Ours 3, 4, 3 s beside theirs 2, 2, 2 s: medians 3 and 2, and the median pair is the same."""
    ours, theirs = [Cost(3, 30), Cost(4, 40), Cost(3, 30)], [Cost(2, 10)] * 3
    comparison = Comparison("x", tuple(ours), tuple(theirs), promise)
    assert comparison.of_medians() == pytest.approx(number)
    assert comparison.document()["wall"]["median_of_pairs"] == pytest.approx(number, abs=1e-4)
    assert comparison.kept is kept


def test_turns_alternate():
    order: list[str] = []

    def way(name: str):
        return lambda: order.append(name) or Cost(1, 1)

    alternate(way("ours"), way("theirs"), 3)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]
    with pytest.raises(ValueError, match="repeats=0"):
        alternate(way("ours"), way("theirs"), 0)


def test_each_demonstration_meets_the_next(material):
    rows = comparisons(material.demonstrations)
    assert rows[0]["chosen"] == material.demonstrations[0]["messages"][1:]
    assert rows[-1]["rejected"] == rows[0]["chosen"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_command(material, monkeypatch, tmp_path, capsys, fails):
    measured = [Comparison("this / that", (Cost(1, 1),), (Cost(2, 2),), time_ratio_at_most(1.02))]

    def measure(*_):
        assert not fails, "another winner"
        return measured

    monkeypatch.setattr(command, "compare", measure)
    monkeypatch.setattr(command, "gather", lambda *_: material)
    monkeypatch.setattr(command, "pulled_params", dict)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results" / "foundation.json")
    assert command.main(["--repeats", "1", "--write"]) == int(fails)
    if not fails:
        written = json.loads(command.RESULTS.read_text())
        assert written["comparisons"][0]["kept"] and str(Path.cwd()) not in json.dumps(written)
        assert "kept" in capsys.readouterr().out
