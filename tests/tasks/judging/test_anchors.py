"""Anchors: a real HTTP judge that changes behind its name is found, in the process that the flow starts too."""

import json
import sqlite3
import subprocess
import sys
from inspect import signature
from pathlib import Path

import pytest
import yaml

from flows.alignment import anchors as flow
from flows.graph.running import Processes, StageError
from flows.retrain import retrain
from models.chat.template import load_tokenizer
from models.judges.asking import JudgeError
from models.judges.reward_model import RewardModelScorer
from models.judges.store import Store
from models.lm.loading import load_policy, weights_hash
from models.reward.model import reward_model_from_policy
from tasks.common.errors import ConfigError, DataError
from tasks.common.rows import write_jsonl
from tasks.config.service import AnchorsConfig
from tasks.judging import anchors
from tasks.judging.drift import Drift, drift_between
from tasks.runner.params import stage_config
from tests.import_closure import ROOT
from tests.support import toy
from tests.support.anchor_pairs import PAIRS, ask, params, rows
from tests.support.endpoints import ENDPOINT
from tests.support.evaluation_rows import project_params
from tests.support.judge_cards import COMPARE, card
from tests.support.judge_questions import fenced, longer_wins
from tests.support.judge_server import Faults, JudgeServer
from tests.support.small_project import under_version_control
from tests.support.tiny_models import make_gpt2


class Changing(JudgeServer):
    """Prefers the longer; from `changed` questions on each of them names the shorter, asked in whatever order."""

    def __init__(self, changed=0, **more):
        super().__init__(self.answer, **more)
        self.changed = changed

    def answer(self, body):
        number = int(fenced(body, "conversation").split()[2].rstrip("?"))
        verdict = longer_wins(body)
        return verdict.translate(str.maketrans("AB", "BA")) if number < self.changed else verdict


@pytest.fixture
def server(monkeypatch):
    with Changing() as running:
        monkeypatch.setenv("PLUMB_JUDGE_URL", running.url)
        yield running


def test_drift_by_hand():
    """Moved by 1, 0.2, 0.5, 1 (became invalid) and 0: 2.7 / 5; a winner of 0.5 is a tie."""
    first = {"a": 1.0, "b": 0.6, "c": 0.5, "d": 0.3, "e": None}
    now = {"a": 0.0, "b": 0.8, "c": 1.0, "d": None, "e": None}
    assert drift_between(first, now) == Drift(pytest.approx(0.54), 3, 5)
    assert drift_between(first, first) == Drift(0.0, 0, 5)


def test_a_judge_that_changes_behind_its_name_is_found_and_accepted_by_its_epoch(tmp_path, server):
    """2 of 10 pairs turn round: 0.2 of all answers. Back in its old state, or at a new epoch, nothing is wrong."""
    found = ask(tmp_path, ENDPOINT)
    assert found["refused"] is None and found["judges"]["remote"]["baseline"] == anchors.RECORDED
    assert found["calls"] == len(server.calls) == 2 * PAIRS and found["input_tokens"] == 100 * 2 * PAIRS
    assert found["cost"] == pytest.approx(2 * PAIRS * (100 * 1.0 + 10 * 2.0) / 1e6)
    server.changed = 1
    assert ask(tmp_path, ENDPOINT)["refused"] is None, "0.1 is the bound"
    server.changed = 2
    again = ask(tmp_path, ENDPOINT)
    assert {key: again["judges"]["remote"][key] for key in ("moved", "changed", "answers")} == {
        "moved": 0.2, "changed": 4, "answers": 20}
    for words in ("judge 'remote' drifted: since 20", "moved by 0.200 on average, anchors.max_drift is 0.1",
                  "4 of 20 name another winner", "restore the model behind it",
                  "raise the judge's epoch in params.yaml"):
        assert words in again["refused"]
    assert "\n" not in again["refused"]
    assert ask(tmp_path, {**ENDPOINT, "epoch": 1})["judges"]["remote"]["baseline"] == anchors.RECORDED
    assert ask(tmp_path, {**ENDPOINT, "epoch": 1})["refused"] is None
    server.changed = 0
    assert ask(tmp_path, ENDPOINT)["refused"] is None, "the drifted answers took nobody's place"
    assert len(server.calls) == 6 * 2 * PAIRS


