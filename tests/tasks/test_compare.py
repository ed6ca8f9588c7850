"""The compare stage with known-answer judges: what comes out is worked out by hand."""

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.request import urlopen

import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

from benchmarks.judging.server import response
from models.judges.asking import JudgeError, JudgeUnreachable
from models.judges.base import Question, Verdict
from models.judges.behaviour import RATES
from models.judges.human import read_verdicts
from models.judges.openai import OpenAIJudge
from models.judges.store import Record
from models.judges.tally import Tally
from tasks import compare as stage, judge as card_stage
from tasks.common.errors import DataError
from tasks.common.rows import read_jsonl, write_jsonl
from tasks.judging.call_log import CallLog
from tasks.judging.splits import split_by_root
from tasks.reporting import judge_card
from tests.support.compare_stage import TEXTS, run, server, spec  # noqa: F401
from tests.support.endpoints import ENDPOINT
from tests.support.evaluation_rows import GOOD, PLAIN, WRONG, answer, config, prompt
from tests.support.judge_questions import fenced, longer_wins
from tests.support.judge_server import Faults
from tests.support.ports import free_port
from tests.support.tiny_models import make_gpt2


class KnownJudge:
    """Answers by a rule over (first, second) texts; rates by length, or as `ratings` says by text."""

    def __init__(self, rule, name="known", ratings=None, silent=lambda row: False):
        self.rule, self.name, self.ratings, self.silent = rule, name, ratings, silent

    def compare(self, row, first, second, *, key):
        return Verdict(0.5, valid=False) if self.silent(row) else self.rule(first, second)

    def rate(self, row, response):
        return self.ratings[response] if self.ratings else {"length": len(response.split()) / 3}


ALWAYS_FIRST = KnownJudge(lambda first, second: Verdict(1.0))
LONGER = KnownJudge(lambda first, second: Verdict(float(len(first) > len(second))))
TIE = KnownJudge(lambda first, second: Verdict(0.5))
SILENT = KnownJudge(lambda first, second: Verdict(0.5, valid=False), "silent")


def test_judge_that_loves_length(run):
    metrics, files = run(LONGER)
    assert metrics["pairs"] == 120 and metrics["verdicts"] == 240 and metrics["duplicates"] == 40
    assert metrics["train"] + metrics["heldout"] == 120
    assert metrics["prefers_longer"] == 1.0 and metrics["prefers_first"] == 0.5
    assert metrics["swap_flip_rate"] == metrics["tie_rate"] == metrics["invalid_rate"] == 0.0
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
    metrics, files = run(KnownJudge(ALWAYS_FIRST.rule, "first"), LONGER, KnownJudge(LONGER.rule, "again"))
    assert metrics["swap_flip_rate"] == 0.0 and metrics["swap_flip_rate_per_judge"] == pytest.approx(1 / 3)
    assert [row["soft_label"] for row in files["train"]] == [pytest.approx(5 / 6)] * len(files["train"])
    assert metrics["prefers_first"] == pytest.approx((1 + 0.5 + 0.5) / 3)


def test_heldout_keeps_what_training_drops(run):
    """Longer wins except on pairs with the shortest text, where the judge says first: 2 of 3 pairs per prompt flip."""
    rule = KnownJudge(lambda a, b: Verdict(1.0) if "one" in (a, b) else LONGER.rule(a, b))
    metrics, files = run(rule)
    assert metrics["swap_flip_rate"] == pytest.approx(2 / 3) and metrics["agreement_rate"] == pytest.approx(1 / 3)
    assert all(row["agrees"] for row in files["train"]) and metrics["train"] == (120 - metrics["heldout"]) / 3
    assert sum(row["agrees"] for row in files["heldout"]) == metrics["heldout"] / 3


