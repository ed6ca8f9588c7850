"""What a call is charged, by what servers say it took."""

import pytest

from benchmarks.judging.server import response
from models.judges.asking import Asker, AskingSettings, JudgeError
from models.judges.budget import Budget
from models.judges.openai import OpenAIJudge
from models.judges.usage import Usage, read_usage
from tests.support.judge_questions import FAST, WEIGHTS, Moody, ask, asked, key, longer_wins, questions  # noqa: F401
from tests.support.judge_server import JudgeServer


def details(reasoning=None, cached=None):
    return {"completion_tokens_details": reasoning and {"reasoning_tokens": reasoning},
            "prompt_tokens_details": cached and {"cached_tokens": cached, "audio_tokens": 0}}


def openai(prompt, completion, total=None, **more):
    counts = {"prompt_tokens": prompt, "completion_tokens": completion}
    return {**counts, **more} if total is None else {**counts, "total_tokens": total, **more}


@pytest.mark.parametrize(("stated", "usage"), [
    (openai(100, 10, 110), Usage(100, 10)),
    (openai(100, 10, 110, **details()), Usage(100, 10)),  # vLLM: details are null
    (openai(100, 50, 150, **details(40, 64)), Usage(100, 50, 64, 40)),  # OpenAI, OpenRouter: parts of the counts
    (openai(100, 50, 150, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36), Usage(100, 50, 64)),  # DeepSeek
    (openai(10120, 1499, 14428, **details(2809, 128)), Usage(10120, 4308, 128, 2809)),  # xAI: beside completion_tokens
    (openai(12, 2, 331, **details(317)), Usage(12, 319, 0, 317)),
    (openai(20, 198, 623), Usage(20, 603, 0, 405)),  # Gemini: in the total alone
    (openai(100, 10, 110, **details(500)), Usage(100, 510, 0, 500)),  # more than they can be part of
    (openai(100, 50, **details(40)), Usage(100, 90, 0, 40)),  # nothing says that they are part of it
    (openai(100, 10, 110, reasoning_tokens=10), Usage(100, 10, 0, 10)),
    ({"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 5, "output_tokens": 7},
     Usage(115, 7, 100, 0, 5)),  # Anthropic: beside input_tokens
    (openai(110, 7, 117, cache_read_input_tokens=100), Usage(110, 7, 100)),  # LiteLLM: part of prompt_tokens
    (openai(110, 7, 117, cache_creation_input_tokens=60, prompt_tokens_details={"cache_creation_tokens": 60}),
     Usage(110, 7, 0, 0, 60)),  # LiteLLM: part of prompt_tokens
    (openai(194, 2, 196, cost=0.95, cost_details={"upstream_inference_cost": 19}, is_byok=False,
            prompt_tokens_details={"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0}),
     Usage(194, 2, 0, 0, 100, 0.95)),  # OpenRouter
    (openai(194, 2, 196, cost=0.95, cost_details={"upstream_inference_cost": 19}, is_byok=True),
     Usage(194, 2, billed=19.95)),  # OpenRouter, with the provider's own key: two bills
    (openai(100, 10, 110, cost=None, cost_details=None, is_byok=True), Usage(100, 10)),
    (openai(100, 10, 110, cost=-1.0), Usage(100, 10)), (openai(100, 10, 110, cost="much"), Usage(100, 10)),
    (openai(26, 832, 858, cost={"input_tokens_cost": 0.0, "request_cost": 0.006, "total_cost": 0.0068}),
     Usage(26, 832, billed=0.0068)),  # Perplexity: each request has a price
    (openai(15, 16, 31, estimated_cost=0.25), Usage(15, 16, billed=0.25)),  # DeepInfra
    ({"prompt_tokens": 120, "total_tokens": 400}, Usage(120, 280)),  # Gemini: nothing was written but thoughts
    (openai(100, 10, 90), Usage(100, 10)),  # a total below its parts
    (openai(100.0, 10.0, 110.0), Usage(100, 10)),
])
def test_usage_is_read_as_it_may_be_billed(stated, usage):
    assert read_usage(stated) == usage


@pytest.mark.parametrize("stated", [
    None, {}, [], "100", {"prompt_tokens": 100}, {"total_tokens": 110}, openai(None, None), openai(0, 0, 0),
    openai("100", "10"), openai(-1, 10), openai(float("nan"), 10), openai(True, 10), openai(100, float("inf")),
])
def test_a_usage_that_says_nothing_is_none(stated):
    assert read_usage(stated) is None


def test_cached_and_reasoning_tokens_have_prices_of_their_own(ask):  # noqa: F811
    """36 read at 10, 64 from the cache at 1, 10 written at 100, 40 thought at 50: 360 + 64 + 1000 + 2000."""
    stated = openai(100, 50, 150, **details(40, 64))
    price = {"input_price": 10.0, "output_price": 100.0, "cached_price": 1.0, "reasoning_price": 50.0}
    with JudgeServer(longer_wins, usage=stated) as server:
        _, asker = ask(server, questions(1), **price)
        assert asker.tally.cost == pytest.approx(2 * 3424 / 1e6)
        _, asker = ask(server, questions(1), input_price=10.0, output_price=100.0)
    assert asker.tally.cost == pytest.approx(2 * 6000 / 1e6), "as what they are part of"
    assert (asker.tally.input_tokens, asker.tally.output_tokens) == (200, 100)


def test_tokens_written_to_a_cache_have_a_price_of_their_own(ask):  # noqa: F811
    """30 read at 10, 70 written to the cache at 12.5, 10 written at 100: 300 + 875 + 1000."""
    stated = openai(100, 10, 110, prompt_tokens_details={"cache_write_tokens": 70})
    with JudgeServer(longer_wins, usage=stated) as server:
        _, asker = ask(server, questions(1), input_price=10.0, output_price=100.0, cache_write_price=12.5)
        assert asker.tally.cost == pytest.approx(2 * 2175 / 1e6)
        _, asker = ask(server, questions(1), input_price=10.0, output_price=100.0)
    assert asker.tally.cost == pytest.approx(2 * 2000 / 1e6), "as other tokens that were read"


@pytest.mark.parametrize(("billed", "charged"), [(0.005, 0.005), (0.0001, 0.002)])
def test_what_a_router_billed_is_charged_where_it_is_more(ask, billed, charged):  # noqa: F811
    stated = openai(100, 10, 110, cost=billed)
    with JudgeServer(longer_wins, usage=stated) as server:
        _, asker = ask(server, questions(1), input_price=10.0, output_price=100.0)
        assert asker.tally.cost == asker.budget.cost == pytest.approx(2 * charged)
        answers, asker = ask(server, questions(20), budget=Budget(max_cost=0.1), input_price=10.0, output_price=100.0)
    assert asker.budget.cost <= 0.1, "what is billed above the prices is known after the first call"


def test_a_budget_holds_where_reasoning_is_billed_beside_what_max_tokens_limits(ask):  # noqa: F811
    """Each call costs 100 + 10 010 tokens, more than the worst that max_tokens allows: known after the first."""
    with JudgeServer(longer_wins, usage=openai(100, 10, 10_110)) as server:
        answers, asker = ask(server, questions(20), budget=Budget(max_cost=0.05), input_price=1.0, output_price=1.0)
    assert asker.budget.cost == pytest.approx(len(server.calls) * 10_110 / 1e6) and asker.budget.cost <= 0.05
    assert asker.budget.exhausted and sum(answer is not None for answer in answers) == len(server.calls) >= 3


def test_a_budget_holds_where_later_replies_are_longer_than_the_first(ask):  # noqa: F811
    """Thoughts beside max_tokens, of 10 000 tokens at first and then of 19 000, sixteen calls at a time."""
    def thinks_longer(body):
        server.usage = openai(100, 10, 19_110 if server.calls else 10_110)
        return longer_wins(body)

    with JudgeServer(thinks_longer) as server:
        _, asker = ask(server, questions(40), budget=Budget(max_cost=0.4), input_price=1.0, output_price=1.0)
    assert asker.budget.exhausted and 0.3 < asker.budget.cost <= 0.4


def test_a_budget_holds_where_only_the_router_knows_the_price(ask):  # noqa: F811
    with JudgeServer(longer_wins, usage=openai(100, 10, 110, cost=0.01)) as server:
        _, asker = ask(server, questions(40), budget=Budget(max_cost=0.2))
    assert asker.budget.exhausted and 0.18 < asker.budget.cost <= 0.2 + 1e-9


def test_a_dear_question_makes_no_other_dear(ask):  # noqa: F811
    """A long question of 0.1, then short ones, for which what is left suffices."""
    def long_first(body):
        server.usage = openai(10, 10, 20) if server.calls else openai(100_000, 10, 100_010)
        return longer_wins(body)

    with JudgeServer(long_first) as server:
        answers, asker = ask(server, questions(10), budget=Budget(max_cost=0.11), input_price=1.0, output_price=1.0)
    assert None not in answers and not asker.budget.exhausted


def test_the_worst_case_takes_the_dearest_price():
    judge = OpenAIJudge("j", "m", {"honesty": 1.0}, input_price=1.0, cached_price=3.0, output_price=2.0)
    assert judge.cost(10, 10) == pytest.approx(50 / 1e6)
    judge.reasoning_price = 4.0
    assert judge.cost(10, 10) == pytest.approx(70 / 1e6)
    judge.cache_write_price = 5.0
    assert judge.cost(10, 10) == pytest.approx(90 / 1e6)


def test_tokens_of_every_reply_count(ask):  # noqa: F811
    """Half of the replies cannot be read, and are asked for again as the judge samples."""
    def every_other(body):
        return longer_wins(body) if len(server.calls) % 2 else "I would rather not."

    with JudgeServer(every_other) as server:
        _, asker = ask(server, questions(2), AskingSettings(1, 8, 0.01, 0.01), temperature=1.0, output_price=1.0)
    assert asker.tally.calls == len(server.calls) == 8
    assert (asker.tally.input_tokens, asker.tally.output_tokens) == (800, 80)
    assert asker.tally.cost == pytest.approx(80 / 1e6)


def test_tokens_of_questions_without_an_answer_count(ask):  # noqa: F811
    """The first reply cannot be read, and the budget has no room for another."""
    with JudgeServer(lambda body: "Hm.") as server:
        answers, asker = ask(server, questions(1)[:1], budget=Budget(max_calls=1), temperature=1.0)
    tally = asker.tally
    assert answers == [None] and (tally.lost_calls, tally.lost_input_tokens, tally.output_tokens) == (1, 100, 10)


THOUGHT = {"choices": [{"finish_reason": "length", "message": {"content": ""}}], "usage": openai(100, 96, 196)}
BROKEN = {"choices": [{"finish_reason": "error", "error": {"code": 502}, "message": {"content": "A"}}]}
PRICES = {"input_price": 10.0, "output_price": 100.0}


@pytest.mark.parametrize(("status", "document", "charged"), [
    (200, {**BROKEN, "usage": openai(100, 10, 110)}, 0.002),  # OpenRouter: what it had written is billed
    (200, BROKEN, None), (504, {}, None), (524, {}, None),  # nobody knows: the most that it can be
    (200, {"error": {"code": 502}, "usage": openai(100, 10, 110, cost=0.5)}, 0.5),
    (502, {"error": {"code": 502}}, 0.0), (429, {"error": {"code": 429}}, 0.0),
    (200, {"choices": [{"finish_reason": "insufficient_system_resource", "message": {"content": "{"}}],
           "usage": openai(100, 10, 110)}, 0.002),  # DeepSeek
])  # fmt: skip
def test_a_call_that_broke_off_is_charged_and_made_again(asked, status, document, charged):  # noqa: F811
    """The second call is answered: 100 tokens read at 10, 10 written at 100."""
    def mood(path, body):
        return response(status, document) if len(server.seen) == 1 else None

    with Moody(longer_wins) as server:
        answers, asker = asked(server, mood, questions(1)[:1], **PRICES)
    broken = OpenAIJudge("j", "m", WEIGHTS, **PRICES).worst_cost(questions(1)[0]) if charged is None else charged
    assert answers[0].winner == "first" and asker.tally.calls == 2
    assert asker.tally.cost == asker.budget.cost == pytest.approx(broken + 0.002)
    assert asker.tally.input_tokens == 100 + 100 * ("usage" in document)


def test_what_is_no_completion_is_charged_as_it_says(asked):  # noqa: F811
    """Without choices, but with usage; the first stops the run, a later one is asked again."""
    nothing = response(200, {"choices": [], "usage": openai(100, 10, 110)})
    with Moody(longer_wins) as server:
        _, asker = asked(server, lambda path, body: nothing if len(server.seen) == 2 else None, questions(1), **PRICES)
        assert asker.tally.cost == asker.budget.cost == pytest.approx(3 * 0.002) and asker.tally.input_tokens == 300
        server.mood = lambda path, body: nothing
        asker = Asker(settings=FAST)
        with pytest.raises(JudgeError, match="no completion"):
            asker.ask([(OpenAIJudge("j", "m", WEIGHTS, **PRICES), questions(1)[0])])
    assert asker.tally.cost == pytest.approx(0.002)


def test_a_question_refused_after_it_was_answered_is_charged(asked):  # noqa: F811
    refused = response(200, {"error": {"code": 400, "message": "flagged"}, "usage": openai(100, 10, 110)})
    with Moody(longer_wins) as server:
        _, asker = asked(server, lambda path, body: refused if "spoon 1 kept" in str(body) else None, questions(2), **PRICES)
    assert asker.tally.failed == 2 and asker.tally.cost == pytest.approx(4 * 0.002)
    assert (asker.tally.input_tokens, asker.tally.lost_output_tokens) == (400, 20)


def test_a_first_reply_that_stops_the_run_is_charged(monkeypatch):
    monkeypatch.setenv("PLUMB_JUDGE_KEY", "secret")
    with Moody(longer_wins) as server:
        server.mood = lambda path, body: response(200, THOUGHT)
        monkeypatch.setenv("PLUMB_JUDGE_URL", server.url)
        asker = Asker(settings=FAST)
        with pytest.raises(JudgeError, match="thought until max_tokens"):
            asker.ask([(OpenAIJudge("j", "m", WEIGHTS, **PRICES), questions(1)[0])])
    assert asker.tally.cost == asker.budget.cost == pytest.approx(0.0106) and asker.tally.output_tokens == 96


def test_a_judge_whose_server_takes_no_temperature_is_asked_again_for_what_cannot_be_read(asked):  # noqa: F811
    def mood(path, body):
        if "temperature" in body:
            return response(400, {"error": {"message": "no", "param": "temperature"}})
        return response(200, {"choices": [{"message": {"content": "Hm."}}]}) if len(server.seen) == 2 else None

    with Moody(longer_wins) as server:
        answers, asker = asked(server, mood, questions(1)[:1])
    assert answers[0].winner == "first" and asker.tally.calls == 3
