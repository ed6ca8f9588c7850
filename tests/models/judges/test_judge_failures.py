"""Servers that are no judges, judges with moods of their own, and questions that a judge cannot answer."""

import json
import re

import pytest

from benchmarks.judging.server import PATH, response
from models.endpoints.endpoint import content_of
from models.judges.asking import JudgeError, JudgeUnreachable
from models.judges.base import Question
from models.judges.budget import Budget
from models.judges.openai import OpenAIJudge
from models.judges.store import Store
from tests.support.evaluation_rows import prompt
from tests.support.judge_questions import FAST, WEIGHTS, Moody, asked, key, longer_wins, questions  # noqa: F401

PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\r\n<html>Please log in</html>"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"


def fails_on(number, status=500):
    """The mood of a server that one question is too much for."""
    words = f"spoon {number} kept"
    return lambda path, body: response(status, {"error": {"message": "boom"}}) if words in str(body) else None


@pytest.mark.parametrize(("mood", "shown"), [
    (lambda path, body: PAGE, "'<html>Please log in</htm"),
    (lambda path, body: MOVED if path == PATH else PAGE, "'<html>Please log in</htm"),
    (lambda path, body: response(200, {"choices": []}), "'{.\"choices\": ..}'".replace(".\"", "\"")),
])
def test_a_server_that_is_no_judge_is_an_error_at_once_and_never_kept(asked, tmp_path, mood, shown):
    with Moody(longer_wins) as server, Store(tmp_path / "s.sqlite") as store:
        with pytest.raises(JudgeError, match=f"no completion, but with .*{shown}.*correct the address in PLUMB_JUDGE"):
            asked(server, mood, questions(5), store=store)
        assert sum("messages" in body for body in server.seen) == 1
        answers, _ = asked(server, lambda path, body: None, questions(5), store=store)
    assert [answer.p_first for answer in answers] == [1.0, 0.0] * 5


def test_a_login_page_in_the_middle_passes_and_is_never_kept(asked, tmp_path):
    """The page comes once for each of the questions about the third pair, after the first answers."""
    pages = [2, 2]

    def mood(path, body):
        if "spoon 3 kept" in str(body) and pages[0]:
            pages[0] -= 1
            return PAGE
        return None

    with Moody(longer_wins) as server, Store(tmp_path / "s.sqlite") as store:
        answers, asker = asked(server, mood, questions(5), FAST, store=store)
    assert [answer.p_first for answer in answers] == [1.0, 0.0] * 5 and asker.tally.calls == 12


def test_what_is_no_http_passes_and_is_one_line(asked):
    with Moody(longer_wins) as server:
        with pytest.raises(JudgeUnreachable, match="in 2 attempts: .* with ClientResponseError .*Bad status line"):
            asked(server, lambda path, body: b"SSH-2.0-OpenSSH_9.2\r\n\r\n", questions(1))


def test_a_question_that_the_server_cannot_answer_is_left_out_and_counted(asked, tmp_path):
    """Two orders of one pair in ten: invalid, two attempts each and a probe; another run asks them again."""
    with Moody(longer_wins) as server, Store(tmp_path / "s.sqlite") as store:
        answers, asker = asked(server, fails_on(0), questions(10), store=store)
        assert [answer.winner for answer in answers] == ["invalid"] * 2 + ["first", "second"] * 9
        assert asker.tally.failed == 2 and asker.tally.calls == 18 + 2 * (2 + 1) == asker.budget.calls
        assert re.match("judge 'j' answered others, but not one in 2 attempts: .* 500 .*boom", asker.failures[0])
        again, asker = asked(server, lambda path, body: None, questions(10), store=store)
    assert again[:2] == again[2:4] and asker.tally.failed == 0 and asker.tally.stored == 18


def test_a_server_that_fails_all_is_unreachable_and_one_that_fails_many(asked):
    with Moody(longer_wins) as server:
        everything = lambda *asked: response(500, {"error": {"message": "boom"}})  # noqa: E731
        with pytest.raises(JudgeUnreachable, match="in 2 attempts: .*boom.*; it answered nothing yet: see that"):
            asked(server, everything, questions(3))
        some = lambda path, body: everything() if re.search(r"spoon [147] kept", str(body)) else None  # noqa: E731
        with pytest.raises(JudgeUnreachable, match=r"it answered \d+ questions, which are kept, and failed 4: run"):
            asked(server, some, questions(10))