def test_ties_and_invalid_answers(run):
    with pytest.raises(DataError, match="0 comparisons to train on"):
        run(TIE)
    metrics, files = run(SILENT, LONGER)
    assert metrics["invalid_rate"] == 0.5 and metrics["invalid_pairs"] == 0
    first = KnownJudge(ALWAYS_FIRST.rule, "first")
    pool = SILENT, first, LONGER, KnownJudge(LONGER.rule, "again")
    assert run(*pool)[0]["swap_flip_rate_per_judge"] == 1 / 3, "of the judges that answered"
    assert {row["winner"] for row in files["battles"] if row["judge"] == "silent"} == {"invalid"}
    assert {row["soft_label"] for row in files["train"]} == {1.0}
    half_tie = KnownJudge(lambda first, second: Verdict(0.5), "tie")
    metrics, files = run(half_tie, LONGER)
    assert {row["soft_label"] for row in files["train"]} == {0.75} and metrics["tie_rate"] == 0.0


def test_a_rate_of_nothing_is_not_zero(run):
    """Nobody answered: all calls are invalid, and how often they flip or name the longer nobody knows."""
    metrics, _ = run(SILENT, given="mixed", preferences=[human(i) for i in range(100, 140)])
    assert metrics["invalid_rate"] == 1.0 and metrics["invalid_pairs"] == 120
    unknown = {"swap_flip_rate", "swap_flip_rate_per_judge", "tie_rate", "prefers_first", "prefers_longer"}
    assert not unknown & set(metrics)


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


def test_nearest_margin_takes_what_is_rated_alike(run):
    """Ratings 1/3, 2/3, 1: the gap of 2 words against 1 and 3 against 2 is a third, of 3 against 1 two thirds."""
    metrics, files = run(LONGER, strategy="nearest_margin", pairs_per_prompt=2)
    assert metrics["pairs"] == 80 and {row["id"].partition("#")[2] for row in files["train"]} == {"1>0", "2>1"}


def test_filters_take_pairs_out_before_anybody_is_asked(run):
    """Of "one", "one two", "one two three": similar 2/3, 1/2, 4/5; length ratios 2, 3, 1.5; rating gaps 1/3, 2/3, 1/3."""
    metrics, files = run(LONGER, filters={"near_identical": 0.8})
    assert metrics["filtered_near_identical"] == 40 and metrics["pairs"] == 80
    metrics, files = run(LONGER, filters={"max_length_ratio": 2.0})
    assert metrics["filtered_length_ratio"] == 40
    assert {row["id"].partition("#")[2] for row in files["train"]} == {"1>0", "2>1"}
    metrics, files = run(LONGER, filters={"min_rating_gap": 0.5})
    assert metrics["filtered_rating_gap"] == 80 and {row["id"].partition("#")[2] for row in files["train"]} == {"2>0"}
    metrics, files = run(LONGER, filters={"near_identical": 0.8, "max_length_ratio": 2.0}, pairs_per_prompt=1)
    assert metrics["pairs"] == 40 and metrics["verdicts"] == 80, "the next pair takes the place of one that is filtered"


def test_labels_from_ratings_ask_for_no_verdicts(run):
    def never(first, second):
        raise AssertionError("asked for a verdict")

    metrics, files = run(KnownJudge(never), labels="ratings", filters={"min_rating_gap": 0.5})
    assert {(row["id"].partition("#")[2], row["soft_label"]) for row in files["train"]} == {("2>0", 1.0)}
    mute = KnownJudge(never, ratings={text: {} for text in TEXTS})
    with pytest.raises(DataError, match="compare.labels to verdicts"):
        run(mute, labels="ratings")


def test_a_majority_is_no_mean(run):
    """Two of three judges prefer the longer weakly (0.6), one the shorter wholly: by mean the shorter, by most the longer."""
    weakly = [KnownJudge(lambda a, b: Verdict(0.6 if len(a) > len(b) else 0.4), name) for name in ("x", "y")]
    shorter = KnownJudge(lambda a, b: Verdict(float(len(a) < len(b))), "z")
    for method, side, label in (("majority", "chosen", 1.0), ("mean", "rejected", 0.6)):
        metrics, files = run(*weakly, shorter, panel=method)
        row = next(row for row in files["train"] if "2" in row["id"].partition("#")[2])
        assert row[side][0]["content"] == "one two three" and row["soft_label"] == pytest.approx(label)