def test_a_slow_drift_adds_up(tmp_path, server):
    ask(tmp_path, ENDPOINT, max_drift=0.25)
    refused = []
    for server.changed in (1, 2, 3):
        refused.append(ask(tmp_path, ENDPOINT, max_drift=0.25)["refused"] is not None)
    assert refused == [False, False, True]


def test_what_is_stored_is_asked_all_the_same(tmp_path, server, monkeypatch):
    """compare's own store, under the same PLUMB_STATE, holds every answer and is neither read nor written."""
    from models.judges.asking import Asker
    from tasks.judging.making import make_pool
    from models.judges.rounds import ask_both_orders

    read = anchors.read_anchors(_file(tmp_path, rows()), 1)
    with Store(tmp_path / "state" / "verdicts.sqlite") as store:
        ask_both_orders(Asker(store), make_pool([ENDPOINT]), [(row, row["a"], row["b"]) for row in read], key="0")
    assert len(server.calls) == 2 * PAIRS
    before = (tmp_path / "state" / "verdicts.sqlite").read_bytes()
    ask(tmp_path, ENDPOINT)
    assert len(server.calls) == 4 * PAIRS and (tmp_path / "state" / "verdicts.sqlite").read_bytes() == before


def test_other_anchors_are_another_baseline(tmp_path, server):
    ask(tmp_path, ENDPOINT)
    document = params(tmp_path, ENDPOINT)
    write_jsonl(tmp_path / "anchors.jsonl", [*rows(PAIRS - 1), {"prompt": "Question 99?", "a": "x", "b": "yes"}])
    cfg = AnchorsConfig.model_validate(document["anchors"])
    found = anchors.ask_anchors(cfg, stage_config(document, "compare"), tmp_path / "state")
    assert found["judges"]["remote"]["baseline"] == anchors.RECORDED
    assert len(list((tmp_path / "state" / "anchors").glob("remote-*.json"))) == 2


@pytest.mark.parametrize("limit", [{"max_calls": 15}, {"max_cost": 15 * 120e-6 + 0.0005}])
def test_a_budget_is_never_passed_and_what_it_cannot_pay_is_said(tmp_path, server, limit):
    with pytest.raises(ConfigError, match="anchors.max_calls or anchors.max_cost ended after .* of 10 anchors left"):
        ask(tmp_path, ENDPOINT, **limit)
    assert 0 < len(server.calls) <= 15
    assert not (tmp_path / "state").exists(), "no baseline of a part"


def test_a_limit_in_money_without_prices_is_refused(tmp_path, server):
    with pytest.raises(ConfigError, match="anchors.max_cost=1 would never end: judge 'remote' has input_price"):
        ask(tmp_path, {**ENDPOINT, "input_price": 0.0, "output_price": 0.0}, max_cost=1.0)
    assert server.calls == []


def test_retries_are_no_drift(tmp_path, monkeypatch):
    with Changing(faults=Faults(too_many=0.2, dropped=0.1)) as server:
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        first, again = ask(tmp_path, ENDPOINT), ask(tmp_path, ENDPOINT)
    assert again["judges"]["remote"]["moved"] == 0.0 and first["calls"] > 2 * PAIRS


def test_a_judge_that_answers_nothing_gets_no_baseline(tmp_path, monkeypatch):
    with Changing(faults=Faults(malformed=1.0)) as server:
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        with pytest.raises(JudgeError, match="judge 'remote': 5 of 5 replies to compare cannot be read; the first: it"):
            ask(tmp_path, ENDPOINT, asking={"attempts": 2})
    with Changing(faults=Faults(malformed=0.4)) as server:
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        with pytest.raises(DataError, match=r"judge 'remote' gives a usable answer to 1\d of 20 questions"):
            ask(tmp_path, ENDPOINT, asking={"attempts": 2})


ORACLE = {"name": "exact", "kind": "oracle", "weights": {"honesty": 1.0}, "tie_margin": 0.0}
PEOPLE = {"name": "people", "kind": "human", "file": "absent.csv", "sha256": ""}


def test_judges_without_an_epoch_name_the_baseline_to_remove(tmp_path, monkeypatch):
    shipped = ROOT / project_params()["anchors"]["file"]
    found = ask(tmp_path, ORACLE, PEOPLE, file=str(shipped))
    assert list(found["judges"]) == ["exact"] and found["anchors"] == 45, "people are not asked"
    file = Path(found["judges"]["exact"]["file"])
    document = json.loads(file.read_text())
    document["answers"] = {question: 1 - value for question, value in document["answers"].items()}
    file.write_text(json.dumps(document))
    assert f"remove {file} to accept its new answers" in ask(tmp_path, ORACLE, file=str(shipped))["refused"]


