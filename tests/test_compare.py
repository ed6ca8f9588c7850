"""The compare stage with known-answer judges: what comes out is worked out by hand."""

import pytest
from evaluation_rows import GOOD, PLAIN, WRONG, answer, config, prompt

from models.judges.base import Verdict
from tasks import compare as stage
from tasks.errors import DataError
from tasks.rows import read_jsonl, write_jsonl
from tasks.splits import split_by_root

TEXTS = ("one", "one two", "one two three", "one")  # the last is a duplicate of the first


class KnownJudge:
    """Answers by a rule over (first, second) texts; rates by length."""

    def __init__(self, rule, name="known"):
        self.rule, self.name = rule, name

    def compare(self, row, first, second, *, key):
        return self.rule(first, second)

    def rate(self, row, response):
        return {"length": len(response.split()) / 3}


ALWAYS_FIRST = KnownJudge(lambda first, second: Verdict(1.0))
LONGER = KnownJudge(lambda first, second: Verdict(float(len(first) > len(second))))
TIE = KnownJudge(lambda first, second: Verdict(0.5))
SILENT = KnownJudge(lambda first, second: Verdict(0.5, valid=False))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the stage on 40 prompts with TEXTS as samples and the given judges."""

    def run_stage(*judges, given="none", preferences=(), prompts=40, **changes):
        rows = [prompt(i) for i in range(prompts)]
        samples = [answer(row, text, index) for row in rows for index, text in enumerate(TEXTS)]
        write_jsonl(tmp_path / "in" / "samples.jsonl", samples)
        write_jsonl(tmp_path / "prompts.jsonl", rows)
        write_jsonl(tmp_path / "preferences.jsonl", preferences)
        monkeypatch.setattr(stage, "make_pool", lambda specs: list(judges))
        cfg = config("compare", given=given, **{"strategy": "all", "pairs_per_prompt": 3, "heldout_fraction": 0.25, **changes})
        out = tmp_path / "out"
        metrics = stage.compare(cfg, tmp_path / "in", tmp_path / "prompts.jsonl", tmp_path / "preferences.jsonl", out)
        files = {name: read_jsonl(out / f"{name}.jsonl") for name in ("train", "heldout", "battles", "ratings")}
        return metrics, files

    return run_stage


def test_judge_that_loves_length(run):
    metrics, files = run(LONGER)
    assert metrics["pairs"] == 120 and metrics["calls"] == 240 and metrics["duplicates"] == 40
    assert metrics["train"] + metrics["heldout"] == 120
    assert metrics["prefers_longer"] == 1.0 and metrics["prefers_first"] == 0.5
    assert metrics["flip_rate"] == metrics["tie_rate"] == metrics["invalid_rate"] == 0.0
    for row in files["train"] + files["heldout"]:
        assert len(row["chosen"][0]["content"]) > len(row["rejected"][0]["content"])
        assert row["soft_label"] == 1.0 and row["agrees"] and row["kept"]
        assert row["score_gap"] == pytest.approx(
            row["criteria"]["chosen"]["length"] - row["criteria"]["rejected"]["length"], abs=1e-6
        )
    assert not {row["root"] for row in files["train"]} & {row["root"] for row in files["heldout"]}
    assert len(files["battles"]) == 240 and len(files["ratings"]) == 120
    assert len({row["id"] for row in files["train"] + files["heldout"]}) == 120


def test_judge_that_says_first_trains_nothing(run):
    with pytest.raises(DataError, match="0 comparisons to train on"):
        run(ALWAYS_FIRST)


def test_flips_are_counted_and_marked(run):
    """One judge always says first; beside two who love length the pool still names the longer in both orders."""
    metrics, files = run(ALWAYS_FIRST, LONGER, KnownJudge(LONGER.rule, "again"))
    assert metrics["flip_rate"] == 0.0 and metrics["flip_rate_per_judge"] == pytest.approx(1 / 3)
    assert [row["soft_label"] for row in files["train"]] == [pytest.approx(5 / 6)] * len(files["train"])
    assert metrics["prefers_first"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_heldout_keeps_what_training_drops(run):
    """Longer wins except on pairs with the shortest text, where the judge says first: 2 of 3 pairs per prompt flip."""
    rule = KnownJudge(lambda a, b: Verdict(1.0) if "one" in (a, b) else LONGER.rule(a, b))
    metrics, files = run(rule)
    assert metrics["flip_rate"] == pytest.approx(2 / 3) and metrics["agreement_rate"] == pytest.approx(1 / 3)
    assert all(row["agrees"] for row in files["train"]) and metrics["train"] == (120 - metrics["heldout"]) / 3
    assert sum(row["agrees"] for row in files["heldout"]) == metrics["heldout"] / 3


def test_ties_and_invalid_answers(run):
    with pytest.raises(DataError, match="0 comparisons to train on"):
        run(TIE)
    metrics, files = run(SILENT, LONGER)
    assert metrics["invalid_rate"] == 0.5 and metrics["invalid_pairs"] == 0
    assert {row["winner"] for row in files["battles"] if row["judge"] == "known"} >= {"invalid"}
    assert {row["soft_label"] for row in files["train"]} == {1.0}
    half_tie = KnownJudge(lambda first, second: Verdict(0.5), "tie")
    metrics, files = run(half_tie, LONGER)
    assert {row["soft_label"] for row in files["train"]} == {0.75} and metrics["tie_rate"] == 0.0


def test_strategies(run):
    metrics, files = run(LONGER, strategy="random", pairs_per_prompt=1)
    assert metrics["pairs"] == 40
    drawn = {row["id"].partition("#")[2] for row in files["train"]}
    assert drawn == {"1>0", "2>0", "2>1"}
    metrics, files = run(LONGER, strategy="best_vs_worst", pairs_per_prompt=5)
    assert metrics["pairs"] == 40 and {row["id"].partition("#")[2] for row in files["train"]} == {"2>0"}


def test_best_vs_worst_needs_ratings(run):
    mute = KnownJudge(LONGER.rule)
    mute.rate = lambda row, response: {}
    with pytest.raises(DataError, match="set compare.strategy to random"):
        run(mute, strategy="best_vs_worst")


def human(number):
    row = prompt(number)
    return {
        **{key: row[key] for key in ("id", "root", "category", "prompt")},
        "chosen": [{"role": "assistant", "content": "yes"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    }


def test_given_comparisons_alone_and_mixed(run):
    metrics, files = run(given="only", preferences=[human(i) for i in range(100, 140)])
    assert metrics["given"] == 40 == metrics["train"] + metrics["heldout"] and metrics["calls"] == 0
    assert {(row["source"], row["judge"], row["soft_label"]) for row in files["train"]} == {("given", "human", 1.0)}
    assert files["battles"] == []
    metrics, files = run(LONGER, given="mixed", preferences=[human(i) for i in range(100, 140)])
    assert metrics["given"] == 40 and metrics["train"] + metrics["heldout"] == 160
    assert {row["source"] for row in files["train"]} == {"given", "judged"}


def test_a_root_keeps_its_side_when_data_grows():
    rows = [{"root": f"r{i}"} for i in range(200)]
    _, few = split_by_root(rows[:100], 0.2)
    _, many = split_by_root(rows, 0.2)
    assert [row for row in many if row in rows[:100]] == few
    assert len(many) / 200 == pytest.approx(0.2, abs=0.08)
    assert len(split_by_root(rows[:2], 1e-9)[1]) == 1


def test_sample_of_an_unknown_prompt(run, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "prompts_by_id", lambda prompts: {})
    with pytest.raises(DataError, match="'p000', which compare_prompts lacks"):
        run(LONGER)


def test_simulated_pool_of_the_params_prefers_right_answers(tmp_path):
    rows = [prompt(i) for i in range(60)]
    samples = [answer(row, text, index) for row in rows for index, text in enumerate((WRONG, GOOD, PLAIN))]
    write_jsonl(tmp_path / "samples.jsonl", samples)
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    files = tmp_path, tmp_path / "prompts.jsonl", tmp_path / "none.jsonl"
    metrics = stage.compare(config("compare"), *files, tmp_path / "a")
    again = stage.compare(config("compare"), *files, tmp_path / "b")
    assert metrics == again
    assert (tmp_path / "a/train.jsonl").read_bytes() == (tmp_path / "b/train.jsonl").read_bytes()
    kept = [row for row in read_jsonl(tmp_path / "a/train.jsonl") if WRONG in str(row)]
    right = sum(row["rejected"][0]["content"] == WRONG for row in kept)
    assert right / len(kept) > 0.85
    assert 0.5 < metrics["prefers_first"] < 0.65