def test_a_budget_in_prompts(run):
    metrics, files = run(LONGER, budget={"max_prompts": 10})
    assert metrics["pairs"] == 30 and len({row["prompt_id"] for row in files["pairs"]}) == 10


def test_every_comparison_says_where_it_comes_from(run):
    """`first` says first both times, so it prefers the chosen once; `known` always prefers the chosen, the longer."""
    metrics, files = run(KnownJudge(lambda a, b: Verdict(1.0, raw=f"{a}!"), "first"), LONGER, panel="mean", seed=7)
    for row in files["train"]:
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        assert row["seed"] == 7 and row["policy"] == "0" * 64 and row["judge"] == "first+known"
        assert row["verdicts"] == [
            {"judge": "first", "chosen_first": 1.0, "chosen_second": 0.0, "raw": [f"{chosen}!", f"{rejected}!"]},
            {"judge": "known", "chosen_first": 1.0, "chosen_second": 1.0, "raw": ["", ""]},
        ]
    _, files = run(SILENT, LONGER)
    assert {str(row["verdicts"][0]["chosen_first"]) for row in files["train"]} == {"None"}


# --- known answers through compare and the card ---

SPOKEN = {"ok": (0.6, 0.0), "dear friend": (0.2, 1.0), "a b c": (0.9, 0.5)}  # text: gold, friendliness


def test_every_comparison_says_which_response_was_cut(run):
    _, files = run(LONGER, cut=("one two three",))
    rows = [*files["train"], *files["heldout"]]
    assert rows and all(row["rejected_finished"] for row in rows)
    said = {row["chosen"][0]["content"]: row["chosen_finished"] for row in rows}
    assert said.pop("one two three") is False and all(said.values())


class KnownGold:
    """Gold by SPOKEN: of the three pairs it prefers ok, "a b c" and "a b c"; the friendlier is the better in one."""

    kind, axes = "known", ("friendliness",)

    def score(self, rows, responses, finished=None):
        return [{"gold": SPOKEN[text][0], "friendliness": SPOKEN[text][1]} for text in responses]


def prefers(place, sign=1, **more):
    """A judge that prefers what has more (sign 1) or less (-1) of gold (0) or friendliness (1), and rates by it."""
    ratings = {text: {"friendliness": values[1]} for text, values in SPOKEN.items()}
    rule = lambda a, b: Verdict(float(sign * SPOKEN[a][place] > sign * SPOKEN[b][place]))  # noqa: E731
    return KnownJudge(rule, ratings=ratings, **more)


@pytest.fixture
def carded(run, tmp_path, monkeypatch):
    """compare and then judge, on 40 prompts with the texts of SPOKEN: (metrics, files, document)."""

    def both(judge, **changes):
        metrics, files = run(judge, texts=tuple(SPOKEN), **changes)
        monkeypatch.setattr(card_stage, "load_gold", lambda gold, model: KnownGold())
        (tmp_path / "gold.json").write_text('{"kind": "known", "allow_same_judge": false}')
        document = card_stage.judge(config("judge"), tmp_path, tmp_path / "in", tmp_path / "out",
                                    tmp_path / "prompts.jsonl", tmp_path, tmp_path / "card")
        return metrics, files, document

    return both


def value(found):
    return None if found is None else round(found["value"], 9)


def agreement(document, pairs="all"):
    found = document["panel"]["agreement_with_reference"][pairs]
    return value(found["accuracy"]), value(found["kappa"])


