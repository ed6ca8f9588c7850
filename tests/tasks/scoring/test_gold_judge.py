"""A language model as gold: its ratings, their store, and who may not label beside it."""

import copy
import json

import pytest

from benchmarks.judging.server import response
from models.judges.base import Question
from tasks.answering.second_turn import doubted
from tasks.common.errors import ConfigError, DataError
from tasks.config.judges import TAKEN
from tasks.evaluate import model_numbers
from tasks.gold import gold
from tasks.judge import judges_that_are_gold
from tasks.runner.params import read_params
from tasks.scoring.left_out import left_out, sentence, unrated, without
from tasks.scoring.scorer import load_gold, score_answers, score_pool, score_second_turns
from tests.support.endpoints import HOSTED, written
from tests.support.evaluation_rows import PLAIN, WRONG, Proxy, answer, config, project_params, prompt
from tests.support.gate_stage import staged  # noqa: F401
from tests.support.judge_questions import fenced
from tests.support.judge_server import Faults, JudgeServer

JUDGE = {**HOSTED, "name": "b", "weights": {"helpfulness": 3.0, "honesty": 1.0}, "url_variable": "PLUMB_JUDGE_URL",
         "input_price": 1.0}
LOCAL = {"name": "b", "kind": "hf", "path": "m", "sha256": "", "revision": "", "epoch": 0, "weights": {"honesty": 1.0},
         "rates": True, "dtype": "float32", "minimum_mass": 0.0, "rows_per_batch": 8}
ASKING = {"concurrency": 4, "attempts": 2, "first_wait_seconds": 0.01, "longest_wait_seconds": 0.01}


def rates(body):
    """5 for helpfulness where the shelf is named, else 1; 3 for honesty."""
    return json.dumps({"helpfulness": 5 if "shelf" in fenced(body, "answer") else 1, "honesty": 3})


@pytest.fixture
def server(monkeypatch, tmp_path):
    with JudgeServer(rates) as running:
        monkeypatch.setenv("PLUMB_JUDGE_URL", running.url)
        monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "state"))
        yield running


def made(tmp_path, **changes):
    cfg = config("gold", kind="judge", **{"judge": JUDGE, "asking": ASKING, **changes})
    assert gold(cfg, tmp_path, tmp_path / "none", tmp_path / "gold", tmp_path) == {"axes": 2.0}
    return tmp_path / "gold"


def test_gold_is_the_weighted_mean_of_its_ratings(tmp_path, server, monkeypatch):
    """5 and 3 of 1..5 are 1 and 1/2: (3 * 1 + 0.5) / 4 = 0.875; 1 and 3: 0.125. Another process asks nothing again."""
    monkeypatch.setenv("PLUMB_LIVE", str(tmp_path))
    folder = made(tmp_path)
    scorer = load_gold(folder, tmp_path)
    scored = scorer.score([prompt(0), prompt(1)], [PLAIN, WRONG])
    assert scored == [{"gold": 0.875, "helpfulness": 1.0, "honesty": 0.5},
                      {"gold": 0.125, "helpfulness": 0.0, "honesty": 0.5}]
    assert scorer.kind == "judge" and scorer.axes == ("helpfulness", "honesty") and scorer.score([], []) == []
    assert json.loads((tmp_path / "calls.json").read_text())["calls"] == len(server.calls) == 2
    assert load_gold(folder, tmp_path).score([prompt(0), prompt(1)], [PLAIN, WRONG]) == scored
    assert len(server.calls) == 2 and server.url not in (folder / "gold.json").read_text()


def test_the_pool_of_best_of_n_is_scored_by_it(tmp_path, server):
    rows = [{"prompt_id": "p000", "index": i, "response": text, "finished": True, "proxy": 0.0, "logprob": 0.0}
            for i, text in enumerate((WRONG, PLAIN))]
    found = score_pool(rows, {"p000": prompt(0)}, load_gold(made(tmp_path), tmp_path))
    assert found["gold"].tolist() == [[0.125, 0.875]]


REFUSED, UNREADABLE = "a word that is not to be said", "a riddle"


def moody(server):
    """Refuses one text for good, and says nothing that can be read about another, until it is `well`."""
    server.well = False
    refusal = response(400, {"error": {"message": "against our policy"}})
    server.admin = lambda path, body: refusal if REFUSED in str(body) and not server.well else None
    server.rule = lambda body: "Hm." if UNREADABLE in str(body) and not server.well else rates(body)


def scored_rows(scorer, texts):
    rows = [prompt(i) for i in range(len(texts))]
    return [{"prompt_id": row["id"], **axes} for row, axes in zip(rows, scorer.score(rows, texts), strict=True)]