def test_local_models_are_asked_anew_each_time(tmp_path, monkeypatch):
    """They cost no calls; the second time each of 20 texts is scored again, though the answers stay what they were."""
    folder = make_gpt2(tmp_path / "base")
    for part in (reward_model_from_policy(load_policy(folder)), load_tokenizer(folder)):
        part.save_pretrained(tmp_path / "rm")
    judge = {"name": "rm", "kind": "reward_model", "path": str(tmp_path / "rm"), "epoch": 0, "temperature": 1.0,
             "sha256": weights_hash(tmp_path / "rm"), "rows_per_batch": 8}
    scored = []
    values = RewardModelScorer.values

    def counted(self, rows, texts, finished):
        scored.append(set(texts))
        return values(self, rows, texts, finished)

    monkeypatch.setattr(RewardModelScorer, "values", counted)
    first, again = ask(tmp_path, judge), ask(tmp_path, judge)
    assert first["judges"]["rm"]["baseline"] == anchors.RECORDED and first["calls"] == 0
    assert again["judges"]["rm"]["moved"] == 0.0 and again["judges"]["rm"]["answers"] == 20
    assert [len(texts) for texts in scored] == [20, 20]


def test_the_furthest_of_several_is_named_and_the_others_with_it():
    specs = {"near": {"epoch": 0}, "far": {"epoch": 0}, "still": {}}
    found = {name: {"moved": moved, "changed": 1, "answers": 2, "baseline": "2026-01-01", "file": "f"}
             for name, moved in (("near", 0.2), ("far", 0.9), ("still", 0.0))}
    assert anchors.refusal(0.1, specs, found).startswith("judge 'far' drifted (and so did 'near'): since 2026-01-01")
    assert anchors.refusal(0.9, specs, found) is None


def test_nobody_is_asked_without_a_file_or_judges(tmp_path):
    assert ask(tmp_path, ENDPOINT, file=None)["judges"] == {}
    assert ask(tmp_path, PEOPLE) == {"anchors": 0, "max_drift": 0.1, "judges": {}, "refused": None, "calls": 0,
                                     "input_tokens": 0, "output_tokens": 0, "cost": 0.0}


def _file(tmp_path, written):
    write_jsonl(tmp_path / "some.jsonl", written)
    return tmp_path / "some.jsonl"


@pytest.mark.parametrize(("written", "message"), [
    (rows(3), "holds 3 anchors, below anchors.minimum_pairs=4"),
    ([{"a": "x", "b": "y"}], "anchor 1: prompt must be a text, or turns"),
    ([{"prompt": ["hello"], "a": "x", "b": "y"}], "anchor 1: prompt must be a text, or turns"),
    ([{"prompt": [{"role": "user", "content": [{"type": "image"}]}], "a": "x", "b": "y"}], "a part that is no text"),
    ([{"prompt": [{"role": "assistant", "content": "hi"}], "a": "x", "b": "y"}], "there is no prompt"),
    ([*rows(1), {"prompt": "p", "a": "x"}], "anchor 2 has no text 'b'"),
    ([{"id": "one", **row} for row in rows(5)], "id 'one' stands twice"),
])
def test_anchors_that_cannot_be_used(tmp_path, written, message):
    with pytest.raises(DataError, match=message):
        anchors.read_anchors(_file(tmp_path, written), 4)
    with pytest.raises(DataError, match="absent.jsonl does not exist"):
        anchors.read_anchors(tmp_path / "absent.jsonl", 4)


