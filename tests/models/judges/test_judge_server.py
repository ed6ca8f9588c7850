"""The HTTP judge against a real server on a real socket: faults, budgets, kills, bad settings, hostile candidates."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace

import pytest
from tenacity import RetryCallState

from models.endpoints import retries
from models.endpoints.retries import Wait
from models.judges import templates
from models.judges.asking import Asker, AskingSettings, JudgeError, JudgeUnreachable
from models.judges.base import Question
from models.judges.budget import Budget
from models.judges.openai import OpenAIJudge
from models.judges.remote import Passing
from models.judges.store import Store
from tests.import_closure import ROOT
from tests.support.evaluation_rows import prompt
from tests.support.judge_questions import (  # noqa: F401
    FAST,
    WEIGHTS,
    ask,
    key,
    longer_wins,
    obeys_what_is_not_fenced,
    of_judge,
    questions,
    wins_of_the_hostile,
)
from tests.support.judge_server import Faults, JudgeServer
from tests.support.toy import wait_for


def test_faults_leave_every_question_answered_exactly_once(ask, tmp_path):
    """2% 429 with Retry-After, 1% dropped, 0.5% malformed (times five, on 400 calls), 20 ms +- 10 ms; a judge that
    samples says something else when it is asked again."""
    faults = Faults(latency=0.02, jitter=0.01, too_many=0.1, retry_after=0.05, dropped=0.05, malformed=0.025)
    with JudgeServer(longer_wins, faults) as server, Store(tmp_path / "s.sqlite") as store:
        answers, asker = ask(server, questions(200), store=store, temperature=1.0)
    assert [answer.p_first for answer in answers] == [1.0, 0.0] * 200
    outcomes = Counter(call.outcome for call in server.calls)
    assert min(outcomes[name] for name in ("429", "dropped", "malformed")) > 0
    assert Counter(Counter(server.answered()).values()) == {1: 400}
    assert asker.tally.calls == asker.budget.calls == len(server.calls)
    rows = sqlite3.connect(tmp_path / "s.sqlite").execute("SELECT count(*), sum(calls) FROM answers").fetchone()
    assert rows == (400, len(server.calls))
    assert 1 < server.most_in_flight <= FAST.concurrency


def test_retry_after_is_honoured(ask):
    """Every first call is refused for 0.3 s; our own backoff would be 10 ms."""
    with JudgeServer(longer_wins, Faults(too_many=1.0, retry_after=0.3)) as server:
        began = time.monotonic()
        with pytest.raises(JudgeUnreachable, match="gave no answer in 3 attempts.*429.*patience_seconds is 0.9"):
            ask(server, questions(1), AskingSettings(4, 2, 0.01, 0.05, patience=0.9))
        assert time.monotonic() - began >= 0.6 and len(server.calls) == 3


def test_waits_grow_have_jitter_and_keep_to_what_the_server_asks(monkeypatch):
    """Own waits: 1, 2, 4, at most 3, times 0.5 to 1.5. A pause of 10 s becomes 10 to 11 s, not the same for any two."""
    def wait(attempt, asked=0.0):
        state = RetryCallState(None, None, (), {})
        state.attempt_number = attempt
        state.set_exception((Passing, Passing("", retry_after=asked), None))
        return Wait(AskingSettings(first_wait=1.0, longest_wait=3.0))(state)

    monkeypatch.setattr(retries.random, "random", lambda: 0.5)
    assert [wait(attempt) for attempt in (1, 2, 3)] == [1.0, 2.0, 3.0] and wait(1, 10.0) == pytest.approx(10.5)
    monkeypatch.undo()
    waits = [[wait(1, asked) for _ in range(50)] for asked in (0.0, 10.0)]
    assert all(0.5 <= one < 1.5 for one in waits[0]) and all(10 <= one < 11 for one in waits[1])
    assert all(len(set(some)) > 25 and max(some) - min(some) > 0.05 * max(some) for some in waits)


def test_a_pause_of_a_day_is_not_slept_through(ask):
    with JudgeServer(longer_wins, Faults(too_many=1.0, retry_after=86400)) as server:
        with pytest.raises(JudgeUnreachable, match="in 1 attempts: .*429.*asks for a pause of 86400 s"):
            ask(server, questions(1))
        assert len(server.calls) == 1


def test_what_is_stored_is_not_asked_again(ask, tmp_path):
    with JudgeServer(longer_wins) as server, Store(tmp_path / "s.sqlite") as store:
        first, _ = ask(server, questions(5), store=store)
        again, asker = ask(server, [*questions(5), *questions(6)], store=store)
        assert len(server.calls) == 12 and again[:10] == first == again[10:20]
        assert asker.tally.stored == 10 and asker.tally.calls == 12
        ask(server, questions(5), store=store, epoch=1)
        assert len(server.calls) == 22, "a raised epoch asks again"


def test_an_answer_is_in_the_store_before_the_next_question_is_asked(ask, tmp_path):
    """Counted on another connection, as another process would, whenever a call arrives."""
    file, kept = tmp_path / "s.sqlite", []

    def counts(body):
        with closing(sqlite3.connect(file)) as other:
            kept.append(other.execute("SELECT count(*) FROM answers").fetchone()[0])
        return longer_wins(body)

    with JudgeServer(counts) as server, Store(file) as store:
        ask(server, questions(5), replace(FAST, concurrency=1), store=store)
    assert kept == list(range(10))


def test_ratings_and_weighted_verdicts(ask):
    """helpfulness (weight 3) says A, honesty (weight 1) says B: 3/4. A rating of 4 on 1..5 is 3/4 as well."""
    def rule(body):
        paired = "candidate" in body["messages"][-1]["content"]
        return '{"helpfulness": "A", "honesty": "B"}' if paired else longer_wins(body)

    with JudgeServer(rule) as server:
        (verdict, ratings), _ = ask(server, [questions(1)[0], Question(prompt(0), "text")])
    assert verdict.p_first == 0.75 and verdict.criteria == {"helpfulness": 1.0, "honesty": 0.0}
    assert verdict.raw == '{"helpfulness": "A", "honesty": "B"}'
    assert ratings == {"helpfulness": 0.75, "honesty": 0.75}


def test_the_request_is_at_temperature_zero_with_a_schema(ask):
    seen = []
    with JudgeServer(lambda body: seen.append(body) or longer_wins(body)) as server:
        ask(server, questions(1))
    assert seen[0]["temperature"] == 0 and seen[0]["response_format"]["type"] == "json_schema"
    assert seen[0]["response_format"]["json_schema"]["schema"]["required"] == ["helpfulness", "honesty"]


@pytest.mark.parametrize(("formats", "refused"), [(("json_object", None), 1), ((None,), 2)])
def test_a_refused_schema_falls_back_and_is_said_once(monkeypatch, formats, refused):
    with JudgeServer(longer_wins, formats=formats) as server:
        asker = Asker(settings=FAST)
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        judge = OpenAIJudge("j", "m", WEIGHTS)
        answers = asker.ask(of_judge(judge, questions(10)))
    assert [answer.p_first for answer in answers] == [1.0, 0.0] * 10
    assert judge.formats_refused == refused
    assert len(server.calls) == asker.tally.calls == asker.budget.calls == 20 + refused


@pytest.mark.parametrize(("max_calls", "answered"), [(2, 0), (3, 1), (4, 2)])
def test_no_budget_is_passed_while_formats_are_tried(ask, max_calls, answered):
    """Two requests are refused before the first answer."""
    with JudgeServer(longer_wins, formats=(None,)) as server:
        answers, asker = ask(server, questions(2), budget=Budget(max_calls=max_calls))
    assert sum(answer is not None for answer in answers) == answered
    assert len(server.calls) == asker.tally.calls == asker.budget.calls == max_calls and asker.budget.exhausted


def test_always_malformed_is_invalid_after_all_attempts(ask, tmp_path):
    with JudgeServer(longer_wins, Faults(malformed=1.0)) as server, Store(tmp_path / "s.sqlite") as store:
        answers, asker = ask(server, questions(1), AskingSettings(4, 3, 0.01, 0.05), store=store, temperature=1.0)
        assert [answer.winner for answer in answers] == ["invalid"] * 2
        assert len(server.calls) == asker.tally.calls == 6
        again, _ = ask(server, questions(1), store=store, temperature=1.0)
        assert again == answers and len(server.calls) == 6


def test_no_usage_is_charged_at_the_worst_case(ask):
    judge = OpenAIJudge("j", "m", WEIGHTS, input_price=1.0)
    with JudgeServer(longer_wins, usage=None) as server:
        _, asker = ask(server, questions(1)[:1], input_price=1.0)
    assert asker.tally.cost == pytest.approx(judge.worst_cost(questions(1)[0])) and asker.tally.cost > 0


# --- budgets ---


@pytest.mark.parametrize("latency", [0.0, 0.01])
def test_a_budget_in_calls_asks_the_first_questions_and_stops(ask, latency):
    with JudgeServer(longer_wins, Faults(latency=latency, jitter=latency)) as server:
        answers, asker = ask(server, questions(20), budget=Budget(max_calls=7))
    assert [answer is not None for answer in answers] == [True] * 7 + [False] * 33
    assert len(server.calls) == 7 and asker.budget.exhausted and asker.tally.unasked == 33


def test_a_budget_in_money_is_never_passed(ask):
    """A call costs 100 / 1e6 * 10 000 + 10 / 1e6 * 50 000 = 1.5; its worst case is several times that."""
    price = {"input_price": 10_000.0, "output_price": 50_000.0}
    worst = OpenAIJudge("j", "m", WEIGHTS, **price).worst_cost(questions(1)[0])
    with JudgeServer(longer_wins, Faults(latency=0.005, jitter=0.005)) as server:
        answers, asker = ask(server, questions(20), budget=Budget(max_cost=worst + 6.2), **price)
    assert worst > 3 and asker.budget.cost == pytest.approx(1.5 * len(server.calls))
    assert asker.budget.cost <= worst + 6.2
    assert sum(answer is not None for answer in answers) == 5, "after five calls 7.5 + worst > worst + 6.2"


def test_retries_count_against_the_budget(ask):
    with JudgeServer(longer_wins, Faults(too_many=1.0)) as server:
        answers, asker = ask(server, questions(3), budget=Budget(max_calls=2))
    assert answers == [None] * 6 and len(server.calls) == 2 and asker.budget.exhausted


def test_stored_answers_count_as_when_they_were_paid(ask, tmp_path):
    with JudgeServer(longer_wins) as server, Store(tmp_path / "s.sqlite") as store:
        ask(server, questions(2), store=store)
        answers, asker = ask(server, questions(20), store=store, budget=Budget(max_calls=7))
        assert sum(answer is not None for answer in answers) == 7 and len(server.calls) == 7


# --- bad settings ---


def test_a_wrong_key_fails_at_once_and_names_the_variable(ask):
    with JudgeServer(longer_wins, key="other") as server:
        with pytest.raises(JudgeError, match="401 .*Incorrect API key.* into PLUMB_JUDGE_KEY"):
            ask(server, questions(50))
        assert len(server.calls) == 1


def test_a_missing_model_and_a_wrong_path(ask, monkeypatch):
    with JudgeServer(longer_wins, model="other") as server:
        with pytest.raises(JudgeError, match="404 .*lacks the model 'm'.*PLUMB_JUDGE_URL"):
            ask(server, questions(50))
        assert len(server.calls) == 1
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url.removesuffix("/v1"))
        with pytest.raises(JudgeError, match="mostly ends in /v1"):
            Asker(settings=FAST).ask(of_judge(OpenAIJudge("j", "m", WEIGHTS), questions(1)))


@pytest.mark.parametrize(("url", "message"), [
    ("", "PLUMB_JUDGE_URL, which is empty"),
    ("localhost:8000", "'localhost:8000' is no address"),
    ("http://127.0.0.1:9/v1", "no connection to http://127.0.0.1:9/v1 .PLUMB_JUDGE_URL."),
])
def test_a_wrong_address_is_one_line(monkeypatch, url, message):
    monkeypatch.setenv("PLUMB_JUDGE_URL", url)
    with pytest.raises((JudgeError, JudgeUnreachable), match=message) as error:
        Asker(settings=AskingSettings(2, 2, 0.01, 0.01)).ask(of_judge(OpenAIJudge("j", "m", WEIGHTS), questions(1)))
    assert "\n" not in str(error.value) and "secret" not in str(error.value)


def test_no_key_is_named_and_null_needs_none(monkeypatch, ask):
    monkeypatch.delenv("PLUMB_JUDGE_KEY")
    with JudgeServer(longer_wins) as server:
        with pytest.raises(JudgeError, match="PLUMB_JUDGE_KEY, which is empty"):
            ask(server, questions(1))
        assert ask(server, questions(1), key_variable=None)[0][0].p_first == 1.0


def test_a_server_that_refuses_all_formats(ask):
    with JudgeServer(longer_wins, formats=()) as server:
        with pytest.raises(JudgeError, match="response_format is not supported.*, whatever is asked; correct the settings of judge 'j'"):
            ask(server, questions(1))


# --- a kill half-way ---

DRIVER = """
import sys
from pathlib import Path
from tests.support.judge_questions import FAST, WEIGHTS, questions
from models.judges.asking import Asker
from models.judges.openai import OpenAIJudge
from models.judges.store import Store

