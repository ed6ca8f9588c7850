"""What judges across a network will be asked, forecast before anything is sampled, against what a server counts."""

import copy
import io
import json

import pytest

from flows.alignment import plan
from flows.command import console
from flows.costs import budget, calls
from flows.graph import running
from flows.graph.running import StageError, StageRun
from models.judges.asking import JudgeUnreachable
from models.judges.base import Question
from models.judges.templates import messages
from tasks.answering.prompt_rows import has_an_answer
from tasks.answering.second_turn import doubted
from tasks.common.rows import write_jsonl
from tasks.compare import compare
from tasks.gold import gold
from tasks.judge import judge
from tasks.judging.costs import Forecast, forecast, of_anchors
from tasks.runner.params import stage_config
from tasks.scoring.scorer import load_gold, score_answers, score_pool, score_second_turns
from tests.support import toy
from tests.support.endpoints import ENDPOINT, NO_LIMIT
from tests.support.evaluation_rows import Proxy, answer, project_params, prompt
from tests.support.judge_questions import fenced, longer_wins
from tests.support.judge_server import Faults, JudgeServer

SAMPLES, PROMPTS, POOL = 5, 8, 3
GOLD = {**ENDPOINT, "name": "gold", "model": "another"}
ASKING = {"concurrency": 8, "attempts": 2, "first_wait_seconds": 0.01, "longest_wait_seconds": 0.01}


def rows(count, split):
    return [prompt(i, id=f"{split}{i:02d}") for i in range(count)]


def texts_of(row, count):
    """Distinct ones."""
    return [f"{row['id']}: {'word ' * (i + 1)}" for i in range(count)]


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMB_STATE", str(tmp_path / "state"))
    found = copy.deepcopy(project_params())
    found["compare"] |= {"judges": [ENDPOINT], "asking": ASKING, "budget": NO_LIMIT, "heldout_fraction": 0.25}
    found["generate"]["samples_per_prompt"] = SAMPLES
    return found


def by_length(body):
    """The longer wins, and is rated higher."""
    if "candidate A" in body["messages"][-1]["content"]:
        return longer_wins(body)
    return json.dumps(dict.fromkeys(ENDPOINT["weights"], min(5, len(fenced(body, "answer").split()) - 1)))


@pytest.fixture
def server(monkeypatch):
    with JudgeServer(by_length) as running:
        monkeypatch.setenv("PLUMB_JUDGE_URL", running.url)
        yield running


def run_compare(tmp_path, params, prompts):
    samples = [answer(row, text, i) for row in prompts for i, text in enumerate(texts_of(row, SAMPLES))]
    write_jsonl(tmp_path / "generate" / "samples.jsonl", samples)
    write_jsonl(tmp_path / "compare_prompts.jsonl", prompts)
    write_jsonl(tmp_path / "preferences.jsonl", [])
    cfg = stage_config(params, "compare")
    files = (tmp_path / "generate", tmp_path / "compare_prompts.jsonl", tmp_path / "preferences.jsonl")
    return compare(cfg, *files, tmp_path / "compare")


TWO = [ENDPOINT, {**ENDPOINT, "name": "silent", "rates": False}]


@pytest.mark.parametrize(("changes", "calls"), [
    # 5 ratings of a prompt; best against worst are 2 pairs in 2 orders.
    ({"strategy": "best_vs_worst"}, PROMPTS * (5 + 4)),
    ({"strategy": "random", "pairs_per_prompt": 4}, PROMPTS * (5 + 8)),
    ({"strategy": "all", "pairs_per_prompt": 99}, PROMPTS * (5 + 20)),
    # The second judge gives verdicts only.
    ({"strategy": "nearest_margin", "pairs_per_prompt": 3, "judges": TWO}, PROMPTS * (5 + 6 + 6)),
    ({"strategy": "best_vs_worst", "labels": "ratings"}, PROMPTS * 5),
    # Under a budget nobody rates what no pair needs rated.
    ({"strategy": "random", "budget": {**NO_LIMIT, "max_calls": 1000}}, PROMPTS * 6),
    ({"strategy": "random", "budget": {**NO_LIMIT, "max_prompts": 3}}, 3 * (5 + 6)),
    ({"strategy": "random", "budget": {**NO_LIMIT, "max_calls": 31}}, 31),
])
def test_compare_asks_what_was_forecast(tmp_path, params, server, changes, calls):
    params["compare"] |= changes
    prompts = rows(PROMPTS, "c")
    found = forecast(params, {"compare_prompts": prompts}, champion=False)["compare"]
    metrics = run_compare(tmp_path, params, prompts)
    assert found.calls == len(server.calls) == metrics["calls"] == calls