def test_anchors_name_roles_as_the_data_may(tmp_path):
    """A judge is told who speaks by our names."""
    turns = [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello!"}, {"from": "human", "value": "Why?"}]
    (read,) = anchors.read_anchors(_file(tmp_path, [{"prompt": turns, "a": "x", "b": "y"}]), 1)
    assert [(turn["role"], turn["content"]) for turn in read["prompt"]] == [
        ("user", "Hi."), ("assistant", "Hello!"), ("user", "Why?")
    ]


# --- as the flow asks ---

DVC_YAML = """\
stages:
  work:
    cmd: mkdir -p metrics && cp judge.json compare.json metrics && cp wish done
    deps: [wish, judge.json, compare.json]
    outs: [done]
    metrics: [metrics/judge.json, metrics/compare.json]
"""


@pytest.fixture
def project(tmp_path):
    """A project of one stage, which writes a judge card; its params are ours, with a judge across the network."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "wish").write_text("one")
    (folder / "judge.json").write_text(json.dumps(card()))
    (folder / "compare.json").write_text(json.dumps(COMPARE))
    write_params(folder, 0)
    return under_version_control(folder)


def write_params(folder, epoch):
    document = params(folder, {**ENDPOINT, "epoch": epoch})
    (folder / "params.yaml").write_text(yaml.safe_dump(document))


def test_align_asks_first_and_stops_before_anything_runs(project, server):
    told = {"PLUMB_JUDGE_URL": server.url}
    first = toy.plumb(project, "anchors", **told)
    assert first.returncode == 0 and "recorded now" in first.stdout and "10 anchors, 20 calls" in first.stdout
    server.changed = 5
    by_hand = toy.plumb(project, "anchors", **told)
    assert by_hand.returncode == 1 and "judge 'remote' drifted" in by_hand.stdout and "10 of 20" in by_hand.stdout
    stopped = toy.plumb(project, "align", "--anchors", **told)
    assert stopped.returncode == 1 and stopped.stdout.count("judge 'remote' drifted") == 1
    assert "Traceback" not in stopped.stdout + stopped.stderr and not (project / "done").exists()
    assert len(server.calls) == 60, "a drift is not tried again"
    write_params(project, epoch=1)
    accepted = toy.plumb(project, "align", "--anchors", **told)
    assert accepted.returncode == 0 and "10 anchors asked of remote: moved by 0.000 at most" in accepted.stdout
    assert (project / "done").read_text() == "one" and len(server.calls) == 80
    entries = [entry for entry in toy.ledger(project) if entry["stage"] == "anchors"]
    assert [entry["calls"] for entry in entries] == [20, 20] and entries[0]["money"] == pytest.approx(20 * 120e-6)
    with sqlite3.connect(project / "mlflow.db") as store:
        logged = store.execute("SELECT value FROM metrics WHERE key = 'anchors/remote/moved' ORDER BY timestamp")
        logged = logged.fetchall()
    assert logged == [(0.5,), (0.0,)]
    with sqlite3.connect(project / ".prefect" / "prefect.db") as store:
        query = "SELECT key, data FROM artifact WHERE key IS NOT NULL AND key != 'ledger' ORDER BY created"
        pages = store.execute(query).fetchall()
    assert [key for key, _ in pages] == ["anchors", "anchors", "result", "judge-card"]
    assert "judge 'remote' drifted" in pages[0][1] and "moved by 0.000 at most" in pages[1][1]
    assert "Judge j0 judged 40 pairs in both orders" in pages[3][1]


RETRAINED = """
from pathlib import Path
from flows import environment
from flows.schedule import retraining
from flows.alignment.progress import board_of

environment.prepare(Path.cwd())
retraining.bring_up_to_date(Path.cwd(), True, board_of)
"""


def test_a_scheduled_retraining_asks_unless_told_otherwise_and_stops_before_anything_runs(project, server):
    assert signature(retrain.fn).parameters["anchors"].default is True
    told = {"PLUMB_JUDGE_URL": server.url}
    assert toy.plumb(project, "anchors", **told).returncode == 0
    server.changed = 5
    command, settings = [sys.executable, "-c", RETRAINED], toy.toy_environment(project, **told)
    stopped = subprocess.run(command, cwd=project, env=settings, capture_output=True, text=True, timeout=900)
    assert stopped.returncode != 0 and "judge 'remote' drifted" in stopped.stderr
    assert len(server.calls) == 40 and not (project / "done").exists()


def test_the_process_that_asks_says_why_it_cannot(tmp_path, project, server, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PLUMB_JUDGE_URL", "")
    with pytest.raises(StageError, match="set the variable PLUMB_JUDGE_URL, which is empty") as error:
        flow.ask(project, tmp_path / "state", 60, Processes())
    assert error.value.kind == "data" and not error.value.may_pass
    monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
    assert flow.ask(project, tmp_path / "state", 60, Processes()).metrics["anchors/remote/moved"] == 0.0
