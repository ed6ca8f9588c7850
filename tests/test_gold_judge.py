"""A language model as gold: its ratings, their store, and who may not label beside it."""

import copy
import json

import pytest
from evaluation_rows import PLAIN, WRONG, config, project_params, prompt
from judge_server import Faults, JudgeServer
from test_gate import staged  # noqa: F401
from test_judge_server import fenced

from tasks.errors import ConfigError, DataError
from tasks.gold import gold
from tasks.judge import judges_that_are_gold
from tasks.params import read_params
from tasks.scoring import load_gold, score_pool
from tests.test_config import HOSTED, written

JUDGE = {**HOSTED, "name": "b", "weights": {"helpfulness": 3.0, "honesty": 1.0}, "url_variable": "PLUMB_JUDGE_URL",
         "input_price": 1.0}
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
    cfg = config("gold", kind="judge", judge=JUDGE, **{"asking": ASKING, **changes})
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
    rows = [{"prompt_id": "p000", "index": i, "response": text, "proxy": 0.0, "logprob": 0.0}
            for i, text in enumerate((WRONG, PLAIN))]
    found = score_pool(rows, {"p000": prompt(0)}, load_gold(made(tmp_path), tmp_path))
    assert found["gold"].tolist() == [[0.125, 0.875]]


def test_an_answer_that_it_does_not_rate_is_no_score(tmp_path, server):
    server.reset(Faults(malformed=1.0))
    with pytest.raises(DataError, match="gold judge 'b' gave no usable rating of 1 of 1 answers .* 'p000'"):
        load_gold(made(tmp_path), tmp_path).score([prompt(0)], [PLAIN])


def test_the_default_asking_is_that_of_the_asker(tmp_path, server):
    assert load_gold(made(tmp_path, asking=None), tmp_path).score([prompt(0)], [PLAIN])[0]["gold"] == 0.875


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
    with pytest.raises(DataError, match="are the same judge"):
        judges_that_are_gold(folder, [{**JUDGE, "name": "a"}])


@pytest.mark.parametrize(("changes", "message"), [
    ({"kind": "judge"}, "kind is judge and judge is null"),
    ({"kind": "oracle", "judge": JUDGE}, "kind is oracle and judge is not null"),
    ({"kind": "judge", "judge": {**JUDGE, "rates": False}}, "judge 'b' has rates false; gold needs its ratings"),
    ({"kind": "judge", "judge": {**JUDGE, "kind": "human"}}, "gold.judge: .*'human'"),
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
    assert document["length_controlled"]["win_rate"] == 0.5 and document["verdict"] != "promote"
    assert len(server.calls) == 8
    assert run("again") == document and len(server.calls) == 8, "what was rated stands in the store"