def test_one_number_for_calls_wherever_they_are_told(tmp_path, params, server, monkeypatch):
    """Three calls in vain (two for an answer, one to see whether the server has any), then labels with calls that are
    asked again: by the server's own count."""
    session = toy.make_session(toy.make_toy(tmp_path / "toy"), monkeypatch)
    version = session.graph.version("first")
    place = running.folder(session.state, "first", version)
    place.mkdir(parents=True)
    for name, value in (("LIVE", place), ("JUDGE_URL", server.url), ("STATE", tmp_path / "state")):
        monkeypatch.setenv(f"PLUMB_{name}", str(value))
    params["compare"]["asking"] = {**ASKING, "attempts": 9}
    server.reset(Faults(dropped=1.0))
    with pytest.raises(JudgeUnreachable):
        params_in_vain = {**params, "compare": {**params["compare"], "asking": {**ASKING, "attempts": 2}}}
        run_compare(tmp_path, params_in_vain, rows(PROMPTS, "c"))
    in_vain = len(server.calls)
    session.fails(StageError("first", "transient", "too many", place / "log.txt"))
    calls.forget_calls(place)
    server.reset(Faults(too_many=0.2, dropped=0.1))
    metrics = run_compare(tmp_path, params, rows(PROMPTS, "c"))
    made = len(server.calls)
    assert made > PROMPTS * 9 and in_vain == 3
    (session.root / "metrics").mkdir(exist_ok=True)
    (session.root / "metrics" / "first.json").write_text(json.dumps(metrics))
    session.ends(StageRun("first", version, "ran", seconds=1.0))
    failed, entry = session.ledger.of_run(session.run.id)
    logged = metrics | entry.metrics | calls.read_calls(place).metrics
    assert [failed.asked, entry.asked, entry.calls] == [in_vain, made, made]
    assert {logged[name] for name in ("calls", "cost/calls", "cost/calls_paid_now", "judge_calls/calls")} == {made}
    said = console(file=io.StringIO(), width=200)
    (session.root / "out").mkdir(exist_ok=True)
    plan.show_plan(session.graph, plan.make_plan(session.graph, session.ledger), 1, said)
    assert f"made {made} judge calls for {budget.as_money(entry.money)}" in said.file.getvalue()
    paid = budget.as_money(entry.spent + failed.spent)
    assert budget.paid_in_words([failed, entry]) == (
        f"Judges across a network: {made + in_vain} calls for {paid} in this run "
        f"(first {made + in_vain} for {paid}).")
    assert budget.paid_in_words([]) == ""


@pytest.mark.parametrize(("amount", "shown"), [
    (0, "0.00"), (0.909, "0.91"), (12.3456, "12.35"), (0.009, "0.0090"), (0.0417, "0.042"), (3e-7, "0.00000030"),
    (1e-30, "0.0000000000"),
])  # fmt: skip
def test_little_money_is_not_shown_as_none(amount, shown):
    assert budget.as_money(amount) == shown


def test_money_is_tokens_times_price(params):
    """One pair in two orders of one judge: each call's words at 3 characters a token and 16 around each of two
    messages, two answers of 10 tokens, and a reply of 80 tokens (64 and 16 for its criterion)."""
    params["compare"] |= {"strategy": "random", "pairs_per_prompt": 1,
                          "judges": [{**ENDPOINT, "rates": False, "weights": {"overall": 1.0}}]}
    params["generate"] |= {"samples_per_prompt": 2, "max_new_tokens": 10}
    row = prompt(0)
    characters = sum(len(one["content"]) for one in messages(Question(row, "", ""), ["overall"]))
    tokens_in = characters / 3 + 2 * 16 + 2 * 10
    found = forecast(params, {"compare_prompts": [row]}, champion=False)["compare"]
    assert found == Forecast(2, pytest.approx(2 * (tokens_in * 1.0 + 80 * 2.0) / 1e6))


def test_a_budget_ends_calls_and_money(params):
    assert Forecast(10, 5.0).within(None) == Forecast(10, 5.0)
    limit = stage_config(params, "compare").budget
    assert Forecast(10, 5.0).within(limit.model_copy(update={"max_calls": 4})) == Forecast(4, 2.0)
    assert Forecast(10, 5.0).within(limit.model_copy(update={"max_cost": 1.5})) == Forecast(10, 1.5)