def chosen_texts(files):
    return {(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in files["train"] + files["heldout"]}


@pytest.mark.parametrize(("judge", "pairs", "right", "longer"), [
    (KnownJudge(lambda a, b: Verdict(float(len(a.split()) > len(b.split())))),
     {("dear friend", "ok"), ("a b c", "ok"), ("a b c", "dear friend")}, 2 / 3, 1.0),
    (prefers(1), {("dear friend", "ok"), ("a b c", "ok"), ("dear friend", "a b c")}, 1 / 3, 2 / 3),
    (prefers(0, -1), {("dear friend", "ok"), ("ok", "a b c"), ("dear friend", "a b c")}, 0.0, 1 / 3),
    (prefers(0), {("ok", "dear friend"), ("a b c", "ok"), ("a b c", "dear friend")}, 1.0, 2 / 3),
])
def test_a_known_judge_through_comparisons_and_card(carded, judge, pairs, right, longer):
    """The longer, the friendlier, the worse and the better: in both orders, so nothing flips and first is half."""
    metrics, files, document = carded(judge)
    assert chosen_texts(files) == pairs and metrics["train"] + metrics["heldout"] == 120
    assert document["outcomes"] == {"kept": 120, "tie": 0, "flip": 0, "invalid": 0} and document["reference"] == "known"
    panel = document["panel"]
    assert value(panel["swap_flip_rate"]) == 0.0 and value(panel["prefers_first"]) == 0.5
    assert value(panel["prefers_longer"]) == round(longer, 9)
    assert all(value(panel[name]) == round(metrics[name], 9) for name in RATES), "one count makes both"
    # kappa: the expected agreement is one half, as each pair counts in both namings
    assert agreement(document) == agreement(document, "kept") == (round(right, 9), round(2 * right - 1, 9))
    assert value(panel["agreement_with_reference"]["all"]["pick_longest"]["accuracy"]) == round(2 / 3, 9)


def test_a_judge_that_always_says_first_through_the_card(carded, monkeypatch):
    """Nothing to train on: every pair flips, which is half right and no better than chance."""
    with pytest.raises(DataError, match="0 comparisons to train on"):
        carded(ALWAYS_FIRST)
    monkeypatch.setattr(stage, "check_split", lambda train, heldout, cfg: None)
    metrics, files, document = carded(ALWAYS_FIRST)
    assert metrics["train"] == 0 and metrics["swap_flip_rate"] == 1.0 and document["outcomes"]["flip"] == 120
    assert value(document["panel"]["prefers_first"]) == 1.0 and value(document["panel"]["prefers_longer"]) == 0.5
    assert agreement(document) == (0.5, 0.0) and agreement(document, "kept") == (None, None)


def test_a_judge_that_is_silent_half_the_time(carded):
    """Silent on every second prompt: 60 of 120 pairs and half the calls are invalid; the rest is as good as ever."""
    judge = prefers(0, silent=lambda row: int(row["id"][1:]) % 2 == 0)
    metrics, files, document = carded(judge)
    assert metrics["invalid_pairs"] == 60 and metrics["train"] + metrics["heldout"] == 60
    assert document["outcomes"] == {"kept": 60, "tie": 0, "flip": 0, "invalid": 60}
    assert value(document["panel"]["invalid_rate"]) == metrics["invalid_rate"] == 0.5
    assert agreement(document) == (1.0, 1.0) and {int(row["root"][1:]) % 2 for row in files["train"]} == {1}


def test_a_criterion_is_judged_by_its_own_axis(carded):
    """Rates friendliness rightly, prefers the worse all in all."""
    _, _, document = carded(prefers(0, -1))
    assert agreement(document) == (0.0, -1.0)
    assert value(document["by_criterion"]["friendliness"]["accuracy"]) == 1.0


def test_the_card_of_given_comparisons_is_empty(run, tmp_path):
    run(given="only", preferences=[human(i) for i in range(100, 140)])
    document = card_stage.judge(config("judge"), tmp_path, tmp_path / "in", tmp_path / "out", tmp_path / "prompts.jsonl",
                                tmp_path, tmp_path / "card")
    assert document["pairs"] == 0 and document["reference"] is None and document["judges"] == {}


# --- an endpoint ---


def test_the_stage_with_an_endpoint_as_judge(run, server, tmp_path):
    """40 prompts of 3 texts: 120 ratings and 240 verdicts, each 100 tokens in and 10 out; run again, nothing is."""
    metrics, files = run(judges=[ENDPOINT])
    assert len(server.calls) == metrics["calls"] == 360 and metrics["pairs"] == 120
    assert metrics["cost"] == pytest.approx(360 * (100 * 1.0 + 10 * 2.0) / 1e6)
    assert metrics["prefers_longer"] == 1.0 and metrics["swap_flip_rate"] == 0.0
    assert {row["judge"] for row in files["train"]} == {"remote"}
    assert all(row["verdicts"][0]["raw"] == ['{"helpfulness": "A"}', '{"helpfulness": "B"}'] for row in files["train"])
    described = (tmp_path / "out" / "judges.json").read_text()
    assert '"template"' in described and "PLUMB_JUDGE_URL" in described and server.url not in described
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    again, _ = run(judges=[ENDPOINT])
    assert again == metrics and len(server.calls) == 360
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_a_refused_schema_is_said_and_changes_no_metric(run, server, tmp_path, monkeypatch, capsys):
    """What a server refuses today is no function of the inputs: with all answers stored, nobody asks it."""
    monkeypatch.setenv("PLUMB_LIVE", str(tmp_path))
    server.formats = ("json_object", None)
    metrics, _ = run(judges=[{**ENDPOINT, "rates": False}])
    assert metrics["pairs"] == 120 and metrics["invalid_rate"] == 0.0 and len(server.calls) == 240 + 1
    assert json.loads((tmp_path / "calls.json").read_text())["remote_formats_refused"] == 1
    assert "judge 'remote': its server refused 1 of 2 ways of forcing an answer" in capsys.readouterr().out
    assert run(judges=[{**ENDPOINT, "rates": False}])[0] == metrics and capsys.readouterr().out == ""


def test_what_calls_took_is_left_for_whoever_watches(run, server, tmp_path, monkeypatch):
    """Totals and a sample of 20 calls with what was sent and said; run again, all is stored."""
    monkeypatch.setenv("PLUMB_LIVE", str(tmp_path))
    monkeypatch.setenv("PLUMB_JUDGE_KEY", "planted-secret")
    began = time.monotonic()
    metrics, _ = run(judges=[{**ENDPOINT, "key_variable": "PLUMB_JUDGE_KEY"}])
    took = time.monotonic() - began
    totals, sample = json.loads((tmp_path / "calls.json").read_text()), read_jsonl(tmp_path / "calls.jsonl")
    assert totals["answers"] == totals["calls"] == 360 and totals["stored"] == 0
    assert totals["cost"] == pytest.approx(metrics["cost"]) and totals["input_tokens"] == metrics["input_tokens"]
    assert 0 < totals["latency_p50"] <= totals["latency_p95"] <= totals["latency_max"] < took
    assert len(sample) == 20 and {row["kind"] for row in sample} <= {"compare", "rate"}
    asked = {call[0] for call in server.calls}
    assert all(row["messages"][1]["content"] in asked and row["raw"] and row["cost"] == 120e-6 for row in sample)
    assert not any("planted-secret" in file.read_text() for file in tmp_path.rglob("*.json*"))
    assert run(judges=[{**ENDPOINT, "key_variable": "PLUMB_JUDGE_KEY"}])[0] == metrics
    totals = json.loads((tmp_path / "calls.json").read_text())
    assert (totals["answers"], totals["cost"], totals["stored"]) == (0, 0.0, 360)
    assert totals["used_calls"] == 360 and totals["used_cost"] == pytest.approx(metrics["cost"])


def test_the_sample_is_the_same_whatever_comes_first():
    judge, rows = OpenAIJudge("j", "m", {"honesty": 1.0}), [prompt(i) for i in range(50)]
    heard = [(judge, Question(row, "a", "b"), Record(f"{i:02}", "j", row["id"], "compare", "{}", "", True,
              latency_seconds=i + 1)) for i, row in enumerate(rows)]
    logs = [CallLog(), CallLog()]
    for log, order in zip(logs, (heard, heard[::-1])):
        for one in order:
            log.heard(*one)
    assert list(sorted(logs[0]._sample)) == list(sorted(logs[1]._sample)) == [f"{i:02}" for i in range(20)]
    assert {name: logs[0].totals(Tally())[name] for name in ("latency_p50", "latency_p95", "latency_max")} == {
        "latency_p50": 25, "latency_p95": 48, "latency_max": 50}


def test_what_a_run_that_fails_has_paid_is_left_too(run, server, tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMB_LIVE", str(tmp_path))
    server.model = "m"
    with pytest.raises(JudgeError, match="404"):
        run(judges=[{**ENDPOINT, "rates": False}, {**ENDPOINT, "name": "gone", "model": "none", "rates": False}])
    assert json.loads((tmp_path / "calls.json").read_text())["calls"] >= 1


def test_what_a_judge_that_cannot_be_reached_has_cost_is_left_too(run, server, tmp_path, monkeypatch):
    """Two answers come; then the server breaks every connection: nobody knows who paid for those calls."""
    monkeypatch.setenv("PLUMB_LIVE", str(tmp_path))
    server.rule = lambda body: longer_wins(body) if len(server.calls) < 2 else server.reset(Faults(dropped=1.0)) or ""
    asking = {"concurrency": 1, "attempts": 2, "first_wait_seconds": 0.01, "longest_wait_seconds": 0.01}
    with pytest.raises(JudgeUnreachable, match="in 2 attempts: no connection"):
        run(judges=[{**ENDPOINT, "rates": False}], asking=asking)
    totals = json.loads((tmp_path / "calls.json").read_text())
    assert totals["answers"] >= 2 and totals["calls"] >= totals["answers"] + 2
    assert totals["cost"] > totals["calls"] * 120e-6, "a call whose price is not known counts as the dearest it can be"


def test_a_question_that_a_server_cannot_answer_is_in_the_metrics_and_the_log(run, server, capsys):
    """Of 240 questions two, those that show "one" first for prompt 7; each takes two attempts and one probe."""
    boom = response(500, {"error": {"message": "boom"}})
    poison = lambda body: "spoon 7 kept" in str(body) and fenced(body, "candidate A") == "one"  # noqa: E731
    server.admin = lambda path, body: boom if poison(body) else None
    asking = {"concurrency": 4, "attempts": 2, "first_wait_seconds": 0.01, "longest_wait_seconds": 0.01}
    metrics, files = run(judges=[{**ENDPOINT, "rates": False}], asking=asking)
    assert metrics["failed_questions"] == 2 and metrics["invalid_pairs"] == 2 and metrics["kept_pairs"] == 118
    assert metrics["calls"] == 238 + 2 * (2 + 1)
    assert capsys.readouterr().out.count("judge 'remote' answered others, but not one in 2 attempts") == 2
    assert server.url not in str(files), "what artifacts hold depends on no address"


def test_a_budget_that_ends_keeps_whole_pairs_and_says_so(run, server):
    """Without ratings a pair is two calls: 101 calls are 50 pairs and one half that is left out."""
    metrics, files = run(judges=[{**ENDPOINT, "rates": False}], budget={"max_calls": 101})
    assert len(server.calls) == 101 and metrics["pairs"] == 50 and metrics["budget_exhausted"] == 1.0
    assert metrics["unasked_pairs"] == 1 and metrics["unasked_prompts"] == 23 and len(files["battles"]) == 100
    assert metrics["train"] + metrics["heldout"] == 50


FOUR = ("one", "one two", "one two three", "one two three four")


def test_a_budget_goes_into_pairs_where_nothing_needs_ratings(run, server, capsys):
    """300 calls are 150 pairs in both orders; 100 prompts of 4 texts would be 400 ratings."""
    metrics, files = run(judges=[ENDPOINT], budget={"max_calls": 300}, prompts=100, texts=FOUR, strategy="random")
    assert len(server.calls) == 300 and metrics["pairs"] == 150
    assert {row["score_gap"] for row in files["train"]} == {0.0}
    assert "nothing in compare needs ratings" in capsys.readouterr().out


@pytest.mark.parametrize("budget", [{"max_calls": 300}, {"max_cost": 300 * 120e-6}])
def test_a_budget_is_never_spent_on_ratings_alone(run, server, budget):
    """Best against worst: four ratings and two pairs are 8 calls for a prompt, so 300 calls are 37 prompts and 4 left.
    By money the last few calls are not made: at worst they cost far more than they do."""
    judge = {**ENDPOINT, "seed": None}
    metrics, _ = run(judges=[judge], budget=budget, prompts=100, texts=FOUR, strategy="best_vs_worst")
    assert 64 <= metrics["pairs"] <= 74 and 260 < len(server.calls) <= 300 and metrics["budget_exhausted"]


PEOPLE_SAID = """prompt_id,first,second,policy,annotator,verdict
{good}p000,p000#0,p000#1,{policy},ann,first
p000,p000#1,p000#0,{policy},ann,first
p000,p000#0,p000#9,{policy},ann,first
p999,p000#0,p000#1,{policy},ann,first
p000,p000#0,p000#1,{policy},,first
p000,p000#0,p000#1,{policy},bob,perhaps
p001,p001#0,p001#1,,bob,first
p002,p002#0,p002#1,{other},bob,first
"""
POLICY, OTHER_POLICY = "0" * 64, "1" * 64  # the first: of the samples that the fixture writes


def test_people_are_counted_row_by_row_and_agree_in_the_card(run, tmp_path, monkeypatch, capsys):
    """Two people prefer the longer of "one" and "one two" on 20 prompts; eight more rows are no use, or contradict."""
    good = "".join(
        f"p{i:03},p{i:03}#0,p{i:03}#1,{POLICY},{who},second\n" for i in range(1, 21) for who in ("ann", "bob")
    )
    file = tmp_path / "people.csv"
    file.write_text(PEOPLE_SAID.format(good=good, policy=POLICY, other=OTHER_POLICY))
    judge = {"name": "people", "kind": "human", "file": str(file), "sha256": sha256(file.read_bytes()).hexdigest()}
    metrics, files = run(judges=[judge], prompts=40)
    expected = {"used": 40, "contradictory": 2, "missing_columns": 1, "unknown_ids": 2, "unknown_verdicts": 1,
                "without_texts": 1, "other_policies": 1}
    found = {name.removeprefix("people_"): count for name, count in metrics.items() if name.startswith("people_")}
    assert {name: count for name, count in found.items() if count} == expected
    printed = capsys.readouterr().out
    assert "judge 'people', rows that people wrote: 40 used, 2 contradictory, 1 missing columns" in printed
    assert "2 unknown ids; say in the judge's words what 'perhaps' means: first, second or tie" in printed
    assert metrics["train"] + metrics["heldout"] == metrics["kept_pairs"] == 20 and metrics["tied_pairs"] == 0
    assert metrics["invalid_pairs"] == 120 - 20, "pairs that nobody judged are said, and train nothing"
    assert all(row["chosen"][0]["content"] == "one two" and row["judge"] == "people" for row in files["train"])
    said = next(row["verdicts"][0] for row in files["train"])
    assert said["raw"] == ["ann: 1, bob: 1", "ann: 0, bob: 0"] and said["chosen_first"] == 1.0
    monkeypatch.setattr(card_stage, "load_gold", lambda gold, model: KnownGold())
    by_length = lambda self, rows, texts, _: [{"gold": len(text), "friendliness": 0} for text in texts]  # noqa: E731
    monkeypatch.setattr(KnownGold, "score", by_length)
    (tmp_path / "gold.json").write_text('{"kind": "known", "allow_same_judge": false}')
    document = card_stage.judge(config("judge"), tmp_path, tmp_path / "in", tmp_path / "out",
                                tmp_path / "prompts.jsonl", tmp_path, tmp_path / "card")
    assert value(document["agreement_between_annotators"]) == 1.0 and agreement(document, "kept") == (1.0, 1.0)
    assert document["mirrored"] == ["people"] and value(document["panel"]["swap_flip_rate"]) == 0.0
    assert document["agreement_with_people"] == {}, "nobody else judged"
    assert {name: count for name, count in document["imported"]["people"].items() if count} == expected
    (sentence,) = [line for line in judge_card.sentences(document) if "rows that people wrote" in line]
    assert sentence.startswith("Of 48 rows that people wrote for people, 40 count; 8 are unusable (2 the same person")
    assert sentence.endswith("neither texts nor the policy's hash; 1 ids of another policy's samples; 2 unknown ids).")


def test_a_judge_beside_people_is_held_against_them(run, tmp_path, monkeypatch):
    """They prefer the shorter of "one" and "one two" on 5 of 20 prompts: whoever loves length is right in 15."""
    said = "".join(f"p{i:03},p{i:03}#0,p{i:03}#1,{POLICY},ann,{'first' if i < 5 else 'second'}\n" for i in range(20))
    (tmp_path / "people.csv").write_text(f"prompt_id,first,second,policy,annotator,verdict\n{said}")
    settings = {"name": "people", "kind": "human", "file": str(tmp_path / "people.csv"), "sha256": ""}
    samples = [answer(prompt(i), text, index) for i in range(40) for index, text in enumerate(TEXTS)]
    shown = stage.shown_samples(samples, {f"p{i:03}": prompt(i) for i in range(40)})
    people = read_verdicts("people", tmp_path / "people.csv", shown)
    run(LONGER, people, judges=[spec("known"), settings])
    monkeypatch.setattr(card_stage, "load_gold", lambda gold, model: KnownGold())
    monkeypatch.setattr(KnownGold, "score", lambda self, rows, texts, _: [{"gold": 0, "friendliness": 0} for text in texts])
    (tmp_path / "gold.json").write_text('{"kind": "known", "allow_same_judge": false}')
    document = card_stage.judge(config("judge"), tmp_path, tmp_path / "in", tmp_path / "out",
                                tmp_path / "prompts.jsonl", tmp_path, tmp_path / "card")
    assert list(document["agreement_with_people"]) == ["known"]
    found = document["agreement_with_people"]["known"]
    assert value(found["accuracy"]) == value(found["pick_longest"]["accuracy"]) == 0.75 and found["accuracy"]["n"] == 20
    assert value(found["kappa"]) == 0.5 and found["accuracy"]["ci_low"] < 0.75 < found["accuracy"]["ci_high"]
    assert document["panel"]["agreement_with_reference"]["all"]["accuracy"] is None, "gold ties all"


def says_a(path):
    """A GPT-2 with room for a judge's instructions whose next token is always the letter A."""
    make_gpt2(path)
    model, tokenizer = GPT2LMHeadModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    model.config.n_positions = 4096
    model.transformer.wpe = torch.nn.Embedding(4096, model.config.n_embd)
    with torch.no_grad():
        letter = tokenizer("A")["input_ids"][0]
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(100 * model.transformer.wte.weight[letter])
    model.save_pretrained(path)
    return path


@pytest.mark.slow
def test_the_stage_against_transformers_serve(run, tmp_path, monkeypatch):
    """A real endpoint, and a model that always says A: every pair flips; what trains are the given comparisons."""
    port, model = free_port(), says_a(tmp_path / "model")
    command = [Path(sys.executable).parent / "transformers", "serve", model, "--host", "127.0.0.1", "--port", str(port),
               "--device", "cpu"]
    serving = subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    try:
        for _ in range(600):
            time.sleep(0.2)
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health"):
                break
        monkeypatch.setenv("PLUMB_JUDGE_URL", f"http://127.0.0.1:{port}/v1")
        monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "state"))
        judge = {**ENDPOINT, "model": str(model), "rates": False, "max_tokens": 1}
        metrics, files = run(judges=[judge], prompts=4, given="mixed", preferences=[human(i) for i in range(100, 140)])
    finally:
        serving.terminate()
        serving.wait()
    assert metrics["pairs"] == 12 and metrics["calls"] == 24 and metrics["invalid_rate"] == 0.0
    assert metrics["swap_flip_rate"] == metrics["prefers_first"] == 1.0 and metrics["input_tokens"] > 24 * 100
    assert {row["source"] for row in files["train"]} == {"given"}


def human(number):
    row = prompt(number)
    return {
        **{key: row[key] for key in ("id", "root", "category", "prompt")},
        "chosen": [{"role": "assistant", "content": "yes"}],
        "rejected": [{"role": "assistant", "content": "no"}],
    }


def test_given_comparisons_alone_and_mixed(run):
    metrics, files = run(given="only", preferences=[human(i) for i in range(100, 140)])
    assert metrics["given"] == 40 == metrics["train"] + metrics["heldout"] and metrics["verdicts"] == 0
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