@pytest.mark.parametrize(("status", "variable", "words"), [
    (401, "PLUMB_JUDGE_KEY", "; put a key that it accepts into PLUMB_JUDGE_KEY$"),
    (403, None, "; put a key that it accepts into a variable, and name that variable as the judge's key_"),
    (402, "PLUMB_JUDGE_KEY", "; fill the account behind PLUMB_JUDGE_KEY, it is used up"),
    (402, None, "; fill the account behind PLUMB_JUDGE_URL, it is used up"),
    (404, None, "; it lacks the model 'm' .* or the address in PLUMB_JUDGE_URL is not that of its API"),
    (405, None, "; it lacks the model 'm' .* or the address in PLUMB_JUDGE_URL is not that of its API"),
    (410, None, ", whatever is asked; correct the settings of judge 'j' in params.yaml, or the address in PLUMB_"),
])
def test_a_status_that_no_attempt_changes_says_the_way_out(asked, monkeypatch, status, variable, words):
    """A key belongs into a variable, never into params."""
    monkeypatch.setenv("PLUMB_JUDGE_KEY", "k")
    with Moody(longer_wins) as server:
        refusing = lambda path, body: response(status, {"error": {"message": "no"}})  # noqa: E731
        with pytest.raises(JudgeError, match=words):
            asked(server, refusing, questions(1), key_variable=variable)


def test_a_server_with_too_much_to_do_is_no_questions_fault(asked):
    with Moody(longer_wins) as server:
        with pytest.raises(JudgeUnreachable, match="answers 429"):
            asked(server, fails_on(3, 429), questions(10))


def test_what_questions_without_an_answer_cost_is_counted(asked):
    """Two answers, and connections that break half-way through the third question: who paid for those is not known."""
    price = {"input_price": 1.0, "output_price": 1.0}
    worst = OpenAIJudge("j", "m", WEIGHTS, **price).worst_cost(questions(2)[2])
    with Moody(longer_wins) as server:
        cut = lambda path, body: PAGE if "spoon 1 kept" in str(body) else None  # noqa: E731
        answers, asker = asked(server, cut, questions(2)[:3], budget=Budget(max_calls=3), **price)
    assert answers[2] is None and asker.tally.lost_calls == 1 and asker.tally.lost_cost == pytest.approx(worst)
    assert asker.tally.calls == asker.budget.calls == 3
    assert asker.tally.cost == pytest.approx(asker.budget.cost) == pytest.approx(2 * 110e-6 + worst)


def test_content_may_come_in_parts():
    def holding(content):
        return {"choices": [{"message": {"content": content}}]}

    parts = [{"type": "reasoning", "summary": []}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert content_of(holding(parts)) == "ab" and content_of(holding("a")) == "a" and content_of(holding(None)) == ""
    for other in ({}, [], holding({"a": 1}), holding([1]), {"choices": [{}]}, {"choices": [{"message": "a"}]}, None):
        assert content_of(other) is None


def test_a_judge_that_answers_in_parts(asked):
    def mood(path, body):
        text = [{"type": "text", "text": longer_wins(body)}]
        return response(200, {"choices": [{"message": {"role": "assistant", "content": text}}]})

    with Moody(longer_wins) as server:
        assert [answer.p_first for answer in asked(server, mood, questions(2))[0]] == [1.0, 0.0] * 2


@pytest.mark.parametrize(("refused", "place"), [
    ("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens"), ("temperature", None),
    ("seed", None),
])
def test_a_field_that_the_server_refuses_is_left_out_and_said_once(asked, refused, place):
    """As OpenAI's reasoning models refuse max_tokens and a temperature: one more request in all."""
    error = {"message": f"Unsupported parameter: '{refused}' is not supported with this model.", "param": refused}
    mood = lambda path, body: response(400, {"error": error}) if refused in body else None  # noqa: E731
    limit = {"token_limit": refused} if place else {}
    with Moody(longer_wins) as server:
        answers, _ = asked(server, mood, questions(3), **limit)
        assert [answer.p_first for answer in answers] == [1.0, 0.0] * 3
        assert len(server.seen) == 7 and all(refused not in body for body in server.seen[1:])
        assert place is None or server.seen[-1][place] == 96
        assert server.seen[-1]["response_format"]["type"] == "json_schema", "the form is kept"


def test_another_temperature_is_another_judge():
    judges = [OpenAIJudge("j", "m", WEIGHTS, temperature=one).description for one in (0.0, None, 1.0)]
    assert len({json.dumps(one) for one in judges}) == 3


@pytest.mark.parametrize("text", ["", "<think>The first is"])
def test_a_judge_that_thinks_until_its_tokens_end_is_told_so(asked, text):
    def mood(path, body):
        return response(200, {"choices": [{"message": {"content": text}, "finish_reason": "length"}]})

    with Moody(longer_wins) as server:
        with pytest.raises(JudgeError, match="thought until max_tokens=96 .*raise its max_tokens"):
            asked(server, mood, [Question(prompt(0), "a", "b")])