def test_gold_asks_what_was_forecast(tmp_path, params, server):
    """The judge card rates the 4 samples of 2 pairs; evaluation each model's answers, a snapshot each of DPO and PPO,
    the pool and four second turns where there is a fact; the gate both sides."""
    params["compare"] |= {"strategy": "best_vs_worst", "judges": [ENDPOINT]}
    params["gold"] |= {"kind": "judge", "judge": GOLD, "asking": ASKING}
    params["best_of_n"]["n"] = POOL
    split = {name: rows(PROMPTS, name[0]) for name in ("compare_prompts", "select_prompts", "gate_prompts")}
    split["select_prompts"][0]["expected_facts"] = []
    found = forecast(params, split, champion=False)
    run_compare(tmp_path, params, split["compare_prompts"])
    gold(stage_config(params, "gold"), tmp_path, tmp_path, tmp_path / "gold", tmp_path)
    counted = {}

    def count(stage, call):
        before = len(server.calls)
        call()
        counted[stage] = len(server.calls) - before

    places = [tmp_path / name for name in ("generate", "compare", "compare_prompts.jsonl", "gold", "judge")]
    count("judge", lambda: judge(stage_config(params, "judge"), tmp_path, *places))
    count("evaluate", lambda: evaluated(load_gold(tmp_path / "gold", tmp_path), split["select_prompts"]))
    scorer = load_gold(tmp_path / "gold", tmp_path)
    both = [(row, f"{side} {row['id']}") for side in "ab" for row in split["gate_prompts"]]
    count("gate", lambda: scorer.score([row for row, _ in both], [text for _, text in both]))
    assert {name: found[name].calls for name in counted} == counted == {
        "judge": PROMPTS * 4, "evaluate": PROMPTS * (4 + 2 + POOL) + (PROMPTS - 1) * 4, "gate": PROMPTS * 2}
    assert found["compare"].calls == PROMPTS * 9 and all(one.cost > 0 for one in found.values())


def evaluated(scorer, prompts):
    """What `evaluate` has gold score, with different texts for each."""
    by_id = {row["id"]: row for row in prompts}
    for model, checkpoints in (("base", 1), ("sft", 1), ("dpo", 2), ("ppo", 2)):
        answers = [answer(row, f"{model} {i} {row['id']}", checkpoint=f"step-{i}" if i else "final")
                   for row in prompts for i in range(checkpoints)]
        score_answers(model, answers, by_id, scorer, Proxy())
        asked = [doubted(row, f"{model} {row['id']}", "Sure?") for row in prompts if has_an_answer(row)]
        turns = [(row, {"response": f"yes {model}", "finished": True}) for row in asked]
        score_second_turns(turns, scorer)
    pool = [{**answer(row, f"pool {i} {row['id']}", i), "proxy": 0.0} for row in prompts for i in range(POOL)]
    score_pool(pool, by_id, scorer)
    score_answers("best_of_n", [row for row in pool if row["index"] == 0], by_id, scorer, Proxy())


def test_a_champion_is_rated_too_and_nobody_is_asked_where_nobody_is_across_a_network(params):
    params["gold"] |= {"kind": "judge", "judge": GOLD}
    split = {name: rows(PROMPTS, name[0]) for name in ("compare_prompts", "select_prompts", "gate_prompts")}
    without, with_one = (forecast(params, split, champion)["evaluate"].calls for champion in (False, True))
    assert with_one - without == 2 * PROMPTS, "its answers, and its second turns"
    params["gold"] |= {"kind": "oracle", "judge": None}
    params["compare"]["judges"] = project_params()["compare"]["judges"]
    assert forecast(params, split, champion=False) == {} and of_anchors(params) == Forecast()


def test_anchors_are_forecast(tmp_path, params):
    anchors = [{"prompt": f"Question {i}?", "a": "a long answer", "b": "short"} for i in range(20)]
    (tmp_path / "anchors.jsonl").write_text("".join(json.dumps(row) + "\n" for row in anchors))
    params["anchors"]["file"] = str(tmp_path / "anchors.jsonl")
    params["compare"]["judges"] = TWO
    found = of_anchors(params)
    assert found.calls == 20 * 2 * 2 and 0 < found.cost < 1