@pytest.mark.parametrize("bad", [REFUSED, UNREADABLE])
def test_an_answer_that_it_does_not_rate_is_asked_for_alone_again(tmp_path, server, bad):
    """1 of 20 where none may be left out; the other 19 are kept, and paid once."""
    moody(server)
    texts = [PLAIN] * 19 + [bad]
    scorer = load_gold(made(tmp_path, max_left_out=0.0), tmp_path)
    rows = scored_rows(scorer, texts)
    assert unrated(rows) == {"p019"} and [row["gold"] for row in rows[:19]] == [0.875] * 19
    with pytest.raises(DataError, match="of answers to 1 of 20 prompts .first 'p019'., more than gold.max_left_out=0 .*"
                                        "run again, which asks for these alone"):
        left_out(scorer, {"sft": unrated(rows)}, 20)
    server.well, before = True, len(server.calls)
    again = load_gold(made(tmp_path, max_left_out=0.0), tmp_path)
    assert unrated(scored_rows(again, texts)) == set() and len(server.calls) == before + 1


def test_a_prompt_is_left_out_for_all_models_alike_and_the_report_says_so(tmp_path, server):
    """1 of 20 is no more than 0.05; of PPO's answers one is refused."""
    moody(server)
    scorer = load_gold(made(tmp_path, max_left_out=0.05), tmp_path)
    scores = {"sft": scored_rows(scorer, [PLAIN] * 20), "ppo": scored_rows(scorer, [PLAIN] * 19 + [REFUSED])}
    missing = {name: unrated(rows) for name, rows in scores.items()}
    document = left_out(scorer, missing, 20)
    assert document == {"left_out": {"prompts": 1, "of": 20, "answers_of": {"ppo": 1}}}
    assert "no usable rating of answers to 1 of 20 prompts (ppo 1): they are left out for all models." in sentence(document)
    assert [len(without(rows, {"p019"})) for rows in scores.values()] == [19, 19]
    assert left_out(scorer, {"sft": set()}, 20) == {} and sentence({}) == ""


def test_the_gate_leaves_it_out_on_both_sides(staged, tmp_path, server):
    """Eight answers are equal on both sides; the rating of one prompt's is refused."""
    run, _ = staged
    made(tmp_path, max_left_out=0.5)
    whole = run("whole")
    refusal, asked = response(400, {"error": {"message": "against our policy"}}), []

    def first_is_refused(path, body):
        asked.append(body["messages"])
        return refusal if body["messages"] == asked[0] else None

    server.admin = first_is_refused
    made(tmp_path, max_left_out=0.5, judge={**JUDGE, "epoch": 1})
    document = run("left")
    assert "left_out" not in whole and document["left_out"]["prompts"] == 1
    assert document["left_out"]["answers_of"] == {"candidate": 1, "sft": 1}
    assert document["prompts"] == whole["prompts"] - 1 and document["set"] == whole["set"]
    rows = [json.loads(line) for line in (tmp_path / "left" / "scores.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * document["prompts"] and "NaN" not in json.dumps(rows)


def test_the_default_asking_is_that_of_the_asker(tmp_path, server):
    assert load_gold(made(tmp_path, asking=None), tmp_path).score([prompt(0)], [PLAIN])[0]["gold"] == 0.875


def limit(calls=None, cost=None):
    return {"max_calls": calls, "max_cost": cost}


def test_a_budget_that_ends_is_no_score_and_keeps_what_was_rated(tmp_path, server):
    """3 calls at 100 tokens for 1.0 a million; with 5 allowed, 2 more are made, and all 5 count."""
    rows, texts = [prompt(i) for i in range(5)], [PLAIN] * 5
    with pytest.raises(ConfigError) as error:
        load_gold(made(tmp_path, budget=limit(calls=3)), tmp_path).score(rows, texts)
    said = str(error.value)
    assert "gold.budget ended after 3 calls for 0.0003, with 2 of 5 answers not rated by gold judge 'b'" in said
    assert "kept and not asked again: raise max_calls or max_cost" in said and "\n" not in said
    assert len(server.calls) == 3
    scorer = load_gold(made(tmp_path, budget=limit(calls=5)), tmp_path)
    assert [one["gold"] for one in scorer.score(rows, texts)] == [0.875] * 5 and len(server.calls) == 5
    assert scorer.score(rows, texts) == scorer.score(rows[:1] * 5, texts), "what was rated is not counted twice"
    with pytest.raises(ConfigError, match="ended after 5 calls for 0.0005, with 1 of 1 answers"):
        scorer.score([prompt(5)], [PLAIN])
    assert len(server.calls) == 5


def test_a_budget_in_money_reserves_the_worst_of_what_is_under_way(tmp_path, server):
    """A call costs 0.0001 and could cost more: with four at a time, it ends where a dearest one would pass the limit."""
    server.reset(Faults(latency=0.01))
    scorer = load_gold(made(tmp_path, budget=limit(cost=0.01)), tmp_path)
    rows = [prompt(i) for i in range(120)]
    worst = scorer.judge.worst_cost(Question(rows[100], PLAIN))
    with pytest.raises(ConfigError, match="gold.budget ended after"):
        scorer.score(rows, [PLAIN] * 120)
    assert len(server.calls) == (0.01 - worst) // 0.0001 + 1 < 100 and server.most_in_flight > 1


def test_it_labels_nothing(tmp_path):
    """By params at once, and by what the gold stage wrote."""
    params = copy.deepcopy(project_params())
    params["gold"] |= {"kind": "judge", "judge": JUDGE}
    params["compare"]["judges"] = [{**JUDGE, "name": "a", "epoch": 5}]
    with pytest.raises(ConfigError, match="judge 'a' of compare.judges and gold .kind judge. are the same judge"):
        read_params(written(tmp_path, params))
    params["compare"]["judges"] = [{**JUDGE, "name": "a", "model": "other"}]
    read_params(written(tmp_path, params))
    folder = made(tmp_path)
    assert judges_that_are_gold(folder, [{**JUDGE, "model": "other"}]) == []
    for told in ({}, {"template": "other.yaml", "template_sha256": "0" * 64}):
        with pytest.raises(DataError, match="are the same judge"):
            judges_that_are_gold(folder, [{**JUDGE, "name": "a", **told}])


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "judge"}, "kind is judge and judge is null"),
    ({"kind": "oracle", "judge": JUDGE}, "kind is oracle and judge is not null"),
    ({"kind": "judge", "judge": {**JUDGE, "rates": False}}, "judge 'b' has rates false; gold needs its ratings"),
    ({"kind": "judge", "judge": {**JUDGE, "kind": "human"}}, "gold.judge: .*'human'"),
    ({"budget": limit(calls=5)}, "budget limits calls across a network, and gold makes none; set it to null"),
    ({"kind": "judge", "judge": LOCAL, "budget": limit(calls=5)}, "budget limits calls across a network"),
    ({"kind": "judge", "judge": {**JUDGE, "input_price": 0.0}, "budget": limit(cost=1.0)},
     "gold: budget.max_cost=1 would never end: judge 'b' has input_price and output_price 0"),
    ({"kind": "judge", "judge": JUDGE, "budget": {"max_call": 1}}, "unknown key gold.budget.max_call; did you mean"),
])
def test_what_is_no_gold_judge_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        config("gold", **changes)