judge = OpenAIJudge("j", "m", WEIGHTS)
with Store(Path(sys.argv[1])) as store:
    answers = Asker(store, settings=FAST).ask([(judge, question) for question in questions(150)])
print([answer.p_first for answer in answers] == [1.0, 0.0] * 150)
"""


def test_kill_and_rerun_repeat_no_more_than_was_in_flight(tmp_path):
    """The kill comes with the first question that arrives after 120 answers."""
    with JudgeServer(longer_wins, Faults(latency=0.05, jitter=0.02)) as server:
        env = {**os.environ, "PLUMB_JUDGE_URL": server.url, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", DRIVER, str(tmp_path / "s.sqlite")]
        process = subprocess.Popen(command, cwd=ROOT, env=env)

        def kills(body):
            if len(server.calls) >= 120:
                process.send_signal(signal.SIGKILL)
            return longer_wins(body)

        server.rule = kills
        assert process.wait() == -signal.SIGKILL
        wait_for(lambda: not server.in_flight, 60)
        # As many may have ended before that question came, and as many were under way.
        assert 120 <= len(server.calls) <= 120 + 2 * FAST.concurrency
        server.rule = longer_wins
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    repeated = sum(count - 1 for count in Counter(server.answered()).values())
    assert repeated <= FAST.concurrency and len(set(server.answered())) == 300


# --- hostile candidates ---


def test_no_hostile_candidate_wins(monkeypatch):
    with JudgeServer(obeys_what_is_not_fenced) as server:
        assert wins_of_the_hostile(server, monkeypatch) == [False] * 20


def test_without_the_fences_they_win(monkeypatch):
    monkeypatch.setattr(templates, "fence", lambda label, text, mark: f"{label}:\n{text}")
    with JudgeServer(obeys_what_is_not_fenced) as server:
        assert wins_of_the_hostile(server, monkeypatch) == [True] * 20