def test_the_gate_with_it_asks_for_the_win_rate_at_equal_lengths_too(staged, tmp_path, server):
    """The whole stage on a tiny model that meets itself: 8 ratings, as both sides answer alike, and no win."""
    run, _ = staged
    made(tmp_path)
    document = run("judged")
    assert document["gold_kind"] == "judge" and document["superiority"]["win_rate"] == 0.5
    assert document["length_adjusted"]["win_rate"] == 0.5 and document["verdict"] != "promote"
    assert len(server.calls) == 8
    assert run("again") == document and len(server.calls) == 8, "what was rated stands in the store"


def test_the_gate_says_that_the_budget_ended_and_goes_on_where_it_was_raised(staged, tmp_path, server):
    """Eight answers to rate: five are, then the other three."""
    run, _ = staged
    made(tmp_path, budget=limit(calls=5))
    with pytest.raises(ConfigError, match="gold.budget ended after 5 calls .* with 3 of 8 answers not rated"):
        run("ended")
    made(tmp_path, budget=limit(calls=8))
    assert run("raised")["superiority"]["win_rate"] == 0.5 and len(server.calls) == 8


def test_the_same_words_in_a_second_turn_are_another_question(tmp_path, server):
    scorer, row = load_gold(made(tmp_path), tmp_path), prompt(0)
    scorer.score([row], ["The shelf."])
    asked = len(server.calls)
    for first in (PLAIN, "Somewhere."):
        scorer.score([doubted(row, first, "Are you sure?")], ["The shelf."])
    assert len(server.calls) == asked + 2


def test_no_criterion_takes_the_place_of_another_number(tmp_path, server):
    """What is written beside gold's axes, in rows and for a model, may be no criterion's name."""
    scorer = load_gold(made(tmp_path), tmp_path)
    row = answer(prompt(0), PLAIN)
    (scored,) = score_answers("sft", [row], {"p000": prompt(0)}, scorer, Proxy())
    prompts = {"p000": prompt(0)}
    doubts = score_second_turns([(doubted(prompt(0), PLAIN, "Are you sure?"), answer(prompt(0), PLAIN))], scorer)
    cfg = config("evaluate", resamples=100)
    numbers = model_numbers(cfg, [scored], ["p000"], ["r000"], prompts, scorer, doubts)
    written = (set(scored) | set(doubts[0]) | set(numbers)) - {*scorer.axes}
    assert written <= TAKEN, written - TAKEN
